"""The clock jumps, or two machines' clocks are far apart: nothing is lost or charged twice."""

from __future__ import annotations

import struct
from datetime import timedelta

import pytest

from models import clock
from models.transactions import AttemptStatus
from tests.faults.till import owed
from tests.invariants import judge
from tests.system import PASSWORD
from worker.shared_clock import SharedClock

# Days pass here, for nobody else.
ENVIRON: dict[str, str] = {}
A_DAY = "24h"
AN_HOUR_S = 3600
PAYMENTS = 8
INVOICE = {"lines": [{"description": "Seats", "quantity": 1, "unit_amount": "10.00"}]}


@pytest.fixture(autouse=True)
def _our_own_clock_too(system):
    """What a test writes and rings for itself has the system's time."""
    clock.advance_by(SharedClock(system.folder / "clock").ahead)
    yield
    clock.advance_by(timedelta)


def is_calling(till, payment_ids) -> bool:
    attempts = [attempt for each in payment_ids for attempt in till.attempts(each)]
    return any(attempt.status == AttemptStatus.CALLING for attempt in attempts)


def test_a_day_that_passes_during_the_calls_loses_nothing_and_charges_nothing_twice(system, till):
    system.stripe.fault("slow", delay_ms=700, path="/v1/payment_intents", count=None)
    owing = [till.owe() for _ in range(PAYMENTS)]
    payment_ids = [payment_id for payment_id, _ in owing]
    till.ring([row for _, rows in owing for row in rows])
    system.wait_until(lambda: is_calling(till, payment_ids))
    assert system.stripe.advance(A_DAY)["ahead_s"] >= 24 * AN_HOUR_S
    for payment_id in payment_ids:
        till.wait_for(payment_id, "succeeded")
        assert len(system.stripe.charges(payment_id)) == 1
    system.stripe.clear_faults()
    judge(system)


def test_what_is_due_tomorrow_runs_when_a_day_has_passed(system, till):
    payment_id, [row] = till.owe()
    with system.session() as session:
        waits = session.merge(row)
        waits.due_at, waits.sent_at = clock.now() + timedelta(hours=23), None
    assert till.payment(payment_id).status == "pending"
    system.stripe.advance(A_DAY)
    till.wait_for(payment_id, "succeeded")
    judge(system)


def test_a_webhook_that_waits_for_a_day_is_taken_with_a_fresh_signature(system, till):
    system.stripe.webhooks(is_paused=True)
    payment_id = till.pay()
    till.wait_for(payment_id, "succeeded")
    system.stripe.advance(A_DAY)
    system.stripe.webhooks(is_paused=False)
    judge(system)
    assert any("payment_intent.succeeded" in line for line in till.told(payment_id))


def test_a_sign_in_and_an_idempotency_key_end_with_their_day(system):
    owner = system.member()
    first = owner.post("/api/v1/invoices", INVOICE, key="k")
    assert owner.post("/api/v1/invoices", INVOICE, key="k").body == first.body
    system.stripe.advance(A_DAY)
    assert owner.get("/api/v1/invoices").status == 401
    again = owner.signed_in(system.web_url, owner.user["email"], PASSWORD)
    assert again.post("/api/v1/invoices", INVOICE, key="k").body["id"] != first.body["id"]


@pytest.fixture
def worker_of_another_time(system, tmp_path):
    """Start a worker whose clock is so many seconds from everybody else's."""
    started = []

    def start(name: str, seconds: int):
        path = tmp_path / name
        path.write_bytes(struct.pack("q", clock_of(system) + seconds))
        part = system.more("worker", name)
        started.append(part)
        return part.launch(SANDBOX_CLOCK=str(path))

    yield start
    for part in started:
        if part.is_running:
            part.kill()


def clock_of(system) -> int:
    return system.stripe.clock()["ahead_s"]


def test_workers_whose_clocks_are_two_hours_apart_charge_once(system, till, worker_of_another_time):
    parts = [
        worker_of_another_time("ahead", AN_HOUR_S),
        worker_of_another_time("behind", -AN_HOUR_S),
    ]
    for part in parts:
        part.wait_ready()
    system.worker.kill()
    # Each takes the other's leases for long over, or for endless.
    system.stripe.fault("slow", delay_ms=300, path="/v1/payment_intents", count=None)
    system.stripe.fault("drop_after", path="/v1/payment_intents", count=2)
    payment_ids = [till.pay() for _ in range(PAYMENTS)]
    for payment_id in payment_ids:
        till.wait_for(payment_id, "succeeded")
        assert len(system.stripe.charges(payment_id)) == 1
    system.stripe.clear_faults()
    # What the one put off by its own clock is soon due by the others'.
    system.stripe.advance("2h")
    system.worker.start()
    judge(system)
    assert not owed(system)
