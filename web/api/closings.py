"""What ends an invoice's way by hand: issued from a draft, void, or given up as uncollectible."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from models import dunning
from models.customer_credit import CreditIsUsed
from models.invoices import Invoice, InvoiceStatus, lock, void, write_off
from models.tenants import Permission
from web.api.invoices import PREFIX, InvoiceAnswer, InvoicePath, locked_draft, with_lines
from web.api.payments import refuse_second
from web.auth import allowed
from web.idempotency import Made, idempotent
from web.problems import Problem
from web.routes import Routes
from web.schemas import cause
from worker import billing
from worker.events import announce_invoice

routes = Routes("closings", __name__, url_prefix=PREFIX)


@routes.post("/<uuid:invoice_id>/finalize", responses={200: InvoiceAnswer})
@allowed(Permission.INVOICES_WRITE)
@idempotent()
def finalize_invoice(session: Session, path: InvoicePath) -> Made:
    """Issue a draft: it has its number now, and can be paid. Nothing of it changes any more."""
    invoice = locked_draft(session, path.invoice_id)
    billing.issue(session, invoice, cause("asked for"))
    return Made(with_lines(session, invoice), status=200)


@routes.post("/<uuid:invoice_id>/void", responses={200: InvoiceAnswer})
@allowed(Permission.OPERATIONS)
@idempotent()
def void_invoice(session: Session, path: InvoicePath) -> Made:
    """Take an invoice back of which nothing was paid: it was a mistake. Its number stays taken.

    The company's credit that it used comes back, also if that covered all of it. 409 while a
    payment of it is under way; once any of it was paid: then refund that; and if it gave the
    company a credit that was used since.
    """
    invoice = unpaid(session, path.invoice_id, "void", is_free_too=True)
    if invoice.amount_paid:
        raise Problem("conflict", "Some of it was paid: refund that, or issue a credit note.")
    try:
        void(session, invoice, because=cause("void: it was a mistake"))
    except CreditIsUsed as error:
        raise Problem("conflict", str(error)) from None
    billing.close_oversized(session, invoice)
    announce_invoice(session, "invoice.updated", invoice)
    session.flush()
    return Made(with_lines(session, invoice), status=200)


@routes.post("/<uuid:invoice_id>/mark-uncollectible", responses={200: InvoiceAnswer})
@allowed(Permission.OPERATIONS)
@idempotent()
def mark_uncollectible(session: Session, path: InvoicePath) -> Made:
    """Give up an open invoice: what is due of it is a bad debt. A bank transfer may still pay it.

    409 while a payment of it is under way.
    """
    invoice = unpaid(session, path.invoice_id, "given up")
    if invoice.status != InvoiceStatus.OPEN:
        raise Problem("conflict", f"The invoice is {invoice.status}.")
    write_off(session, invoice, because=cause("given up: nobody believes it will be paid"))
    announce_invoice(session, "invoice.updated", invoice)
    session.flush()
    return Made(with_lines(session, invoice), status=200)


def unpaid(session: Session, invoice_id: UUID, why: str, *, is_free_too: bool = False) -> Invoice:
    """Return a locked invoice that may still be paid, with nothing of it under way or scheduled.

    Args:
        why: what is about to be done, for the timeline of payments that are tried no more.
        is_free_too: also one of which nothing was to be paid.
    """
    if session.get(Invoice, invoice_id) is None:
        raise Problem("not-found", "No such invoice.")
    # Payments are locked before their invoices.
    dunning.clear_schedules(session, invoice_id, because=cause(f"the invoice is {why}"))
    invoice = lock(session, invoice_id)
    if invoice is None:
        raise Problem("not-found", "No such invoice.")
    is_free = is_free_too and invoice.status == InvoiceStatus.PAID and not invoice.amount
    if invoice.status not in (InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE) and not is_free:
        raise Problem("conflict", f"The invoice is {invoice.status}.")
    refuse_second(session, invoice.id)
    return invoice
