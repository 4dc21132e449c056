"""Disputes as they come: in any order, in part, several, of payments that are not known yet."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from sqlalchemy import select

from models import clock
from models.disputes import Dispute, DisputeStatus
from models.ids import new_id
from models.ledger import Account, LedgerEntry
from models.notifications import Notification
from models.outbox import Owed
from models.refunds import left_to_refund
from models.timeline import Timeline, history
from models.transactions import PaymentAttempt, lock_existing
from models.webhooks import WebhookStatus
from tasks import disputes
from tests.bell import ring
from tests.tasks.provider_events import (
    alerts_of,
    balance,
    broken,
    deliver,
    disputes_of,
    events_of,
)
from worker.database import transaction

DISPUTE = "charge.dispute."


@pytest.fixture
def paid(shop):
    """A payment of 100 by card."""
    return shop.pay(shop.card())


def open_dispute(shop, payment_id, **more):
    intent = shop.payment(payment_id).provider_transaction_id
    return shop.sandbox.control.dispute(payment_intent=intent, **more)


def fees_of(shop):
    with shop.session() as session:
        query = select(LedgerEntry).where(LedgerEntry.account == Account.FEES)
        entries = session.scalars(query.order_by(LedgerEntry.id))
        return [(entry.amount, entry.currency) for entry in entries]


def notices(shop):
    with shop.session() as session:
        rows = session.scalars(select(Notification).order_by(Notification.id))
        return [row.template for row in rows if row.template.startswith("dispute")]


def test_a_dispute_takes_the_money_and_flags_the_payment(shop, paid):
    told = open_dispute(shop, paid)
    deliver(shop, events_of(shop, DISPUTE))
    [dispute] = disputes_of(shop)
    assert (dispute.status, dispute.provider_dispute_id) == ("needs_response", told["id"])
    assert (dispute.amount, dispute.amount_withdrawn, dispute.reason) == (100, 100, "fraudulent")
    assert dispute.evidence_due_at.timestamp() == told["evidence_details"]["due_by"]
    assert shop.payment(paid).is_disputed
    assert (balance(shop, Account.DISPUTES), balance(shop, Account.FEES)) == (100, 15)
    assert balance(shop, Account.CLEARING) == -15
    assert alerts_of(shop) == [("dispute_opened", True)]
    assert notices(shop) == ["dispute_opened"]
    assert broken(shop) == []


@pytest.mark.parametrize("seed", range(3))
def test_events_in_any_order_and_twice_end_where_the_provider_does(shop, paid, seed):
    control = shop.sandbox.control
    dispute_id = open_dispute(shop, paid, reason="inquiry")["id"]
    control.move_dispute(dispute_id, "needs_response")
    control.move_dispute(dispute_id, "under_review")
    ending = ("won", "lost", "prevented")[seed]
    control.end_dispute(dispute_id, ending)
    events = events_of(shop, DISPUTE) * 2
    Random(seed).shuffle(events)
    deliver(shop, events)
    [dispute] = disputes_of(shop)
    assert dispute.status == ending
    assert dispute.closed_at is not None
    assert not shop.payment(paid).is_disputed
    kept = 0 if ending == "lost" else 100
    assert balance(shop, Account.DISPUTES) == 100 - kept
    # What the provider kept for it is not given back.
    assert (balance(shop, Account.CLEARING), balance(shop, Account.FEES)) == (kept - 15, 15)
    assert ("dispute_closed", True) in alerts_of(shop)
    assert ("dispute_opened", True) not in alerts_of(shop)
    assert broken(shop) == []


def test_an_event_that_is_not_final_is_only_a_hint(shop, paid):
    dispute_id = open_dispute(shop, paid)["id"]
    created = events_of(shop, DISPUTE)
    shop.sandbox.control.move_dispute(dispute_id, "under_review")
    deliver(shop, created)
    [dispute] = disputes_of(shop)
    assert dispute.status == "needs_response"
    updated = events_of(shop, DISPUTE + "updated")
    # It says under_review; meanwhile the bank has asked again.
    shop.sandbox.control.move_dispute(dispute_id, "needs_response")
    deliver(shop, updated)
    assert disputes_of(shop)[0].status == "needs_response"
    shop.sandbox.control.move_dispute(dispute_id, "under_review")
    deliver(shop, events_of(shop, DISPUTE + "updated")[-1:])
    assert disputes_of(shop)[0].status == "under_review"


def test_several_disputes_of_parts_of_a_payment(shop, paid):
    for _ in range(2):
        open_dispute(shop, paid, amount=3000)
    deliver(shop, events_of(shop, DISPUTE))
    one, other = disputes_of(shop)
    assert (balance(shop, Account.CLEARING), balance(shop, Account.FEES)) == (10, 30)
    for dispute, ending, is_disputed in ((one, "won", True), (other, "lost", False)):
        shop.sandbox.control.end_dispute(dispute.provider_dispute_id, ending)
        deliver(shop, events_of(shop, DISPUTE))
        assert shop.payment(paid).is_disputed is is_disputed
    with shop.session() as session:
        assert left_to_refund(session, lock_existing(session, paid)) == 70
    assert balance(shop, Account.DISPUTES) == 30
    assert broken(shop) == []


def test_an_inquiry_takes_nothing_until_it_is_a_dispute(shop, paid):
    dispute_id = open_dispute(shop, paid, reason="inquiry")["id"]
    deliver(shop, events_of(shop, DISPUTE))
    assert disputes_of(shop)[0].status == "warning_needs_response"
    assert shop.payment(paid).is_disputed
    assert balance(shop, Account.DISPUTES) == 0
    shop.sandbox.control.end_dispute(dispute_id, "warning_closed")
    deliver(shop, events_of(shop, DISPUTE))
    assert not shop.payment(paid).is_disputed
    shop.sandbox.control.move_dispute(dispute_id, "needs_response")
    deliver(shop, events_of(shop, DISPUTE))
    [dispute] = disputes_of(shop)
    assert (dispute.status, dispute.closed_at) == ("needs_response", None)
    assert shop.payment(paid).is_disputed
    assert balance(shop, Account.DISPUTES) == 100
    assert notices(shop) == ["dispute_opened", "dispute_opened"]
    assert broken(shop) == []


def test_a_status_that_is_new_to_us_is_noted_and_moves_nothing(shop, paid):
    open_dispute(shop, paid)
    deliver(shop, events_of(shop, DISPUTE))
    event = events_of(shop, DISPUTE + "created")[0]
    event["id"] = f"evt_{new_id().hex}"
    event["data"]["object"]["status"] = "appeal_under_review"
    assert deliver(shop, [event]) == [WebhookStatus.COMPLETED]
    [dispute] = disputes_of(shop)
    assert dispute.status == "needs_response"
    assert shop.payment(paid).is_disputed


def test_a_dispute_that_names_no_intent_is_found_by_its_charge(shop, paid):
    open_dispute(shop, paid)
    events = events_of(shop, DISPUTE)
    for event in events:
        event["data"]["object"]["payment_intent"] = None
    assert deliver(shop, events) == [WebhookStatus.COMPLETED] * 2
    assert [dispute.transaction_id for dispute in disputes_of(shop)] == [paid]


def owed(name, dispute_id):
    with transaction() as session:
        rows = session.scalars(select(Owed).where(Owed.task == name))
        return [row for row in rows if row.arguments.get("dispute_id") == dispute_id]


def test_a_dispute_of_a_charge_whose_answer_was_lost_is_traced(shop, paid):
    dispute_id = open_dispute(shop, paid)["id"]
    with shop.session() as session:
        payment = lock_existing(session, paid)
        intent, payment.provider_transaction_id = payment.provider_transaction_id, None
        payment.payment_processor_id = None
        session.scalars(select(PaymentAttempt)).one().provider_id = None
    assert deliver(shop, events_of(shop, DISPUTE)) == [WebhookStatus.IGNORED] * 2
    assert disputes_of(shop) == []
    for row in owed("disputes.trace", dispute_id):
        assert row.arguments["intent_id"] == intent
        ring("disputes.trace", row.id)
    assert owed("disputes.trace", dispute_id) == []
    assert [dispute.provider_dispute_id for dispute in disputes_of(shop)] == [dispute_id]
    assert balance(shop, Account.DISPUTES) == 100
    assert shop.payment(paid).is_disputed
    # What was traced was handled, once: handing the events over again changes nothing.
    told = events_of(shop, DISPUTE)
    assert deliver(shop, told) == [WebhookStatus.COMPLETED] * 2
    with shop.session() as session:
        lines = session.scalars(select(Timeline).where(Timeline.what == "event")).all()
    assert sorted(line.event_id for line in lines) == sorted(event["id"] for event in told)
    assert {line.subject_id for line in lines} == {paid}


def test_a_dispute_of_somebody_elses_payment_is_let_go(shop):
    client = shop.sandbox.client()
    client.v1.payment_intents.create(
        {
            "amount": 1000,
            "currency": "inr",
            "payment_method": "pm_card_createDispute",
            "confirm": True,
            "return_url": "https://example.test",
        }
    )
    events = events_of(shop, DISPUTE)
    dispute_id = events[0]["data"]["object"]["id"]
    # Of one the provider does not even show us the intent.
    events[1]["data"]["object"]["payment_intent"] = "pi_of_another_account"
    assert set(deliver(shop, events)) == {WebhookStatus.IGNORED}
    for row in owed("disputes.trace", dispute_id):
        ring("disputes.trace", row.id)
    assert owed("disputes.trace", dispute_id) == []


def test_a_slow_look_up_does_not_undo_what_was_heard_meanwhile(shop, paid, monkeypatch):
    dispute_id = open_dispute(shop, paid)["id"]
    deliver(shop, events_of(shop, DISPUTE))
    shop.sandbox.control.move_dispute(dispute_id, "under_review")
    at_stripe = disputes.disputes_at("stripe")
    stale = at_stripe.retrieve_dispute(dispute_id)
    shop.sandbox.control.move_dispute(dispute_id, "needs_response")

    class Slow:
        def retrieve_dispute(self, _):
            monkeypatch.undo()
            shop.sandbox.control.move_dispute(dispute_id, "under_review")
            shop.sandbox.control.move_dispute(dispute_id, "needs_response")
            with shop.session() as session:
                dispute = session.scalars(select(Dispute).with_for_update()).one()
                dispute.reason = "general"
            return stale

    deliver(shop, events_of(shop, DISPUTE + "updated")[:1], works=False)
    monkeypatch.setattr(disputes, "disputes_at", lambda _: Slow())
    [row] = shop.owed("disputes.refresh")
    ring("disputes.refresh", row.id)
    assert disputes_of(shop)[0].status == "needs_response"
    shop.work()
    assert disputes_of(shop)[0].status == "needs_response"


def test_evidence_that_is_due_soon_is_told_once(shop, paid):
    open_dispute(shop, paid)
    deliver(shop, events_of(shop, DISPUTE))
    disputes.remind()
    assert "dispute_due_soon" not in dict(alerts_of(shop))
    shop.advance(days=4, minutes=1)
    for _ in range(2):
        disputes.remind()
    shop.work()
    assert [kind for kind, _ in alerts_of(shop)] == ["dispute_opened", "dispute_due_soon"]
    assert notices(shop) == ["dispute_opened", "dispute_due_soon"]
    with shop.session() as session:
        [dispute] = session.scalars(select(Dispute)).all()
        lines = [line.what for line in history(session, [dispute.id])]
    assert lines.count("due_soon") == 1


def test_what_was_told_of_evidence_ends_once_its_day_is_past(shop, paid):
    open_dispute(shop, paid)
    deliver(shop, events_of(shop, DISPUTE))
    shop.advance(days=5)
    disputes.remind()
    disputes.remind()
    assert ("dispute_due_soon", True) in alerts_of(shop)
    shop.advance(days=2, minutes=1)
    disputes.remind()
    assert alerts_of(shop) == [("dispute_opened", True), ("dispute_due_soon", False)]


def test_nobody_is_told_to_be_quick_once_the_day_of_evidence_is_past(shop, paid):
    open_dispute(shop, paid)
    deliver(shop, events_of(shop, DISPUTE))
    shop.advance(days=8)
    disputes.remind()
    assert alerts_of(shop) == [("dispute_opened", True)]


def test_nobody_is_reminded_of_a_dispute_that_waits_for_the_bank(shop, paid):
    dispute_id = open_dispute(shop, paid)["id"]
    shop.sandbox.control.move_dispute(dispute_id, "under_review")
    deliver(shop, events_of(shop, DISPUTE))
    assert disputes_of(shop)[0].status == DisputeStatus.UNDER_REVIEW
    shop.advance(days=5)
    disputes.remind()
    assert [kind for kind, _ in alerts_of(shop)] == ["dispute_opened"]


def test_another_due_date_is_told_of_again(shop, paid):
    open_dispute(shop, paid)
    deliver(shop, events_of(shop, DISPUTE))
    shop.advance(days=5)
    disputes.remind()
    later = events_of(shop, DISPUTE + "created")[0]["data"]["object"]["evidence_details"]["due_by"]
    with shop.session() as session:
        dispute = session.scalars(select(Dispute).with_for_update()).one()
        assert dispute.due_told_at is not None
        dispute.evidence_due_at = dispute.evidence_due_at - timedelta(days=1)
    [row] = disputes_of(shop)
    event = events_of(shop, DISPUTE + "created")[0]
    event["id"] = f"evt_{new_id().hex}"
    deliver(shop, [event])
    [dispute] = disputes_of(shop)
    assert dispute.evidence_due_at.timestamp() == later
    assert dispute.due_told_at is None
    assert row.evidence_due_at != dispute.evidence_due_at
    assert clock.now() < dispute.evidence_due_at


def test_amounts_are_in_the_currency_of_the_charge(shop):
    """A balance in another currency tells shares of what is disputed."""
    payment_id = shop.pay(shop.card())
    open_dispute(shop, payment_id)
    events = events_of(shop, DISPUTE + "funds_withdrawn")
    [taken] = events[0]["data"]["object"]["balance_transactions"]
    # A fee that was countered comes back with a movement, or by itself.
    back = {**taken, "id": "txn_back", "amount": 50, "fee": -1500}
    taken |= {"currency": "usd", "amount": -200}
    back |= {"currency": "usd"}
    events[0]["data"]["object"]["balance_transactions"] = [taken, back]
    deliver(shop, events)
    [dispute] = disputes_of(shop)
    assert (dispute.amount_withdrawn, dispute.amount_reinstated) == (100, Decimal(25))
    assert balance(shop, Account.DISPUTES) == 75
    assert fees_of(shop) == [(Decimal(15), "USD"), (Decimal(-15), "USD")]
    assert broken(shop) == []
