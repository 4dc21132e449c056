"""Credit notes: issued by hand for what is due, read, listed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import dunning
from models.credit_notes import CreditNote, credit_due
from models.invoices import Invoice, InvoiceStatus, lock
from models.money import InvalidAmount, Money, amount_of
from models.tenants import Permission
from web.api.invoices import BilledTo, InvoicePath
from web.api.lines import TaxAnswer, shown_taxes
from web.api.payments import refuse_second
from web.auth import allowed, caller
from web.idempotency import Made, idempotent
from web.lists import answer_page
from web.problems import Problem, invalid
from web.routes import PDF, Input, Routes, respond, respond_pdf
from web.schemas import ONE_LINE, Amount, Exact, Moment, PageQuery, cause
from worker import billing, pdf
from worker.database import transaction
from worker.events import announce_invoice

routes = Routes("credit_notes", __name__, url_prefix="/api/v1")
PREFIX = "/api/v1/credit-notes"


class NewCreditNote(Input):
    """How much is due no more, taxes and all, and why."""

    amount: Exact
    reason: str = Field(min_length=1, max_length=500, pattern=ONE_LINE)


class CreditNotePath(Input):
    """Which credit note."""

    credit_note_id: UUID


class CreditNoteQuery(PageQuery):
    """Which credit notes."""

    invoice_id: UUID | None = None


class CreditLineAnswer(BaseModel):
    """One line of a credit note: `total` is amount plus taxes."""

    description: str
    amount: Amount
    taxes: list[TaxAnswer]
    total: Amount


class CreditNoteAnswer(BaseModel):
    """A credit note. One whose refund has come back is reversed."""

    id: UUID
    number: str
    invoice_id: UUID
    refund_id: UUID | None
    amount: Amount
    tax_amount: Amount
    currency: str
    reason: str
    lines: list[CreditLineAnswer]
    billed_to: BilledTo
    issued_at: Moment
    reversed_at: Moment | None


class CreditNotesAnswer(BaseModel):
    """A page of credit notes, newest first."""

    data: list[CreditNoteAnswer]
    next_cursor: str | None


@routes.post("/invoices/<uuid:invoice_id>/credit-notes", responses={201: CreditNoteAnswer})
@allowed(Permission.OPERATIONS)
@idempotent()
def create_credit_note(session: Session, path: InvoicePath, body: NewCreditNote) -> Made:
    """Issue a credit note for what is due of an open invoice: that is due no more.

    Of what was paid, a refund issues one by itself. 409 while a payment is under way.
    """
    invoice = _open(session, path.invoice_id, body)
    try:
        money = Money(amount_of(body.amount, invoice.currency), invoice.currency)
        made = credit_due(session, invoice, money, reason=body.reason, because=cause("asked for"))
    except InvalidAmount as error:
        raise invalid("amount", str(error)) from None
    billing.close_oversized(session, invoice)
    is_paid = invoice.status == InvoiceStatus.PAID
    announce_invoice(session, "invoice.paid" if is_paid else "invoice.updated", invoice)
    return Made(_shown(made), location=f"{PREFIX}/{made.id}")


def _open(session: Session, invoice_id: UUID, body: NewCreditNote) -> Invoice:
    """Return a locked open invoice; nothing is scheduled any more if this leaves nothing due."""
    invoice = session.get(Invoice, invoice_id)
    if invoice is not None and body.amount >= invoice.due.amount:
        # Payments are locked before their invoices.
        dunning.clear_schedules(session, invoice_id, because=cause("credited in full"))
    invoice = lock(session, invoice_id)
    if invoice is None:
        raise Problem("not-found", "No such invoice.")
    if invoice.status != InvoiceStatus.OPEN:
        raise Problem("conflict", f"The invoice is {invoice.status}.")
    refuse_second(session, invoice.id)
    return invoice


@routes.get("/credit-notes", responses={200: CreditNotesAnswer})
@allowed(Permission.INVOICES_READ)
def list_credit_notes(query: CreditNoteQuery) -> Response:
    """List credit notes, newest first."""
    wanted = select(CreditNote)
    if query.invoice_id is not None:
        wanted = wanted.where(CreditNote.invoice_id == query.invoice_id)
    return answer_page(CreditNote, wanted, query, _shown, company_id=caller().company_id)


@routes.get("/credit-notes/<uuid:credit_note_id>", responses={200: CreditNoteAnswer})
@allowed(Permission.INVOICES_READ)
def read_credit_note(path: CreditNotePath) -> Response:
    """Return a credit note."""
    with transaction(company_id=caller().company_id) as session:
        return respond(_shown(_at(session, path)))


@routes.get("/credit-notes/<uuid:credit_note_id>/pdf", responses={200: PDF})
@allowed(Permission.INVOICES_READ)
def read_credit_note_pdf(path: CreditNotePath) -> Response:
    """Return a credit note as PDF, in the company's language: the same bytes each time."""
    with transaction(company_id=caller().company_id) as session:
        found = _at(session, path)
        return respond_pdf(pdf.of_credit_note(session, found), f"{found.number}.pdf")


def _at(session: Session, path: CreditNotePath) -> CreditNote:
    found: CreditNote | None = session.get(CreditNote, path.credit_note_id)
    if found is None:
        raise Problem("not-found", "No such credit note.")
    return found


def _shown(made: CreditNote) -> dict[str, Any]:
    return {
        "id": made.id,
        "number": made.number,
        "invoice_id": made.invoice_id,
        "refund_id": made.refund_id,
        "amount": made.amount,
        "tax_amount": made.tax_amount,
        "currency": made.currency,
        "reason": made.reason,
        "lines": [
            {**line, "taxes": shown_taxes(line["taxes"])} for line in map(_exactly, made.lines)
        ],
        "billed_to": made.billed_to,
        "issued_at": made.issued_at,
        "reversed_at": made.reversed_at,
    }


def _exactly(line: dict[str, Any]) -> dict[str, Any]:
    return {**line, "amount": Decimal(line["amount"]), "total": Decimal(line["total"])}
