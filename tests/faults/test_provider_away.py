"""A provider that is slow or refuses for ten minutes: its payments wait, others go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import requests
from sqlalchemy import select

from models import clock
from models.alerts import Alert
from models.webhooks import WebhookStatus
from tests.faults.events import send_event
from tests.faults.test_outbox import NOBODYS, row_of
from tests.invariants import judge
from tests.web.api.shop import INTENTS, bill
from worker.shared_clock import SharedClock

# The minutes between two tries are real ones; the clock is set forward.
ENVIRON = {"OUTBOX_BACKOFF_S": "60"}
PAYMENTS = 10
MINUTES = 10
# A slow one closes the breaker now and then: it has the answer to a key that it knows at once.
ACCEPTED = {"rate_limit": (202,), "slow": (200, 202)}


@pytest.fixture(autouse=True)
def _our_own_clock_too(system) -> Iterator[None]:
    clock.advance_by(SharedClock(system.folder / "clock").ahead)
    yield
    clock.advance_by(timedelta)


def standing(system) -> dict:
    answer = requests.get(f"{system.web_url}/readyz", timeout=10)
    assert answer.status_code == 200
    return answer.json()["providers"]["stripe"]


def alerts_about_stripe(system) -> list[Alert]:
    with system.session() as session:
        query = select(Alert).where(Alert.kind == "provider_away").order_by(Alert.id)
        return list(session.scalars(query))


def wait_for_sweep(system) -> None:
    """Wait until the worker has looked twice for what is due by now."""

    def lines() -> int:
        return system.worker.said.count("Task outbox.sweep")

    before = lines()
    system.wait_until(lambda: lines() >= before + 4)  # received, succeeded


def pay_with_paypal(system) -> None:
    owner = system.member()
    invoice_id = bill(owner, currency="EUR")
    body = {"invoice_id": invoice_id, "amount": "100.00", "provider": "paypal"}
    answer = owner.post(INTENTS, body, prefer="wait=20")
    assert (answer.status, answer.body["status"]) == (200, "requires_action"), answer


@pytest.mark.parametrize(
    "fault", [{"kind": "rate_limit"}, {"kind": "slow", "delay_ms": 1500}], ids=["429", "slow"]
)
def test_while_a_provider_is_away_its_payments_wait_and_then_all_settle_once(system, till, fault):
    if not system.parts["paypal"].is_running:
        system.parts["paypal"].start()
    settled = till.pay()
    till.wait_for(settled, "succeeded")
    # What is executed all the same is not to be told by an event.
    system.stripe.webhooks(is_paused=True)
    system.stripe.fault(**fault, method="*", path="/v1/*", count=None)
    payment_ids = [till.pay() for _ in range(PAYMENTS)]
    system.wait_until(lambda: standing(system)["state"] in ("open", "half_open"))
    # What comes now is accepted at once, and not begun.
    late = till.pay()
    owner = system.member()
    method = {"invoice_id": bill(owner), "amount": "100.00"}
    began = time.monotonic()
    answer = owner.post(INTENTS, method, prefer="wait=20")
    assert answer.status in ACCEPTED[fault["kind"]], answer
    if fault["kind"] == "rate_limit":
        assert time.monotonic() - began < 15
    # Others go on: another provider, and what needs none.
    pay_with_paypal(system)
    event_id = send_event(system, "payment_intent.succeeded", NOBODYS)
    system.wait_until(lambda: row_of(system, event_id).status == WebhookStatus.IGNORED)
    opened_after = standing(system)["failures"]
    for _ in range(MINUTES):
        system.stripe.advance("1m")
        wait_for_sweep(system)
    if fault["kind"] == "rate_limit":
        still_waits(system, till, [*payment_ids, late], opened_after)
    assert any("stripe" in alert.message for alert in alerts_about_stripe(system))
    system.stripe.clear_faults()
    system.stripe.webhooks(is_paused=False)
    system.wait_until(lambda: standing(system)["state"] == "closed")
    system.stripe.advance("20m")
    for payment_id in [*payment_ids, late]:
        till.wait_for(payment_id, "succeeded")
        assert len(system.stripe.charges(payment_id)) == 1
        assert len(till.attempts(payment_id)) == 1
    judge(system)
    # The last word may be a call's that saw the breaker a moment ago: beat has it put right.
    system.wait_until(lambda: not [each for each in alerts_about_stripe(system) if each.open_key])


def still_waits(system, till, payment_ids, opened_after) -> None:
    now = standing(system)
    assert now["state"] in ("open", "half_open")
    # One probe at a time has found out that it is still so.
    assert now["failures"] > opened_after
    for payment_id in payment_ids:
        assert till.payment(payment_id).status in ("pending", "processing")
    assert [alert for alert in alerts_about_stripe(system) if alert.open_key]
