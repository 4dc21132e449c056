"""What is told late of an intent that we closed ourselves ends no payment that goes on."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

from models import bank_transfers, clock, invoices
from models.money import Money
from models.outbox import enqueue
from models.timeline import Cause
from models.transactions import CancelReason, Dunning, Status, lock_existing
from tasks import ladder
from tests.bell import ring
from tests.tasks.provider_events import deliver, events_of
from worker.database import PUBLISH, in_transaction
from worker.gateways import gateway_for

SOFT = "pm_card_chargeCustomerFail"
CANCELED = "payment_intent.canceled"
BECAUSE = Cause(why="a test")


def transfer(shop, invoice_id: UUID, amount: str) -> UUID:
    with shop.session() as session:
        invoice = invoices.lock(session, invoice_id)
        money = Money(Decimal(amount), invoice.currency)
        day = date(2026, 11, 20)
        return bank_transfers.record(
            session, invoice, money, reference=amount, received_on=day, because=BECAUSE
        ).id


def reverse(shop, transfer_id: UUID) -> None:
    with shop.session() as session:
        transferred = lock_existing(session, transfer_id)
        invoices.lock(session, transferred.invoice_id)
        bank_transfers.reverse(session, transferred, because=BECAUSE)


def owe_the_closing(shop, payment_id: UUID) -> UUID:
    reason = str(CancelReason.NOT_DUE)
    with shop.session() as session:
        return enqueue(session, "payments.cancel", transaction_id=payment_id, reason=reason).id


def climbing(shop, payment_id: UUID) -> bool:
    payment = shop.payment(payment_id)
    return (payment.status, payment.dunning) == (Status.FAILED, Dunning.SCHEDULED)


def failures_told(shop) -> int:
    told = [event for row in shop.owed(PUBLISH) for event in row.arguments["events"]]
    return sum(event["type"] == "payment.failed" for event in told)


def test_it_is_heard_after_the_transfer_that_it_was_closed_for_was_undone(shop):
    payment_id = shop.pay(shop.card(SOFT))
    transfer_id = transfer(shop, shop.payment(payment_id).invoice_id, "30")
    owe_the_closing(shop, payment_id)
    shop.work()
    assert climbing(shop, payment_id)
    reverse(shop, transfer_id)
    deliver(shop, events_of(shop, CANCELED))
    assert climbing(shop, payment_id)


def test_it_is_heard_between_the_ladders_step_and_its_charge(shop):
    payment_id = shop.pay(shop.card(SOFT))
    transfer(shop, shop.payment(payment_id).invoice_id, "30")
    owe_the_closing(shop, payment_id)
    shop.work()
    due_at = shop.payment(payment_id).next_retry_at
    shop.advance(seconds=(due_at - clock.now()).total_seconds())
    assert in_transaction(ladder.climb, shop.company_id, payment_id)
    deliver(shop, events_of(shop, CANCELED), works=False)
    assert shop.payment(payment_id).status == Status.PROCESSING
    shop.work()
    assert climbing(shop, payment_id)
    assert (len(shop.attempts(payment_id)), shop.payment(payment_id).amount) == (2, 70)


def test_it_is_faster_than_the_answer_and_the_decline_stays_what_is_told(shop, monkeypatch):
    payment_id = shop.pay(shop.card(SOFT))
    code = shop.payment(payment_id).error_code
    transfer(shop, shop.payment(payment_id).invoice_id, "100")
    owed_id = owe_the_closing(shop, payment_id)
    gateway = gateway_for("stripe")
    cancel = gateway.cancel

    def overtaken(**asked):
        canceled = cancel(**asked)
        deliver(shop, events_of(shop, CANCELED), works=False)
        return canceled

    monkeypatch.setattr(gateway, "cancel", overtaken)
    before = failures_told(shop)
    ring("payments.cancel", owed_id)
    payment = shop.payment(payment_id)
    assert (payment.status, payment.error_code) == (Status.CANCELED, code)
    assert failures_told(shop) == before
