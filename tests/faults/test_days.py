"""A provider that is unwell for minutes, hours or days; the clock is set forward for everybody."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import stripe
from sqlalchemy import select, update

from models import clock
from models.outbox import Owed
from models.tenants import Role
from models.timeline import history
from models.transactions import AttemptStatus, Status
from models.webhooks import FETCHED, PaymentWebhook
from tests.invariants import judge
from worker.shared_clock import SharedClock

INTENTS = "/v1/payment_intents"
KEY_LIFE = timedelta(hours=24)  # Stripe's
# Tries of what was not executed are minutes apart, as in production; the clock is set forward.
ENVIRON = {"OUTBOX_BACKOFF_S": "60", "MISSED_EVENTS_EVERY_S": "1"}
SAID = {"note": "The dashboard has no such payment."}


@pytest.fixture(autouse=True)
def _our_own_clock_too(system):
    """What a test writes and rings for itself has the system's time."""
    clock.advance_by(SharedClock(system.folder / "clock").ahead)
    yield
    clock.advance_by(timedelta)
    system.stripe.webhooks(drop=0)


def advance(system, by: timedelta) -> None:
    system.stripe.advance(int(by.total_seconds()))


def hurry(system) -> None:
    """Let what is owed come due: look-ups have become rare."""
    with system.session() as session:
        session.execute(update(Owed).values(due_at=clock.now()))


def unheard(system, till, kind: str = "drop_before", **how: object):
    """A payment whose answer was lost, and no look-up is answered."""
    system.stripe.fault("server_error", method="GET", path="/v1/payment_intents*", count=None)
    system.stripe.fault(kind, path=INTENTS, **how)
    payment_id = till.pay()
    system.wait_until(lambda: [a.status for a in till.attempts(payment_id)] == ["unknown"])
    return payment_id


def test_an_unknown_outcome_is_sent_again_within_its_key_and_never_after(system, till):
    in_time = unheard(system, till)
    advance(system, KEY_LIFE - timedelta(minutes=2))
    system.stripe.clear_faults()
    hurry(system)
    till.wait_for(in_time, "succeeded")
    [attempt] = till.attempts(in_time)
    [charge] = system.stripe.charges(in_time)
    assert charge["metadata"]["attempt_key"] == attempt.idempotency_key

    too_late = unheard(system, till)
    advance(system, KEY_LIFE + timedelta(minutes=1))
    system.stripe.clear_faults()
    hurry(system)
    till.wait_for(too_late, "needs_review")
    assert system.stripe.charges(too_late) == []
    judge(system)
    settle_by_hand(system, till, too_late)


def settle_by_hand(system, till, payment_id):
    operator = system.member(Role.OPERATOR)
    operator.headers["X-Company-Id"] = str(till.company_id)
    [review] = operator.get("/api/v1/operations/reviews").body["data"]
    assert review["id"] == str(payment_id)
    path = f"/api/v1/operations/payments/{payment_id}/settle"
    settled = operator.post(path, {**SAID, "outcome": "failed"}, prefer="wait=20")
    assert (settled.status, settled.body["status"]) == (200, "failed"), settled
    assert operator.get("/api/v1/operations/reviews").body["data"] == []
    judge(system)


def test_a_500_that_the_key_replays_is_settled_by_an_event_alone(system, till):
    system.stripe.fault("server_error", path=INTENTS, executed=False)
    payment_id = till.pay()
    # What the key has saved is said again and again.
    system.wait_until(lambda: len(unknowns(system, till, payment_id)) >= 3)
    assert all("500" in why or "api_error" in why for why in unknowns(system, till, payment_id))
    advance(system, KEY_LIFE)
    hurry(system)
    till.wait_for(payment_id, "needs_review")
    # It was charged all the same, where no list of the customer's shows it.
    [attempt] = till.attempts(payment_id)
    client = stripe.StripeClient("sk_test_sandbox", base_addresses={"api": system.stripe.url})
    client.v1.payment_intents.create(
        {
            "amount": 100_00,
            "currency": "inr",
            "payment_method": "pm_card_visa",
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "metadata": {
                "transaction_id": str(payment_id),
                "company_id": str(till.company_id),
                "attempt_id": str(attempt.id),
                "attempt_key": attempt.idempotency_key,
            },
        }
    )
    till.wait_for(payment_id, "succeeded")
    [attempt] = till.attempts(payment_id)
    assert attempt.status == AttemptStatus.SUCCEEDED
    judge(system)


def unknowns(system, till, payment_id) -> list[str]:
    with system.session(till.company_id) as session:
        lines = history(session, [payment_id])
        return [line.why for line in lines if line.what == "unknown"]


def test_three_days_of_lost_webhooks_are_fetched_each_once(system, till):
    system.stripe.webhooks(drop=1_000_000)
    slow_card = till.attach("pm_sandbox_processing")
    settled, declined = till.pay(method_id=slow_card), till.pay(method_id=slow_card)
    paid = till.pay()
    till.wait_for(paid, "succeeded")
    intents = {each: at_work(system, till, each) for each in (settled, declined)}
    system.stripe.settle(intents[settled])
    system.stripe.settle(intents[declined], outcome="failed")
    intent_id = till.payment(paid).provider_transaction_id
    system.stripe.refund(payment_intent=intent_id, amount=40_00)
    advance(system, timedelta(days=3))
    till.wait_for(settled, "succeeded")
    till.wait_for(declined, "failed")
    till.wait_for(paid, "partially_refunded")
    judge(system)
    there = {event["id"] for event in system.stripe.book()["events"]}
    ours = {settled, declined, paid}
    with system.session() as session:
        rows = list(session.scalars(select(PaymentWebhook)))
        assert there <= {row.provider_event_id for row in rows}
        assert all(FETCHED in (r.headers or {}) for r in rows if r.transaction_id in ours)


def at_work(system, till, payment_id) -> str:
    """Wait until the provider works at a payment, and return its id there."""
    system.wait_until(
        lambda: [a.status for a in till.attempts(payment_id)] == [AttemptStatus.PROCESSING]
    )
    return till.payment(payment_id).provider_transaction_id


@pytest.mark.parametrize("kind", ["rate_limit", "slow"])
def test_ten_bad_minutes_of_the_provider_charge_once_in_the_end(system, till, kind):
    # A call is given up after a second; what is slower is executed all the same.
    system.stripe.fault(kind, path=INTENTS, count=None, delay_ms=1500 if kind == "slow" else 0)
    payments = [till.pay() for _ in range(3)]
    system.wait_until(lambda: all(is_put_off(till, each) for each in payments))
    for _ in range(10):
        before = [waits(till, each) for each in payments]
        # A round may try twice, by the clock and by the hurry; the fifth try would give up.
        if max(before) > 2:
            break
        advance(system, timedelta(minutes=1))
        hurry(system)
        if kind == "rate_limit":
            system.wait_until(
                lambda before=before: all(
                    waits(till, each) > was for each, was in zip(payments, before, strict=True)
                )
            )
        system.wait_until(lambda: all(is_put_off(till, each) for each in payments))
        assert Status.FAILED not in {till.payment(each).status for each in payments}
    system.stripe.clear_faults()
    hurry(system)
    for each in payments:
        till.wait_for(each, "succeeded")
        assert len(till.attempts(each)) == 1
        assert len(system.stripe.charges(each)) == 1
    judge(system)


def waits(till, payment_id) -> int:
    """How often the provider surely did not execute a payment's only attempt."""
    return till.attempts(payment_id)[0].waits


def is_put_off(till, payment_id) -> bool:
    """Whether nobody is calling for a payment: it waits, is unknown, or is done."""
    attempts = till.attempts(payment_id)
    return bool(attempts) and attempts[0].status != AttemptStatus.CALLING


def test_a_provider_that_is_killed_during_the_calls_charges_each_once(system, till):
    system.stripe.fault("slow", path=INTENTS, count=None, delay_ms=300)
    payments = [till.pay() for _ in range(6)]
    system.wait_until(lambda: any(till.attempts(each) for each in payments))
    system.sandbox.kill()
    system.wait_until(lambda: all(is_put_off(till, each) for each in payments))
    system.sandbox.start()
    for _ in range(3):
        advance(system, timedelta(minutes=2))
        hurry(system)
    for each in payments:
        till.wait_for(each, "succeeded")
        assert len(till.attempts(each)) == 1
        assert len(system.stripe.charges(each)) == 1
    judge(system)


@pytest.fixture
def impatient(system):
    """A second worker, for which the broker takes back what is not done at once."""
    worker = system.more("worker", "impatient")
    worker.argv = ["tests.faults.impatient_app" if w == "worker.app" else w for w in worker.argv]
    yield worker.start()
    worker.kill()


def test_calls_longer_than_the_visibility_timeout_are_made_once(system, till, impatient):
    system.stripe.fault("slow", path=INTENTS, count=6, delay_ms=800)
    payments = [till.pay() for _ in range(6)]
    for each in payments:
        till.wait_for(each, "succeeded")
    # Their messages came back, to this worker or to the other, while the calls were open.
    said = system.worker.said + impatient.said
    assert len(re.findall(r"Task payments.charge\S+ received", said)) > len(payments)
    for each in payments:
        assert len(till.attempts(each)) == 1
        assert len(system.stripe.charges(each)) == 1
    judge(system)
