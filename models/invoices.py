"""Invoices and their lines."""

from __future__ import annotations

from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    DECIMAL,
    JSON,
    Date,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import ledger, locks
from models.base import CURRENCY, CompanyOwned, words
from models.clock import now
from models.ledger import Account
from models.money import Money, decimals
from models.states import Moving
from models.tenants import Company
from models.timeline import Cause, note


class InvoiceStatus(StrEnum):
    """Where an invoice stands."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


class Invoice(Moving):
    """What a company owes. `amount` is the total of its lines."""

    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("company_id", "number"),
        Index("idx_invoices_company_status", "company_id", "status"),
        Index("idx_invoices_created_at", "created_at"),
        Index("idx_invoices_company_id", "company_id"),
    )

    MOVES = {  # noqa: RUF012  data, read by the docs and the tests
        InvoiceStatus.DRAFT: frozenset({InvoiceStatus.OPEN, InvoiceStatus.VOID}),
        InvoiceStatus.OPEN: frozenset(
            {InvoiceStatus.PAID, InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE}
        ),
        InvoiceStatus.UNCOLLECTIBLE: frozenset({InvoiceStatus.PAID, InvoiceStatus.VOID}),
        # Only when a payment that was recorded by mistake is taken back.
        InvoiceStatus.PAID: frozenset({InvoiceStatus.OPEN}),
        InvoiceStatus.VOID: frozenset(),
    }

    number: Mapped[str] = mapped_column(String(40))
    status: Mapped[InvoiceStatus] = mapped_column(words(InvoiceStatus), default=InvoiceStatus.DRAFT)
    amount: Mapped[Decimal]
    amount_paid: Mapped[Decimal] = mapped_column(default=Decimal(0))
    currency: Mapped[str] = mapped_column(CURRENCY, default="INR")
    due_on: Mapped[date | None] = mapped_column(Date)
    paid_at: Mapped[datetime | None]
    memo: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSON)

    @property
    def due(self) -> Money:
        """Return what is still to be paid."""
        return Money(self.amount - self.amount_paid, self.currency)


class InvoiceLine(CompanyOwned):
    """One line: `amount` is quantity times unit amount, in the invoice's currency."""

    __tablename__ = "invoice_lines"
    __table_args__ = (
        UniqueConstraint("invoice_id", "position"),
        Index("idx_invoice_lines_company_id", "company_id"),
    )

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"))
    position: Mapped[int] = mapped_column(Integer)
    description: Mapped[str] = mapped_column(String(500))
    quantity: Mapped[Decimal] = mapped_column(DECIMAL(15, 4))
    unit_amount: Mapped[Decimal]
    amount: Mapped[Decimal]


def next_number(session: Session, company_id: UUID) -> str:
    """Take the company's next invoice number, without gaps: the row stays locked to the commit."""
    company = session.scalars(
        select(Company).where(Company.id == company_id).with_for_update()
    ).one()
    company.last_invoice_number += 1
    return f"INV-{company.last_invoice_number:06d}"


def bill(session: Session, invoice: Invoice) -> None:
    """Enter an issued invoice into the ledger: the company owes it from now on."""
    ledger.post(
        session,
        f"invoice:{invoice.id}",
        company_id=invoice.company_id,
        debit=Account.RECEIVABLE,
        credit=Account.REVENUE,
        money=Money(invoice.amount, invoice.currency),
        invoice_id=invoice.id,
    )


def credit(session: Session, invoice: Invoice, money: Money, *, because: Cause) -> bool:
    """Count a payment that came for a locked invoice; return whether that paid it."""
    invoice.amount_paid += money.amount
    is_paid = invoice.amount_paid >= invoice.amount and invoice.can_move_to(InvoiceStatus.PAID)
    if is_paid:
        invoice.move_to(InvoiceStatus.PAID, because=because.but("paid in full"))
        invoice.paid_at = now()
    else:
        note(session, invoice, what="payment", because=because.but(f"paid {money}"))
    return is_paid


def reopen(session: Session, invoice: Invoice, money: Money, *, because: Cause) -> None:
    """Take a payment of a locked invoice back that never was; what it paid is due again."""
    invoice.amount_paid -= money.amount
    if invoice.status == InvoiceStatus.PAID and invoice.amount_paid < invoice.amount:
        invoice.move_to(InvoiceStatus.OPEN, because=because.but(f"{money} was never paid"))
        invoice.paid_at = None
    else:
        note(session, invoice, what="reversal", because=because.but(f"{money} was never paid"))


def lines_of(session: Session, invoice_ids: list[UUID]) -> dict[UUID, list[InvoiceLine]]:
    """Return the lines of these invoices, in order, in one query."""
    found: dict[UUID, list[InvoiceLine]] = {invoice_id: [] for invoice_id in invoice_ids}
    for line in session.scalars(
        select(InvoiceLine)
        .where(InvoiceLine.invoice_id.in_(invoice_ids))
        .order_by(InvoiceLine.position)
    ):
        found[line.invoice_id].append(line)
    return found


def lock(session: Session, invoice_id: UUID) -> Invoice | None:
    """Return the company's invoice, locked until the commit."""
    return locks.lock(session, Invoice, invoice_id)


def line_amount(quantity: Decimal, unit_amount: Decimal, currency: str) -> Decimal:
    """Return what a line costs, rounded half-even to the currency's decimals, with two places."""
    with localcontext() as context:
        # Both factors whole: the product of 15 by 15 digits is more than the usual 28.
        context.prec = 40
        exact = quantity * unit_amount
        places = Decimal(1).scaleb(-decimals(currency))
        return exact.quantize(places, ROUND_HALF_EVEN).quantize(Decimal("0.01"))
