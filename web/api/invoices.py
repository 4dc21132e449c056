"""Invoices: made final at once, read, listed."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from flask import Response
from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import search
from models.ids import new_id
from models.invoices import (
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    bill,
    line_amount,
    lines_of,
    next_number,
)
from models.money import LARGEST, InvalidAmount, amount_of
from models.tenants import Company, Permission
from models.timeline import note
from web.auth import allowed, caller
from web.idempotency import Made, idempotent
from web.lists import answer_page, of_statuses
from web.problems import Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import (
    WRITTEN,
    Amount,
    Currency,
    Day,
    Exact,
    Moment,
    PageQuery,
    Search,
    cause,
)
from worker.database import transaction
from worker.events import announce

routes = Routes("invoices", __name__, url_prefix="/api/v1/invoices")

MAX_QUANTITY = Decimal("99999999999.9999")
_QUANTITY_STEP = Decimal("0.0001")


def _quantity(value: Decimal) -> Decimal:
    if not value.is_finite() or not 0 < value <= MAX_QUANTITY:
        raise ValueError(f"must be above zero and at most {MAX_QUANTITY}")
    if value != value.quantize(_QUANTITY_STEP):
        raise ValueError("has more than 4 decimals")
    return value


Quantity = Annotated[
    Exact,
    AfterValidator(_quantity),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0.0001, "maximum": float(MAX_QUANTITY)},
                {"type": "string", "pattern": r"^[0-9]{1,11}(\.[0-9]{1,4})?$"},
            ],
            "description": "As a number or a string; exact, with up to 4 decimals.",
        }
    ),
]


class NewLine(Input):
    """One line: so many of something at so much each."""

    description: str = Field(min_length=1, max_length=500, pattern=WRITTEN)
    quantity: Quantity
    unit_amount: Exact


class NewInvoice(Input):
    """An invoice to be issued. Its amount is the sum of its lines."""

    currency: Currency | None = Field(None, description="The company's currency if left out.")
    due_on: Day | None = None
    memo: str | None = Field(None, max_length=2000, pattern=WRITTEN)
    lines: list[NewLine] = Field(min_length=1, max_length=200)


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


class LineAnswer(BaseModel):
    """One line of an invoice."""

    description: str
    quantity: Amount
    unit_amount: Amount
    amount: Amount


class InvoiceSummary(BaseModel):
    """An invoice without its lines."""

    id: UUID
    number: str
    status: InvoiceStatus
    amount: Amount
    amount_paid: Amount
    amount_due: Amount
    currency: str
    due_on: date | None
    paid_at: Moment | None
    memo: str | None
    created_at: Moment
    updated_at: Moment


class InvoiceAnswer(InvoiceSummary):
    """An invoice with its lines."""

    lines: list[LineAnswer]


class InvoicesAnswer(BaseModel):
    """A page of invoices, newest first."""

    data: list[InvoiceSummary]
    next_cursor: str | None


@routes.post("", responses={201: InvoiceAnswer})
@allowed(Permission.INVOICES_WRITE)
@idempotent()
def create_invoice(session: Session, body: NewInvoice) -> Made:
    """Issue an invoice: numbered, final and open for payment."""
    company_id = caller().company_id
    currency = body.currency or session.get_one(Company, company_id).currency
    invoice_id = new_id()
    lines = [
        _line(invoice_id, position, line, currency) for position, line in enumerate(body.lines)
    ]
    total = sum((line.amount for line in lines), Decimal(0))
    if not 0 < total <= LARGEST:
        raise invalid("lines", f"must add up to more than zero and at most {LARGEST}")
    invoice = Invoice(
        id=invoice_id,
        company_id=company_id,
        number=next_number(session, company_id),
        status=InvoiceStatus.OPEN,
        amount=total,
        amount_paid=Decimal("0.00"),
        currency=currency,
        due_on=body.due_on,
        memo=body.memo,
    )
    session.add(invoice)
    session.flush()
    session.add_all(lines)
    _make_known(session, invoice)
    session.flush()
    return Made(_with_lines(invoice, lines), location=f"{routes.url_prefix}/{invoice.id}")


@routes.get("/<uuid:invoice_id>", responses={200: InvoiceAnswer})
@allowed(Permission.INVOICES_READ)
def read_invoice(path: InvoicePath) -> Response:
    """Return an invoice with its lines."""
    with transaction(company_id=caller().company_id) as session:
        invoice = session.get(Invoice, path.invoice_id)
        if invoice is None:
            raise Problem("not-found", "No such invoice.")
        return respond(_with_lines(invoice, lines_of(session, [invoice.id])[invoice.id]))


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


def _line(invoice_id: UUID, position: int, line: NewLine, currency: str) -> InvoiceLine:
    try:
        unit_amount = amount_of(line.unit_amount, currency)
    except InvalidAmount as error:
        raise invalid(f"lines.{position}.unit_amount", str(error)) from None
    amount = line_amount(line.quantity, unit_amount, currency)
    if amount > LARGEST:
        raise invalid(f"lines.{position}", f"comes to more than {LARGEST}")
    return InvoiceLine(
        company_id=caller().company_id,
        invoice_id=invoice_id,
        position=position + 1,
        description=line.description,
        quantity=line.quantity.quantize(_QUANTITY_STEP),
        unit_amount=unit_amount,
        amount=amount,
    )


def _make_known(session: Session, invoice: Invoice) -> None:
    """Put a new invoice into the ledger and its timeline, and tell the company's browsers."""
    bill(session, invoice)
    note(session, invoice, what="issued", because=cause(f"issued as {invoice.number}"))
    announce(
        session,
        "invoice.created",
        invoice,
        invoice_id=invoice.id,
        number=invoice.number,
        amount=invoice.amount,
        currency=invoice.currency,
        status=str(invoice.status),
    )


def _shown(invoice: Invoice) -> dict[str, Any]:
    return {
        "id": invoice.id,
        "number": invoice.number,
        "status": invoice.status,
        "amount": invoice.amount,
        "amount_paid": invoice.amount_paid,
        "amount_due": invoice.due.amount,
        "currency": invoice.currency,
        "due_on": invoice.due_on,
        "paid_at": invoice.paid_at,
        "memo": invoice.memo,
        "created_at": invoice.created_at,
        "updated_at": invoice.updated_at,
    }


def _with_lines(invoice: Invoice, lines: list[InvoiceLine]) -> dict[str, Any]:
    shown = [
        {
            "description": line.description,
            "quantity": line.quantity,
            "unit_amount": line.unit_amount,
            "amount": line.amount,
        }
        for line in lines
    ]
    return {**_shown(invoice), "lines": shown}
