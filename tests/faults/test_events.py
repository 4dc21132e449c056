"""Events that come many times at once, in any order, too early, or while something is wrong."""

from __future__ import annotations

import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import func, select, text

from models.base import across_companies
from models.ids import new_id
from models.ledger import LedgerEntry
from models.refunds import Refund
from models.timeline import Timeline
from models.transactions import SETTLED, AttemptStatus, Provider, Status, Transaction
from models.webhooks import PaymentWebhook, WebhookStatus
from sandbox.stripe.control import Control
from tests.faults.till import owed
from tests.invariants import judge

pytestmark = pytest.mark.xdist_group("tests/faults")
NEVER = 1_000_000
ACTED_ON = ("payment_intent.", "charge.refunded", "charge.refund.", "refund.")


@pytest.fixture
def held(system, till):
    """No event goes out by itself; a test sends each when it wants."""
    system.stripe.webhooks(drop=NEVER)
    yield system.stripe
    system.stripe.webhooks(drop=0)


def events_of(stripe, payment_id) -> list[dict]:
    """The events about one payment that somebody acts on, oldest first."""
    book = stripe.book()
    intents = {
        intent["id"]
        for intent in book["payment_intents"]
        if intent["metadata"].get("transaction_id") == str(payment_id)
    }
    found = []
    for event in book["events"]:
        about = event["data"]["object"]
        named = {about["id"], about.get("payment_intent")}
        if event["type"].startswith(ACTED_ON) and not intents.isdisjoint(named):
            found.append(event)
    return found


def intent_of(stripe, payment_id) -> dict:
    return next(
        intent
        for intent in stripe.book()["payment_intents"]
        if intent["metadata"].get("transaction_id") == str(payment_id)
    )


def pay_slowly(system, till) -> UUID:
    """A payment that the provider is still at work on, and has told us so."""
    payment_id = till.pay(method_id=till.attach("pm_sandbox_processing"))
    system.wait_until(
        lambda: any(a.status == AttemptStatus.PROCESSING for a in till.attempts(payment_id))
    )
    return payment_id


def row_of(system, event_id) -> PaymentWebhook | None:
    with system.session() as session:
        return session.scalars(
            select(PaymentWebhook).where(PaymentWebhook.provider_event_id == event_id)
        ).one_or_none()


def is_handled(system, event_id) -> bool:
    row = row_of(system, event_id)
    return row is not None and row.status in (WebhookStatus.COMPLETED, WebhookStatus.IGNORED)


def count(system, column, *where) -> int:
    with system.session() as session:
        query = select(func.count()).select_from(column).where(*where)
        return session.scalar(across_companies(query, because="a test counts"))


def test_an_event_that_comes_20_times_at_once_has_one_effect(system, till, held):
    payment_id = pay_slowly(system, till)
    held.settle(intent_of(held, payment_id)["id"])
    event = events_of(held, payment_id)[-1]
    assert event["type"] == "payment_intent.succeeded"

    assert held.resend(event["id"], times=20) == [200] * 20

    till.wait_for(payment_id, "succeeded")
    judge(system)
    assert held.resend(event["id"], times=20) == [200] * 20
    judge(system)
    assert count(system, PaymentWebhook, PaymentWebhook.provider_event_id == event["id"]) == 1
    assert count(system, LedgerEntry, LedgerEntry.transaction_id == payment_id) == 2
    stream = system.redis.xrange(f"events:{till.company_id}")
    paid = [m for _, m in stream if '"payment.succeeded"' in m["message"]]
    assert len(paid) == 1


# Enough of the 40,320 orders of eight events that each two of them come both ways round.
ORDERS = 16


def live_through_all(till, stripe, payment_id) -> None:
    """Have the customer fail, then pay, then get a part back, with no event told of it."""
    intent = intent_of(stripe, payment_id)
    stripe.authenticate(intent["id"], is_success=False)
    stripe.confirm_in_browser(intent["client_secret"], payment_method="pm_sandbox_processing")
    stripe.settle(intent["id"])
    refund = stripe.refund(payment_intent=intent["id"], amount=4000, status="pending")
    stripe.move_refund(refund["id"], "succeeded")


def test_events_in_every_order_end_in_the_same_state_and_none_goes_back(system, till, held):
    method_id = till.attach("pm_card_authenticationRequired")
    payments = [till.pay(method_id=method_id) for _ in range(ORDERS)]
    for payment_id in payments:
        till.wait_for(payment_id, "requires_action")
        live_through_all(till, held, payment_id)
    orders = {}
    for number, payment_id in enumerate(payments):
        events = events_of(held, payment_id)
        assert {e["type"] for e in events} >= {
            "payment_intent.created",
            "payment_intent.requires_action",
            "payment_intent.payment_failed",
            "payment_intent.processing",
            "payment_intent.succeeded",
            "charge.refunded",
            "refund.created",
            "refund.updated",
        }
        random.Random(number).shuffle(events)
        orders[payment_id] = [e["id"] for e in (events[::-1] if number == 0 else events)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda ids: send_one_by_one(system, ids), orders.values()))

    judge(system)
    for payment_id in payments:
        payment = till.payment(payment_id)
        found = (payment.status, payment.amount_captured, payment.amount_refunded)
        assert found == (Status.PARTIALLY_REFUNDED, 100, 40), till.told(payment_id)
    assert count(system, Refund, Refund.transaction_id.in_(payments)) == ORDERS
    assert not moves_out_of_settled(system, payments)


def send_one_by_one(system, event_ids) -> None:
    control = Control(system.stripe_url)
    for event_id in event_ids:
        assert control.resend(event_id) == [200]
        system.wait_until(lambda event_id=event_id: is_handled(system, event_id))


def moves_out_of_settled(system, payments) -> list[tuple]:
    with system.session() as session:
        query = select(Timeline.subject_id, Timeline.was, Timeline.became).where(
            Timeline.subject_id.in_(payments), Timeline.what == "move"
        )
        moves = session.execute(across_companies(query, because="a test reads moves")).all()
    return [move for move in moves if move.was in SETTLED and move.became not in SETTLED]


def test_a_refund_that_fails_before_its_payment_is_known_settles_nothing(system, till, held):
    payment_id = pay_slowly(system, till)
    intent = intent_of(held, payment_id)
    held.settle(intent["id"])
    refund = held.refund(payment_intent=intent["id"], amount=4000)
    held.move_refund(refund["id"], "failed")
    by_type = defaultdict(list)
    for event in events_of(held, payment_id):
        by_type[event["type"]].append(event["id"])
    send_one_by_one(system, by_type["refund.created"] + by_type["refund.failed"])
    assert till.payment(payment_id).status == Status.PROCESSING
    send_one_by_one(system, by_type["payment_intent.succeeded"])
    assert till.payment(payment_id).status == Status.SUCCEEDED
    judge(system)


def test_an_event_that_comes_before_our_row_is_handled_in_the_end(system, till, held):
    invoice_id, payment_id = till.invoice(), new_id()
    intent = charge_behind_our_back(system, till, payment_id)
    [event] = [e for e in held.book()["events"] if e["data"]["object"]["id"] == intent["id"]][-1:]
    assert event["type"] == "payment_intent.succeeded"
    held.resend(event["id"])
    system.wait_until(lambda: row_of(system, event["id"]).retry_count)
    assert row_of(system, event["id"]).status == WebhookStatus.RECEIVED

    with system.session(till.company_id) as session:
        session.add(
            Transaction(
                id=payment_id,
                company_id=till.company_id,
                invoice_id=invoice_id,
                amount=Decimal(100),
                payment_method=Provider.STRIPE,
                status=Status.PROCESSING,
            )
        )
    till.wait_for(payment_id, "succeeded")
    judge(system)


def charge_behind_our_back(system, till, payment_id: UUID) -> dict:
    """Charge as a worker would, by a call of the test's own."""
    import stripe

    client = stripe.StripeClient("sk_test_sandbox", base_addresses={"api": system.stripe_url})
    metadata = {"transaction_id": str(payment_id), "company_id": str(till.company_id)}
    intent = client.v1.payment_intents.create(
        {
            "amount": 10000,
            "currency": "inr",
            "payment_method": "pm_card_visa",
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "metadata": metadata,
        }
    )
    return intent.to_dict()


def test_a_handler_that_fails_the_first_time_handles_the_event_later(system, till, held):
    payment_id = pay_slowly(system, till)
    system.wait_until(lambda: not owed(system))
    held.settle(intent_of(held, payment_id)["id"])
    event_id = events_of(held, payment_id)[-1]["id"]
    with system.engine.begin() as connection:
        connection.execute(text("RENAME TABLE ledger_entries TO ledger_entries_gone"))
    try:
        held.resend(event_id)
        system.wait_until(lambda: (row := row_of(system, event_id)) and row.retry_count)
        failed = row_of(system, event_id)
        assert failed.status == WebhookStatus.RECEIVED
        assert "ledger_entries" in failed.error_message
        assert till.payment(payment_id).status == Status.PROCESSING
    finally:
        with system.engine.begin() as connection:
            connection.execute(text("RENAME TABLE ledger_entries_gone TO ledger_entries"))
    till.wait_for(payment_id, "succeeded")
    judge(system)
    assert row_of(system, event_id).error_message is None


def test_a_handler_whose_connection_is_lost_handles_the_event_later(system, till, held):
    payment_id = pay_slowly(system, till)
    system.wait_until(lambda: not owed(system))
    held.settle(intent_of(held, payment_id)["id"])
    event_id = events_of(held, payment_id)[-1]["id"]
    with system.session(till.company_id) as session:
        session.get_one(Transaction, payment_id, with_for_update=True)
        held.resend(event_id)
        system.wait_until(lambda: waiting_for_a_lock(system))
        with system.engine.begin() as connection:
            for number in waiting_for_a_lock(system):
                connection.execute(text(f"KILL {number}"))
    till.wait_for(payment_id, "succeeded")
    judge(system)
    assert row_of(system, event_id).retry_count == 0


def waiting_for_a_lock(system) -> list[int]:
    """The connections to our database that wait for the lock of a transaction's row."""
    with system.engine.connect() as connection:
        return list(
            connection.scalars(
                text(
                    "SELECT id FROM information_schema.processlist WHERE db = DATABASE()"
                    " AND info LIKE 'SELECT transactions%FOR UPDATE%'"
                )
            )
        )
