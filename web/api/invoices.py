"""Invoices: drafted or issued at once, read, listed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, Literal
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import search
from models.invoices import (
    Invoice,
    InvoiceStatus,
    discard,
    draft,
    lines_of,
    lock,
    rewrite,
)
from models.money import InvalidAmount
from models.tenants import Company, Permission
from models.timeline import note
from web.api.companies import Address
from web.api.lines import MOST_LINES, LineAnswer, NewLine, lines_of_body, shown_line
from web.auth import allowed, caller
from web.idempotency import Made, idempotent
from web.lists import answer_page, of_statuses
from web.problems import Problem, invalid
from web.routes import PDF, Input, Routes, respond, respond_pdf
from web.schemas import WRITTEN, Amount, Currency, Day, Moment, PageQuery, Search, cause
from worker import billing, pdf
from worker.database import transaction
from worker.events import announce_invoice

PREFIX = "/api/v1/invoices"
routes = Routes("invoices", __name__, url_prefix=PREFIX)


class NewInvoice(Input):
    """An invoice to be issued at once, or a draft. Its amount is the sum of its lines."""

    currency: Currency | None = Field(None, description="The company's currency if left out.")
    due_on: Day | None = None
    memo: str | None = Field(None, max_length=2000, pattern=WRITTEN)
    lines: list[NewLine] = Field(min_length=1, max_length=MOST_LINES)
    draft: bool = Field(
        default=False,
        strict=True,
        description="It may be changed and deleted until it is finalized.",
    )


class DraftChange(Input):
    """What a draft is to have instead; what is left out stays as it is."""

    due_on: Day | None = None
    memo: str | None = Field(None, max_length=2000, pattern=WRITTEN)
    lines: list[NewLine] = Field([], max_length=MOST_LINES)


class InvoicePath(Input):
    """Which invoice."""

    invoice_id: UUID


class InvoiceQuery(PageQuery):
    """Which invoices."""

    search: Search | None = Field(
        None,
        description="The invoice's number or its id, or how it begins. "
        "Of other text nothing is found.",
    )
    status: list[InvoiceStatus] = Field([], description="Any of these.")
    currency: Currency | None = None


class BilledTo(BaseModel):
    """A company as it was when a document was issued, and who issued it."""

    name: str
    address: Address | None
    tax_id: str | None
    language: str
    time_zone: str
    issuer: str


class InvoiceSummary(BaseModel):
    """An invoice without its lines."""

    id: UUID
    number: str | None
    status: InvoiceStatus
    subtotal: Amount
    discount_amount: Amount
    tax_amount: Amount
    amount: Amount
    amount_paid: Amount
    amount_credited: Amount
    amount_due: Amount
    currency: str
    due_on: date | None
    issued_at: Moment | None
    paid_at: Moment | None
    subscription_id: UUID | None
    period_start: Moment | None
    period_end: Moment | None
    memo: str | None
    created_at: Moment
    updated_at: Moment


class InvoiceAnswer(InvoiceSummary):
    """An invoice with its lines, and the company as it was when it was issued."""

    billed_to: BilledTo | None
    lines: list[LineAnswer]


class DeletedAnswer(BaseModel):
    """A draft that is no more."""

    id: UUID
    deleted: Literal[True]


class InvoicesAnswer(BaseModel):
    """A page of invoices, newest first."""

    data: list[InvoiceSummary]
    next_cursor: str | None


@routes.post("", responses={201: InvoiceAnswer})
@allowed(Permission.INVOICES_WRITE)
@idempotent()
def create_invoice(session: Session, body: NewInvoice) -> Made:
    """Issue an invoice: numbered, final and open for payment; or make a draft.

    One whose discounts leave nothing to pay is paid at once.
    """
    company_id = caller().company_id
    currency = body.currency or session.get_one(Company, company_id).currency
    lines = lines_of_body(body.lines, currency)
    with _adding_up():
        invoice = draft(
            session, company_id, currency=currency, lines=lines, due_on=body.due_on, memo=body.memo
        )
    _check(invoice)
    if body.draft:
        note(session, invoice, what="begun", because=cause("drafted"))
        announce_invoice(session, "invoice.updated", invoice)
    else:
        billing.issue(session, invoice, cause("asked for"))
    return Made(with_lines(session, invoice), location=f"{PREFIX}/{invoice.id}")


@routes.patch("/<uuid:invoice_id>", responses={200: InvoiceAnswer})
@allowed(Permission.INVOICES_WRITE)
@idempotent()
def change_invoice(session: Session, path: InvoicePath, body: DraftChange) -> Made:
    """Change a draft. One that is issued never changes: void it, or issue a credit note."""
    invoice = locked_draft(session, path.invoice_id)
    if "due_on" in body.model_fields_set:
        invoice.due_on = body.due_on
    if "memo" in body.model_fields_set:
        invoice.memo = body.memo
    if "lines" in body.model_fields_set:
        if not body.lines:
            raise invalid("lines", "must not be empty")
        with _adding_up():
            rewrite(session, invoice, lines_of_body(body.lines, invoice.currency))
        _check(invoice)
    note(session, invoice, what="change", because=cause("the draft was changed"))
    announce_invoice(session, "invoice.updated", invoice)
    session.flush()
    return Made(with_lines(session, invoice), status=200)


@routes.delete("/<uuid:invoice_id>", responses={200: DeletedAnswer})
@allowed(Permission.INVOICES_WRITE)
@idempotent()
def delete_invoice(session: Session, path: InvoicePath) -> Made:
    """Delete a draft. One that is issued stays, as its number does."""
    invoice = locked_draft(session, path.invoice_id)
    note(session, invoice, what="deletion", because=cause("the draft was deleted"))
    announce_invoice(session, "invoice.updated", invoice)
    discard(session, invoice)
    return Made({"id": path.invoice_id, "deleted": True}, status=200)


@contextmanager
def _adding_up() -> Iterator[None]:
    try:
        yield
    except InvalidAmount as error:
        raise invalid("lines", str(error)) from None


def _check(invoice: Invoice) -> None:
    if not invoice.subtotal:
        raise invalid("lines", "must add up to more than zero")


def locked_draft(session: Session, invoice_id: UUID) -> Invoice:
    """Return a draft that the caller may change, locked.

    What a subscription bills is no company's own to change.
    """
    invoice = lock(session, invoice_id)
    if invoice is None:
        raise Problem("not-found", "No such invoice.")
    if invoice.status != InvoiceStatus.DRAFT:
        raise Problem("conflict", f"The invoice is {invoice.status}: only a draft can be changed.")
    if invoice.subscription_id and Permission.OPERATIONS not in caller().permissions:
        raise Problem("forbidden", "Only an operator changes what a subscription bills.")
    return invoice


@routes.get("/<uuid:invoice_id>", responses={200: InvoiceAnswer})
@allowed(Permission.INVOICES_READ)
def read_invoice(path: InvoicePath) -> Response:
    """Return an invoice with its lines."""
    with transaction(company_id=caller().company_id) as session:
        invoice = session.get(Invoice, path.invoice_id)
        if invoice is None:
            raise Problem("not-found", "No such invoice.")
        return respond(with_lines(session, invoice))


@routes.get("/<uuid:invoice_id>/pdf", responses={200: PDF})
@allowed(Permission.INVOICES_READ)
def read_invoice_pdf(path: InvoicePath) -> Response:
    """Return an issued invoice as PDF, in the company's language: the same bytes each time."""
    with transaction(company_id=caller().company_id) as session:
        invoice = session.get(Invoice, path.invoice_id)
        if invoice is None:
            raise Problem("not-found", "No such invoice.")
        if invoice.status == InvoiceStatus.DRAFT:
            raise Problem("conflict", "A draft has no PDF: finalize it first.")
        return respond_pdf(pdf.of_invoice(session, invoice), f"{invoice.number}.pdf")


@routes.get("", responses={200: InvoicesAnswer})
@allowed(Permission.INVOICES_READ)
def list_invoices(query: InvoiceQuery) -> Response:
    """List invoices, newest first."""
    company_id = caller().company_id
    wanted = select(Invoice)
    if query.currency is not None:
        wanted = wanted.where(Invoice.currency == query.currency)
    if query.search is not None:
        wanted = search.of_invoices(wanted, query.search, company_id=company_id)
    wanted, any_of = of_statuses(
        wanted, Invoice.status, query.status, is_searched=query.search is not None
    )
    return answer_page(Invoice, wanted, query, _shown, company_id=company_id, any_of=any_of)


def _shown(invoice: Invoice) -> dict[str, Any]:
    return {
        "id": invoice.id,
        "number": invoice.number,
        "status": invoice.status,
        "subtotal": invoice.subtotal,
        "discount_amount": invoice.discount_amount,
        "tax_amount": invoice.tax_amount,
        "amount": invoice.amount,
        "amount_paid": invoice.amount_paid,
        "amount_credited": invoice.amount_credited,
        "amount_due": invoice.due.amount,
        "currency": invoice.currency,
        "due_on": invoice.due_on,
        "issued_at": invoice.issued_at,
        "paid_at": invoice.paid_at,
        "subscription_id": invoice.subscription_id,
        "period_start": invoice.period_start,
        "period_end": invoice.period_end,
        "memo": invoice.memo,
        "created_at": invoice.created_at,
        "updated_at": invoice.updated_at,
    }


def with_lines(session: Session, invoice: Invoice) -> dict[str, Any]:
    """Return an invoice with its lines, as it is answered."""
    lines = lines_of(session, [invoice.id])[invoice.id]
    return {
        **_shown(invoice),
        "billed_to": invoice.billed_to,
        "lines": list(map(shown_line, lines)),
    }
