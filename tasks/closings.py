"""Declined intents of an invoice that has been paid another way: nobody may pay them any more.

A charge closes them before it is sent. A bank transfer has no charge, so closing them is owed.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus
from models.transactions import Transaction, lock_existing, payable_intents
from tasks import settlement
from worker.app import Debt, calling_task
from worker.database import in_transaction
from worker.gateways import gateway_for
from worker.gateways.base import Intent


@dataclass(frozen=True)
class Payable:
    """An intent that a customer could still pay in an old tab."""

    transaction_id: UUID
    provider: str
    intent_id: str


def _claim(session: Session, debt: Debt, *, invoice_id: str) -> list[Payable] | None:
    invoice = session.get_one(Invoice, UUID(invoice_id))
    payments = session.scalars(select(Transaction).where(payable_intents(invoice.id))).all()
    if invoice.status != InvoiceStatus.PAID or not payments:
        debt.end(session)
        return None
    if any(debt.waits_for(session, payment.payment_method) for payment in payments):
        return None
    return [
        Payable(payment.id, payment.payment_method, payment.provider_transaction_id or "")
        for payment in payments
    ]


@calling_task("lookups.close_declined", claim=_claim)
def close_declined(debt: Debt, payable: list[Payable]) -> None:
    """Cancel what could still be paid. Safe twice: what is canceled or paid is returned as it is.

    A provider that gives no answer fails the task, which comes back.
    """
    closed = [
        # A new key each time: a cancellation may be repeated, a saved 500 would be.
        gateway_for(each.provider).cancel(key=f"close-{new_id()}", provider_id=each.intent_id)
        for each in payable
    ]
    in_transaction(_record, debt.company_id, debt, payable, closed)


def _record(session: Session, debt: Debt, payable: list[Payable], closed: list[Intent]) -> None:
    debt.end(session)
    cause = debt.cause("the invoice is paid another way")
    for each, intent in zip(payable, closed, strict=True):
        payment = lock_existing(session, each.transaction_id)
        attempt = settlement.attempt_behind(payment, intent)
        settlement.apply(session, payment, attempt, intent, cause=cause)
