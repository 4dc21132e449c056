"""What a look-up cannot clear up: it never charges, never gives back, and a person is told."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta

import pytest
import stripe
from sqlalchemy import select, update

from models.alerts import Alert
from models.clock import now
from models.outbox import Owed, OwedStatus
from models.refunds import Refund, RefundStatus
from models.transactions import AttemptStatus
from tests.faults.till import owed
from tests.invariants import judge

pytestmark = pytest.mark.xdist_group("tests/faults")
INTENTS = "/v1/payment_intents"
REFUNDS = "/v1/refunds"
# Stripe remembers a key for 24 hours; a margin beyond.
BEYOND_THE_KEY = timedelta(hours=25)


@pytest.fixture
def unheard(system, till):
    """No event goes out and no look-up is answered, until the test says so."""
    system.stripe.webhooks(is_paused=True)
    system.stripe.fault("server_error", method="GET", path="/v1/*", count=None)
    yield system.stripe
    system.stripe.webhooks(is_paused=False)


def pay_into_the_dark(system, till, kind):
    """A payment whose answer was lost."""
    system.stripe.fault(kind, path=INTENTS)
    payment_id = till.pay()
    system.wait_until(
        lambda: [a.status for a in till.attempts(payment_id)] == [AttemptStatus.UNKNOWN]
    )
    return payment_id


def hurry(system):
    """Let what is owed come due: look-ups become rare."""
    with system.session() as session:
        session.execute(update(Owed).values(due_at=now()))


@contextmanager
def wrong_key(system):
    """The provider knows the worker's API key no more."""
    system.worker.stop()
    system.worker.start(STRIPE_API_KEY="sk_that_was_rolled")
    try:
        yield
    finally:
        system.worker.stop()
        system.worker.start()


def test_a_look_up_that_is_refused_says_nothing_of_the_charge(system, till, unheard):
    payment_id = pay_into_the_dark(system, till, "timeout_after")
    with wrong_key(system):
        unheard.clear_faults()
        hurry(system)
        system.wait_until(lambda: any("Invalid API Key" in line for line in till.told(payment_id)))
        assert till.payment(payment_id).status == "processing"
        assert till.attempts(payment_id)[0].status == AttemptStatus.UNKNOWN
    hurry(system)
    till.wait_for(payment_id, "succeeded")
    assert len(unheard.charges(payment_id)) == 1
    unheard.webhooks(is_paused=False)
    judge(system)


def test_a_key_that_was_used_for_something_else_is_left_to_a_person(system, till, unheard):
    payment_id = pay_into_the_dark(system, till, "timeout_before")
    [attempt] = till.attempts(payment_id)
    other = {"amount": 77_00, "currency": "inr"}
    client = stripe.StripeClient("sk_test_sandbox", base_addresses={"api": system.stripe.url})
    client.v1.payment_intents.create(other, {"idempotency_key": attempt.idempotency_key})
    unheard.clear_faults()
    hurry(system)
    till.wait_for(payment_id, "needs_review")
    assert any("idempotency_error" in line for line in till.told(payment_id))
    assert f"payment {payment_id} needs review" in system.worker.said
    [raised] = alerts_about(system, payment_id)
    assert (raised.kind, raised.resolved_at) == ("needs_review", None)
    assert unheard.charges(payment_id) == []
    unheard.webhooks(is_paused=False)
    judge(system)
    assert [a.status for a in till.attempts(payment_id)] == [AttemptStatus.UNKNOWN]


@pytest.fixture
def paid(system, till):
    payment_id = till.pay()
    till.wait_for(payment_id, "succeeded")
    return payment_id


def refund_into_the_dark(system, till, payment_id, kind):
    """A refund whose answer was lost, and whose key has expired since."""
    system.stripe.fault(kind, path=REFUNDS)
    refund_id = till.refund(payment_id, "40.00")
    system.wait_until(lambda: refund_of(till, refund_id).error_message)
    with system.session(till.company_id) as session:
        session.get_one(Refund, refund_id).first_called_at = now() - BEYOND_THE_KEY
    return refund_id


def refund_of(till, refund_id):
    with till.system.session(till.company_id) as session:
        return session.get_one(Refund, refund_id)


def refunds_at(stripe, payment_id):
    return [
        each
        for each in stripe.book()["refunds"]
        if each["metadata"].get("transaction_id") == str(payment_id)
    ]


def test_a_refund_is_never_sent_again_after_its_keys_life(system, till, paid, unheard):
    refund_id = refund_into_the_dark(system, till, paid, "timeout_before")
    unheard.clear_faults()
    hurry(system)
    system.wait_until(lambda: refund_of(till, refund_id).review_since)
    assert refund_of(till, refund_id).status == RefundStatus.PROCESSING
    assert refunds_at(unheard, paid) == []
    [raised] = alerts_about(system, refund_id)
    assert "its key has expired" in raised.message
    assert not [each for each in owed(system, OwedStatus.DEAD) if each.task == "refunds.send"]
    unheard.webhooks(is_paused=False)
    judge(system)


def alerts_about(system, row_id):
    with system.session() as session:
        return list(session.scalars(select(Alert).where(Alert.subject_id == row_id)))


def test_a_refund_that_was_executed_is_found_after_its_keys_life(system, till, paid, unheard):
    refund_id = refund_into_the_dark(system, till, paid, "timeout_after")
    unheard.clear_faults()
    hurry(system)
    till.wait_for(paid, "partially_refunded")
    assert refund_of(till, refund_id).status == RefundStatus.SUCCEEDED
    assert [each["amount"] for each in refunds_at(unheard, paid)] == [40_00]
    unheard.webhooks(is_paused=False)
    judge(system)
