"""What becomes of refunds: in part, several, overtaken, sent back, made by somebody else."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import select

from models import locks
from models.ids import new_id
from models.ledger import Account
from models.money import Money
from models.outbox import Owed, enqueue
from models.refunds import Refund, RefundReason, left_to_refund
from models.timeline import Cause, history
from models.transactions import lock_existing
from sandbox.standin.control import Refused
from tasks import refunds
from tests.bell import ring
from tests.factories import add_invoice
from tests.tasks.provider_events import alerts_of, balance, broken, deliver, events_of, refunds_at
from worker.gateways.base import RefundAnswer, RefundState

DISPUTE, REFUND = "charge.dispute.", "refund."


@pytest.fixture
def paid(shop):
    """A payment of 100 by card."""
    return shop.pay(shop.card())


def ask(shop, payment_id, amount="60.00", reason=RefundReason.REQUESTED):
    with shop.session() as session:
        refund = Refund(
            company_id=shop.company_id,
            transaction_id=payment_id,
            amount=Decimal(amount),
            reason=reason,
        )
        session.add(refund)
        session.flush()
        return refund.id, enqueue(session, "refunds.send", refund_id=refund.id).id


def refund_of(shop, refund_id) -> Refund:
    with shop.session() as session:
        return session.get_one(Refund, refund_id)


def intent_of(shop, payment_id):
    return shop.payment(payment_id).provider_transaction_id


def at_stripe(shop, payment_id):
    return shop.sandbox.client().v1.refunds.list({"payment_intent": intent_of(shop, payment_id)})


def stands(shop, payment_id):
    payment = shop.payment(payment_id)
    return payment.status, payment.amount_refunded


def test_a_dispute_overtakes_a_refund_that_was_not_sent(shop, paid):
    refund_id, _ = ask(shop, paid)
    shop.sandbox.control.dispute(payment_intent=intent_of(shop, paid))
    deliver(shop, events_of(shop, DISPUTE), works=False)
    shop.work()
    refund = refund_of(shop, refund_id)
    assert (refund.status, refund.first_called_at) == ("failed", None)
    assert refund.error_message == "The payment is disputed; nothing was sent."
    assert at_stripe(shop, paid).data == []
    assert ("refund_failed", True) in alerts_of(shop)
    assert broken(shop) == []


def test_a_refund_that_was_sent_before_the_dispute_is_followed_to_its_end(shop, paid):
    shop.sandbox.control.fault("drop_after", path="/v1/refunds")
    refund_id, owed_id = ask(shop, paid)
    ring("refunds.send", owed_id)
    assert refund_of(shop, refund_id).status == "processing"
    shop.sandbox.control.dispute(payment_intent=intent_of(shop, paid))
    deliver(shop, events_of(shop, DISPUTE))
    shop.work()
    assert refund_of(shop, refund_id).status == "succeeded"
    # The bank took what was left of the charge.
    assert (balance(shop, Account.REVENUE), balance(shop, Account.DISPUTES)) == (-40, 40)
    assert balance(shop, Account.CLEARING) == -balance(shop, Account.FEES) == -15
    assert broken(shop) == []


@pytest.mark.parametrize(("disputed", "won_back"), [(4000, 0), (None, 6000)])
def test_what_a_dispute_lost_in_part_has_left_is_refunded_and_no_more(
    shop, paid, disputed, won_back
):
    part = {"amount": disputed} if disputed else {}
    control = shop.sandbox.control
    dispute_id = control.dispute(payment_intent=intent_of(shop, paid), **part)["id"]
    control.end_dispute(dispute_id, "lost", won_back=won_back)
    deliver(shop, events_of(shop, DISPUTE))
    with shop.session() as session:
        assert left_to_refund(session, lock_existing(session, paid)) == 60
    refund_id, _ = ask(shop, paid)
    shop.work()
    assert refund_of(shop, refund_id).status == "succeeded"
    assert (balance(shop, Account.REVENUE), balance(shop, Account.DISPUTES)) == (-40, 40)
    with pytest.raises(Refused, match="charged back"):
        control.refund(payment_intent=intent_of(shop, paid), amount=1)
    assert broken(shop) == []


@pytest.mark.parametrize("ending", ["succeeded", "failed"])
def test_a_dispute_while_a_refund_is_pending_at_the_provider(shop, paid, ending):
    shop.sandbox.control.fault("refund_pending")
    refund_id, _ = ask(shop, paid)
    shop.work()
    assert refund_of(shop, refund_id).status == "processing"
    shop.sandbox.control.dispute(payment_intent=intent_of(shop, paid))
    deliver(shop, events_of(shop, DISPUTE))
    assert stands(shop, paid) == ("succeeded", 0)
    theirs = refund_of(shop, refund_id).provider_refund_id
    shop.sandbox.control.move_refund(theirs, ending)
    deliver(shop, events_of(shop, REFUND))
    assert refund_of(shop, refund_id).status == ending
    given = 60 if ending == "succeeded" else 0
    assert balance(shop, Account.REVENUE) == given - 100
    assert balance(shop, Account.CLEARING) == 60 - given - balance(shop, Account.FEES)
    assert broken(shop) == []


def test_a_refund_that_fails_after_it_succeeded_brings_the_money_back(shop, paid):
    refund_id, _ = ask(shop, paid, "100.00")
    shop.work()
    assert stands(shop, paid) == ("refunded", 100)
    shop.sandbox.control.move_refund(refund_of(shop, refund_id).provider_refund_id, "failed")
    deliver(shop, events_of(shop, REFUND))
    refund = refund_of(shop, refund_id)
    assert (refund.status, refund.error_message) == ("failed", "expired_or_canceled_card")
    assert stands(shop, paid) == ("succeeded", 0)
    assert (balance(shop, Account.REFUNDS), balance(shop, Account.CLEARING)) == (0, 100)
    assert ("refund_failed", True) in alerts_of(shop)
    told = [
        event["data"]["amount_refunded"]
        for row in shop.owed("events.publish")
        for event in row.arguments["events"]
        if event["data"].get("refund_id") == str(refund_id)
    ]
    assert told == ["100.00", "0.00"]
    # What is back can be given again.
    again, _ = ask(shop, paid, "100.00")
    shop.work()
    assert refund_of(shop, again).status == "succeeded"
    assert broken(shop) == []


def test_one_of_several_fails_and_the_others_stand(shop, paid):
    several = [ask(shop, paid, "30.00")[0] for _ in range(3)]
    shop.work()
    assert stands(shop, paid) == ("partially_refunded", 90)
    shop.sandbox.control.move_refund(refund_of(shop, several[1]).provider_refund_id, "failed")
    deliver(shop, events_of(shop, REFUND))
    assert stands(shop, paid) == ("partially_refunded", 60)
    assert broken(shop) == []


def test_a_refund_that_waits_for_the_customer_says_so(shop, paid):
    shop.sandbox.control.fault("refund_requires_action")
    refund_id, _ = ask(shop, paid)
    shop.work()
    refund = refund_of(shop, refund_id)
    assert refund.status == "requires_action"
    # Its amount is still taken.
    other, _ = ask(shop, paid, "60.00")
    shop.work()
    assert refund_of(shop, other).error_message.startswith("Less than that is left")
    shop.sandbox.control.move_refund(refund.provider_refund_id, "succeeded")
    deliver(shop, events_of(shop, REFUND))
    assert stands(shop, paid) == ("partially_refunded", 60)
    assert broken(shop) == []


def test_a_stale_event_of_a_refund_under_way_has_the_provider_asked(shop, paid):
    shop.sandbox.control.fault("refund_requires_action")
    refund_id, _ = ask(shop, paid)
    shop.work()
    theirs = refund_of(shop, refund_id).provider_refund_id
    [created] = events_of(shop, "refund.created")
    shop.sandbox.control.move_refund(theirs, "pending")
    [pending] = events_of(shop, "refund.updated")
    deliver(shop, [pending])
    assert refund_of(shop, refund_id).status == "processing"
    deliver(shop, [created])
    assert refund_of(shop, refund_id).status == "processing"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("requested_by_customer", "requested"),
        ("fraudulent", "chargeback"),
        ("duplicate", "refund"),
        (None, "refund"),
    ],
)
def test_a_refund_made_in_the_dashboard_is_adopted(shop, paid, theirs, ours):
    reason = {"reason": theirs} if theirs else {}
    intent = intent_of(shop, paid)
    shop.sandbox.control.refund(payment_intent=intent, amount=2500, **reason)
    deliver(shop, [*events_of(shop, REFUND), *events_of(shop, "charge.refunded")] * 2)
    [refund] = refunds_at(shop, paid)
    assert (refund.status, refund.amount, refund.reason) == ("succeeded", 25, ours)
    assert stands(shop, paid) == ("partially_refunded", 25)
    assert broken(shop) == []


def charge_again(shop, payment_id) -> str:
    """Charge a payment a second time, as somebody with our keys might; return the intent."""
    client = shop.sandbox.client().v1.payment_intents
    first = client.retrieve(intent_of(shop, payment_id))
    second = client.create(
        {
            "amount": first.amount,
            "currency": first.currency,
            "customer": first.customer,
            "payment_method": first.payment_method,
            "metadata": first.metadata.to_dict(),
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        },
        {"idempotency_key": new_id().hex},
    )
    assert second.status == "succeeded"
    deliver(shop, events_of(shop, "payment_intent.succeeded"))
    assert alerts_of(shop) == [("second_charge", True)]
    return second.id


@pytest.mark.parametrize(
    ("parts", "is_open"), [([10000], False), ([2500], True), ([2500, 7500], False)]
)
def test_a_second_charge_that_is_given_back_leaves_the_first_as_it_is(shop, paid, parts, is_open):
    first, second = intent_of(shop, paid), charge_again(shop, paid)
    for amount in parts:
        shop.sandbox.control.refund(payment_intent=second, amount=amount)
    deliver(shop, [*events_of(shop, REFUND), *events_of(shop, "charge.refunded")] * 2)
    assert refunds_at(shop, paid) == []
    assert stands(shop, paid) == ("succeeded", 0)
    assert alerts_of(shop) == [("second_charge", is_open)]
    with shop.session() as session:
        told = [line.detail for line in history(session, [paid]) if line.what == "other_refund"]
    assert {each["of"] for each in told} == {second}
    # What is given back of the first is known by its own intent, also now.
    shop.sandbox.control.refund(payment_intent=first, amount=1000)
    deliver(shop, events_of(shop, REFUND))
    assert [refund.amount for refund in refunds_at(shop, paid)] == [10]
    assert stands(shop, paid) == ("partially_refunded", 10)
    assert broken(shop) == []


def test_our_reason_is_told_to_the_provider(shop, paid):
    ask(shop, paid, "10.00", RefundReason.REQUESTED)
    ask(shop, paid, "10.00", RefundReason.REFUND)
    shop.work()
    told = {refund.metadata["reason"]: refund.reason for refund in at_stripe(shop, paid).data}
    assert told == {"requested": "requested_by_customer", "refund": None}


def test_a_refund_in_the_dashboard_before_ours_is_answered(shop, paid):
    """Ours asks for 60 of 100 when somebody has just given 60 by hand."""
    shop.sandbox.control.fault("drop_before", path="/v1/refunds")
    refund_id, owed_id = ask(shop, paid)
    ring("refunds.send", owed_id)
    shop.sandbox.control.refund(payment_intent=intent_of(shop, paid), amount=6000)
    deliver(shop, events_of(shop, REFUND))
    shop.work()
    by_hand = [refund for refund in refunds_at(shop, paid) if refund.id != refund_id]
    assert [refund.status for refund in by_hand] == ["succeeded"]
    assert refund_of(shop, refund_id).status == "failed"
    assert stands(shop, paid) == ("partially_refunded", 60)
    assert broken(shop) == []


def test_a_refund_that_has_failed_here_and_gone_out_there_is_for_a_person(shop, paid):
    shop.sandbox.control.fault("drop_after", path="/v1/refunds")
    refund_id, owed_id = ask(shop, paid)
    ring("refunds.send", owed_id)
    with shop.session() as session:
        payment = lock_existing(session, paid)
        refund = locks.lock_existing(session, Refund, refund_id)
        refunds.fail(session, payment, refund, "Settled by hand.", cause=Cause(why="a test"))
    deliver(shop, events_of(shop, REFUND))
    assert stands(shop, paid) == ("succeeded", 0)
    assert ("refund_gone_out", True) in alerts_of(shop)


def test_a_stale_success_of_a_refund_that_failed_since_alarms_nobody(shop, paid):
    refund_id, owed_id = ask(shop, paid)
    ring("refunds.send", owed_id)
    shop.sandbox.control.move_refund(refund_of(shop, refund_id).provider_refund_id, "failed")
    events = events_of(shop, REFUND)
    deliver(shop, reversed(events))
    refund = refund_of(shop, refund_id)
    assert (refund.status, refund.error_message) == ("failed", "expired_or_canceled_card")
    assert "refund_gone_out" not in dict(alerts_of(shop))


def test_an_answer_that_is_written_down_after_the_failure_takes_no_reason_away(shop, paid):
    refund_id, owed_id = ask(shop, paid)
    ring("refunds.send", owed_id)
    shop.sandbox.control.move_refund(refund_of(shop, refund_id).provider_refund_id, "failed")
    deliver(shop, events_of(shop, REFUND))
    with shop.session() as session:
        payment = lock_existing(session, paid)
        refund = session.get_one(Refund, refund_id)
        money = Money(refund.amount, payment.currency)
        identity = refund.provider_refund_id or ""
        late = RefundAnswer(provider_id=identity, state=RefundState.SUCCEEDED, money=money)
        refunds.apply(session, payment, refund, late, cause=Cause(why="a late answer"))
    refund = refund_of(shop, refund_id)
    assert (refund.status, refund.error_message) == ("failed", "expired_or_canceled_card")


def test_a_refund_in_the_dashboard_leaves_too_little_for_one_that_was_not_sent(shop, paid):
    refund_id, owed_id = ask(shop, paid)
    shop.sandbox.control.refund(payment_intent=intent_of(shop, paid), amount=6000)
    deliver(shop, events_of(shop, REFUND), works=False)
    ring("refunds.send", owed_id)
    refund = refund_of(shop, refund_id)
    assert (refund.status, refund.first_called_at) == ("failed", None)
    assert refund.error_message == "Less than that is left of the payment; nothing was sent."
    assert broken(shop) == []


@pytest.mark.parametrize(
    ("currency", "amount", "minor", "part", "part_minor"),
    [
        ("JPY", "1001.00", 1001, "500.00", 500),
        ("KWD", "10.01", 10010, "5.55", 5550),
        ("ISK", "1001.00", 100100, "500.00", 50000),
        ("UGX", "5001.00", 500100, "2500.00", 250000),
        ("HUF", "1000.50", 100050, "500.25", 50025),
    ],
)
def test_a_currency_goes_there_and_back(shop, currency, amount, minor, part, part_minor):
    card = shop.card()
    with shop.session() as session:
        invoice_id = add_invoice(session, shop.company_id, amount, currency)
    payment_id = shop.pay(card, invoice_id, amount, currency=currency)
    [charge] = shop.sandbox.control.charges(str(payment_id))
    assert (charge["amount_captured"], charge["currency"]) == (minor, currency.lower())
    assert shop.payment(payment_id).amount_captured == Decimal(amount)
    ask(shop, payment_id, part)
    shop.work()
    [charge] = shop.sandbox.control.charges(str(payment_id))
    assert charge["amount_refunded"] == part_minor
    assert stands(shop, payment_id) == ("partially_refunded", Decimal(part))
    # The rest is disputed: what the bank takes is what is left, to the last unit.
    shop.sandbox.control.dispute(charge=charge["id"])
    deliver(shop, events_of(shop, DISPUTE))
    assert balance(shop, Account.DISPUTES) == Decimal(amount) - Decimal(part)
    assert balance(shop, Account.CLEARING) == -balance(shop, Account.FEES)
    assert broken(shop) == []


def test_an_event_of_a_refund_that_is_nobodys_changes_nothing(shop, paid):
    shop.sandbox.control.refund(payment_intent=intent_of(shop, paid), amount=2500)
    [created] = events_of(shop, "refund.created")
    created["id"] = f"evt_{new_id().hex}"
    created["data"]["object"] |= {"payment_intent": "pi_of_another_app", "charge": "ch_of_theirs"}
    collects = select(Owed.id).where(Owed.task == "refunds.collect")
    with shop.session() as session:
        owed = session.scalars(collects).all()
    deliver(shop, [created])
    assert refunds_at(shop, paid) == []
    with shop.session() as session:
        assert session.scalars(collects).all() == owed
