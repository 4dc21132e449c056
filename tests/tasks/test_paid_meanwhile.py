"""An invoice that is paid in an old tab after another payment of it was begun, before it is sent.

The other is closed before a charge only while it is declined: once it is paid and heard of, nothing
may be charged at all.
"""

from __future__ import annotations

from uuid import UUID

import pytest

from models.invoices import Invoice, InvoiceStatus
from models.outbox import enqueue
from models.transactions import AttemptStatus, Status
from tasks import payments
from tests.bell import ring

CANCEL = "/v1/payment_intents/*/cancel"


@pytest.fixture
def declined(shop) -> UUID:
    return shop.pay(shop.card("pm_card_chargeCustomerFail"))


def again(shop, declined: UUID, amount: str = "100.00") -> UUID:
    """Owe another payment of the same invoice, with a card that is good."""
    return shop.owe(shop.card(), shop.payment(declined).invoice_id, amount)


def is_paid_in_the_old_tab(shop, declined: UUID) -> None:
    """Pay the declined intent, and hear of it; nothing else is done."""
    shop.confirm_in_old_tab(declined, "pm_card_visa")
    with shop.session() as session:
        owed = enqueue(
            session,
            "lookups.refresh",
            transaction_id=declined,
            intent_id=shop.payment(declined).provider_transaction_id,
            why="an event",
        )
    ring(owed.task, owed.id)
    assert shop.payment(declined).status == Status.SUCCEEDED


def run(shop, task: str) -> None:
    for row in shop.owed(task):
        ring(row.task, row.id)


def stands(shop, payment_id: UUID) -> tuple:
    payment = shop.payment(payment_id)
    with shop.session() as session:
        invoice = session.get_one(Invoice, payment.invoice_id)
    return payment.status, payment.error_code, shop.charges(payment_id), invoice.status


GAVE_WAY = (Status.FAILED, "earlier_payment_succeeded", 0, InvoiceStatus.PAID)


def test_a_payment_that_waits_to_be_sent_is_not_sent_any_more(shop, declined):
    payment_id = again(shop, declined)
    is_paid_in_the_old_tab(shop, declined)
    shop.work()
    assert stands(shop, payment_id) == GAVE_WAY
    assert shop.attempts(payment_id) == []


def test_a_payment_that_was_not_executed_is_not_sent_again(shop, declined):
    payment_id = again(shop, declined)
    shop.sandbox.control.fault("rate_limit", path=CANCEL, count=3)
    run(shop, "payments.charge")
    shop.sandbox.control.clear_faults()
    [attempt] = shop.attempts(payment_id)
    assert attempt.status == AttemptStatus.WAITING
    is_paid_in_the_old_tab(shop, declined)
    run(shop, "payments.charge")
    assert stands(shop, payment_id) == GAVE_WAY
    assert shop.attempts(payment_id)[0].status == AttemptStatus.REJECTED


def test_a_payment_whose_caller_died_is_looked_up_and_not_sent_again(shop, declined, monkeypatch):
    payment_id = again(shop, declined)

    def die(point: str) -> None:
        if point == "charge.claimed":
            raise RuntimeError(point)

    with monkeypatch.context() as patched:
        patched.setattr(payments.crash, "point", die)
        run(shop, "payments.charge")
    is_paid_in_the_old_tab(shop, declined)
    shop.advance(minutes=2)
    run(shop, "payments.charge")
    run(shop, "lookups.resolve")
    [attempt] = shop.attempts(payment_id)
    # A refusal is heard twice, with a look in between: the call may be on its way.
    assert attempt.status == AttemptStatus.UNKNOWN
    run(shop, "lookups.resolve")
    assert stands(shop, payment_id) == GAVE_WAY


def test_a_payment_of_more_than_is_due_by_now_is_not_sent(shop):
    invoice_id = shop.invoice()
    declined = shop.pay(shop.card("pm_card_chargeCustomerFail"), invoice_id, "60.00")
    payment_id = again(shop, declined)
    is_paid_in_the_old_tab(shop, declined)
    shop.work()
    status, code, charges, invoice = stands(shop, payment_id)
    assert (status, code, charges) == GAVE_WAY[:3]
    assert invoice is InvoiceStatus.OPEN
    rest = shop.pay(shop.card(), invoice_id, "40.00")
    assert stands(shop, rest) == (Status.SUCCEEDED, None, 1, InvoiceStatus.PAID)
