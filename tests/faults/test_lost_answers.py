"""The provider's answer is lost or is no answer: one charge, or none and a person who looks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from models.base import across_companies
from models.clock import now
from models.outbox import Owed
from models.transactions import AttemptStatus, PaymentAttempt
from tests.invariants import judge

INTENTS = "/v1/payment_intents"
# Each test has more calls fail than a breaker lets through.
ENVIRON = {"BREAKER_FAILURES": "1000000"}
# Stripe remembers a key for 24 hours; a margin beyond.
BEYOND_THE_KEY = timedelta(hours=25)


@pytest.fixture
def silent(system, till):
    """No event goes out, so that only the look-up can tell."""
    system.stripe.webhooks(is_paused=True)
    yield system.stripe
    system.stripe.webhooks(is_paused=False)


def test_an_answer_that_was_lost_is_looked_up_and_charges_once(system, till, silent):
    for kind in ("timeout_after", "drop_after", "server_error", "timeout_before", "drop_before"):
        silent.fault(kind, path=INTENTS)
    silent.fault("key_in_use", path=INTENTS)
    # The 500 was executed; the others were, or not: nobody could tell them apart.
    payments = [till.pay() for _ in range(6)]
    for payment_id in payments:
        till.wait_for(payment_id, "succeeded")
        [attempt] = till.attempts(payment_id)
        assert attempt.status == AttemptStatus.SUCCEEDED
        assert any("unknown" in line for line in till.told(payment_id))
        assert len(silent.charges(payment_id)) == 1
    assert not silent.faults()
    silent.webhooks(is_paused=False)
    judge(system)


def test_an_event_that_overtakes_the_look_up_settles_the_payment_once(system, till):
    system.stripe.fault("timeout_after", path=INTENTS)
    system.stripe.fault("server_error", method="GET", path=f"{INTENTS}*", count=None)
    payment_id = till.pay()
    till.wait_for(payment_id, "succeeded")
    system.stripe.clear_faults()
    judge(system)
    assert len(system.stripe.charges(payment_id)) == 1


def test_what_was_surely_not_executed_is_sent_again_in_the_same_attempt(system, till, silent):
    for kind in ("rate_limit", "lock_timeout"):
        # One call tries three times.
        silent.fault(kind, path=INTENTS, count=3)
        payment_id = till.pay()
        till.wait_for(payment_id, "succeeded")
        [attempt] = till.attempts(payment_id)
        assert attempt.waits == 1
        assert len(silent.charges(payment_id)) == 1
    assert not silent.faults()
    silent.webhooks(is_paused=False)
    judge(system)


def test_a_provider_that_is_down_is_waited_for(system, till):
    system.sandbox.kill()
    payment_id = till.pay()
    system.wait_until(lambda: any(a.waits for a in till.attempts(payment_id)))
    system.sandbox.start()
    till.wait_for(payment_id, "succeeded")
    assert len(till.attempts(payment_id)) == 1
    judge(system)


def test_a_provider_that_stays_away_fails_the_payment_unexecuted(system, till):
    system.stripe.fault("rate_limit", path=INTENTS, count=None)
    payment_id = till.pay()
    till.wait_for(payment_id, "failed")
    system.stripe.clear_faults()
    [attempt] = till.attempts(payment_id)
    assert (attempt.waits, attempt.status) == (5, AttemptStatus.REJECTED)
    judge(system)


OPEN_CALL = (AttemptStatus.CALLING, AttemptStatus.UNKNOWN)

# What the provider has when the answer of the first call was lost, by the card that was charged,
# and what becomes of the payment: while the key lives, and after.
OUTCOMES = {
    "pm_card_visa": ("succeeded", "succeeded"),
    "pm_card_chargeCustomerFail": ("failed", "failed"),
    "pm_card_authenticationRequired": ("requires_action", "requires_action"),
    "pm_sandbox_processing": ("processing", "processing"),
    "nothing": ("succeeded", "needs_review"),
}


def test_a_look_up_believes_the_provider_and_never_charges_after_the_keys_life(
    system, till, silent
):
    cards = {card: till.attach(card) for card in OUTCOMES if card != "nothing"}
    silent.fault("server_error", method="GET", path=f"{INTENTS}*", count=None)
    payments = {}
    for card, method_id in cards.items():
        silent.fault("timeout_after", path=INTENTS, count=2)
        payments[card] = [till.pay(method_id=method_id) for _ in range(2)]
        wait_unknown(system, till, payments[card])
    silent.fault("timeout_before", path=INTENTS, count=2)
    payments["nothing"] = [till.pay() for _ in range(2)]
    wait_unknown(system, till, payments["nothing"])

    age(system, [old for _, old in payments.values()])
    silent.clear_faults()
    system.wait_until(
        lambda: all(
            a.status not in OPEN_CALL or till.payment(each).status == "needs_review"
            for pair in payments.values()
            for each in pair
            for a in till.attempts(each)
        )
    )
    became = {c: tuple(till.payment(each).status for each in p) for c, p in payments.items()}
    assert became == OUTCOMES
    for pair in payments.values():
        for each in pair:
            assert len(till.attempts(each)) == 1
    silent.webhooks(is_paused=False)
    judge(system)
    assert [len(silent.charges(each)) for each in payments["nothing"]] == [1, 0]


def wait_unknown(system, till, payments):
    system.wait_until(
        lambda: (
            all(a.status == AttemptStatus.UNKNOWN for each in payments for a in till.attempts(each))
            and all(till.attempts(each) for each in payments)
        )
    )


def age(system, payments):
    """Let the keys of these expire, and what is owed come due."""
    why = "the test turns the clock of some attempts"
    with system.session() as session:
        session.execute(
            across_companies(
                update(PaymentAttempt)
                .where(PaymentAttempt.transaction_id.in_(payments))
                .values(first_called_at=now() - BEYOND_THE_KEY),
                because=why,
            )
        )
        session.execute(update(Owed).values(due_at=now()))
