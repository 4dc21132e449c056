"""What web and tasks do alike with invoices: each issued once, told to browsers and to people."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.invoices import Invoice, InvoiceStatus, finalise
from models.notifications import owe_notice
from models.outbox import enqueue
from models.timeline import Cause
from models.transactions import CancelReason, Transaction, oversized_intents
from worker.events import announce, announce_invoice


def issue(session: Session, invoice: Invoice, because: Cause) -> None:
    """Issue a locked draft; the company's browsers and its people hear of it after the commit.

    The company's row is locked from here on: nothing else is to be locked after it.

    Raises:
        IllegalMove: it is no draft.
    """
    finalise(session, invoice, because=because)
    tell_issued(session, invoice)


def tell_issued(session: Session, invoice: Invoice) -> None:
    """Let the company's browsers, systems and people hear of an invoice that was issued."""
    announce(
        session,
        "invoice.created",
        invoice,
        invoice_id=invoice.id,
        number=invoice.number,
        amount=invoice.amount,
        currency=invoice.currency,
        status=str(invoice.status),
        created_at=invoice.created_at,
    )
    if invoice.status == InvoiceStatus.PAID:
        announce_invoice(session, "invoice.paid", invoice)
    owe_notice(
        session,
        "invoice_issued",
        invoice,
        invoice_number=invoice.number,
        amount=f"{invoice.amount:.2f}",
        currency=invoice.currency,
        due_on=invoice.due_on.isoformat() if invoice.due_on else None,
    )


def receipt(session: Session, payment: Transaction, *, paid_at: datetime) -> None:
    """Tell the company of a payment that was made, whoever moved the money."""
    owe_notice(
        session,
        "payment_succeeded",
        payment,
        invoice_id=str(payment.invoice_id),
        amount=f"{payment.amount_captured:.2f}",
        currency=payment.currency,
        paid_at=paid_at.isoformat(),
    )


def close_oversized(session: Session, invoice: Invoice) -> None:
    """Have closed what was declined before and asks for more than is due of a locked invoice.

    An old tab could pay it as well.
    """
    for payment_id in session.scalars(select(Transaction.id).where(oversized_intents(invoice))):
        reason = str(CancelReason.NOT_DUE)
        enqueue(session, "payments.cancel", transaction_id=payment_id, reason=reason)
