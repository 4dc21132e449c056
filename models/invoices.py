"""Invoices: drafted, issued under a number, paid, and ended without being paid."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
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
    delete,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import customer_credit, ledger, locks
from models.base import CURRENCY, CompanyOwned, words
from models.clock import now
from models.following import owe_follow
from models.ids import new_id
from models.invoice_events import track_invoice
from models.ledger import Account
from models.money import Money
from models.states import IllegalMove, Moving
from models.tenants import Company, Tenant
from models.timeline import Cause, note
from models.totals import Line, LineKind, Priced, Tax, Totals, add_up, price

# What makes an invoice is named here as well: whoever bills something needs no other module.
__all__ = ["Line", "LineKind", "Tax"]


class InvoiceStatus(StrEnum):
    """Where an invoice stands."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


class Invoice(Moving):
    """What a company owes: `amount` is the subtotal less discounts plus taxes, line by line.

    A draft has no number and stands in no ledger; it may be changed and deleted.
    """

    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("company_id", "number"),
        Index("idx_invoices_company_status", "company_id", "status"),
        # What a sum over a company's bills reads, and nothing beside.
        Index("idx_invoices_billed", "company_id", "status", "currency", "amount"),
        Index("idx_invoices_created_at", "created_at"),
        Index("idx_invoices_company_id", "company_id"),
        Index("idx_invoices_subscription_id", "subscription_id"),
    )

    MOVES = {  # noqa: RUF012  data, read by the docs and the tests
        InvoiceStatus.DRAFT: frozenset({InvoiceStatus.OPEN}),
        InvoiceStatus.OPEN: frozenset(
            {InvoiceStatus.PAID, InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE}
        ),
        InvoiceStatus.UNCOLLECTIBLE: frozenset({InvoiceStatus.PAID, InvoiceStatus.VOID}),
        # When a payment that was recorded by mistake is taken back, or nothing was to be paid.
        InvoiceStatus.PAID: frozenset({InvoiceStatus.OPEN, InvoiceStatus.VOID}),
        InvoiceStatus.VOID: frozenset(),
    }

    number: Mapped[str | None] = mapped_column(String(40))
    status: Mapped[InvoiceStatus] = mapped_column(words(InvoiceStatus), default=InvoiceStatus.DRAFT)
    subtotal: Mapped[Decimal] = mapped_column(default=Decimal(0))
    discount_amount: Mapped[Decimal] = mapped_column(default=Decimal(0))
    tax_amount: Mapped[Decimal] = mapped_column(default=Decimal(0))
    amount: Mapped[Decimal]
    amount_paid: Mapped[Decimal] = mapped_column(default=Decimal(0))
    # By credit notes for what was not paid yet; those for refunds lower nothing that is due.
    amount_credited: Mapped[Decimal] = mapped_column(default=Decimal(0))
    currency: Mapped[str] = mapped_column(CURRENCY, default="INR")
    due_on: Mapped[date | None] = mapped_column(Date)
    issued_at: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]
    subscription_id: Mapped[UUID | None]
    period_start: Mapped[datetime | None]
    period_end: Mapped[datetime | None]
    # The company as it was when this was issued: see `snapshot`.
    billed_to: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    memo: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSON)

    @property
    def due(self) -> Money:
        """Return what is still to be paid."""
        return Money(self.amount - self.amount_paid - self.amount_credited, self.currency)


class InvoiceLine(CompanyOwned):
    """One line, in the invoice's currency: `amount` is quantity times unit amount.

    `total` is that less the discount plus the taxes, each `{name, percent, amount}` as text.
    """

    __tablename__ = "invoice_lines"
    __table_args__ = (
        UniqueConstraint("invoice_id", "position"),
        Index("idx_invoice_lines_company_id", "company_id"),
    )

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"))
    position: Mapped[int] = mapped_column(Integer)
    description: Mapped[str] = mapped_column(String(500))
    quantity: Mapped[Decimal] = mapped_column(DECIMAL(23, 4))  # any sum of use
    # What is billed by use may cost less than the smallest coin.
    unit_amount: Mapped[Decimal] = mapped_column(DECIMAL(19, 6))
    amount: Mapped[Decimal]
    kind: Mapped[LineKind] = mapped_column(words(LineKind), default=LineKind.ITEM)
    discount_amount: Mapped[Decimal] = mapped_column(default=Decimal(0))
    taxes: Mapped[list[dict[str, str]]] = mapped_column(JSON, default=list)
    tax_amount: Mapped[Decimal] = mapped_column(default=Decimal(0))
    total: Mapped[Decimal]
    module_id: Mapped[UUID | None]
    period_start: Mapped[datetime | None]
    period_end: Mapped[datetime | None]


def draft(  # noqa: PLR0913  what an invoice is made of
    session: Session,
    company_id: UUID,
    *,
    currency: str,
    lines: Sequence[Line],
    due_on: date | None = None,
    memo: str | None = None,
    subscription_id: UUID | None = None,
    period: tuple[datetime, datetime] | None = None,
    invoice_id: UUID | None = None,
) -> Invoice:
    """Make an invoice that is not issued yet.

    Raises:
        InvalidAmount: the lines come to less than nothing, or more than a row can hold.
    """
    start, end = period or (None, None)
    invoice = Invoice(
        id=invoice_id or new_id(),
        company_id=company_id,
        status=InvoiceStatus.DRAFT,
        amount_paid=Decimal("0.00"),
        amount_credited=Decimal("0.00"),
        currency=currency,
        due_on=due_on,
        memo=memo,
        subscription_id=subscription_id,
        period_start=start,
        period_end=end,
    )
    priced = _total(invoice, lines)
    session.add(invoice)
    session.flush()
    _add_lines(session, invoice, lines, priced)
    return invoice


def rewrite(session: Session, invoice: Invoice, lines: Sequence[Line]) -> None:
    """Give a locked draft other lines.

    Raises:
        InvalidAmount: see `draft`; nothing was changed.
    """
    priced = _total(invoice, lines)
    session.execute(delete(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id))
    _add_lines(session, invoice, lines, priced)


def discard(session: Session, invoice: Invoice) -> None:
    """Delete a locked draft."""
    session.execute(delete(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id))
    session.delete(invoice)
    session.flush()


def _total(invoice: Invoice, lines: Sequence[Line]) -> list[Priced]:
    priced = [price(line, invoice.currency) for line in lines]
    totals: Totals = add_up(priced)
    invoice.subtotal, invoice.discount_amount = totals.subtotal, totals.discount_amount
    invoice.tax_amount, invoice.amount = totals.tax_amount, totals.amount
    return priced


def _add_lines(
    session: Session, invoice: Invoice, lines: Sequence[Line], priced: list[Priced]
) -> None:
    for position, (line, figures) in enumerate(zip(lines, priced, strict=True), start=1):
        start, end = line.period or (None, None)
        session.add(
            InvoiceLine(
                company_id=invoice.company_id,
                invoice_id=invoice.id,
                position=position,
                description=line.description,
                quantity=line.quantity.quantize(Decimal("0.0001")),
                unit_amount=line.unit_amount,
                amount=figures.amount,
                kind=LineKind(line.kind),
                discount_amount=figures.discount_amount,
                taxes=[
                    {"name": tax.name, "percent": f"{tax.percent:f}", "amount": f"{amount:.2f}"}
                    for tax, amount in figures.taxes
                ],
                tax_amount=figures.tax_amount,
                total=figures.total,
                module_id=line.module_id,
                period_start=start,
                period_end=end,
            )
        )
    session.flush()


def finalise(session: Session, invoice: Invoice, *, because: Cause) -> None:
    """Issue a locked draft: number, ledger, and the company as it is now. Zero is paid at once.

    The company's row is locked from here on: nothing else is to be locked after it.

    Raises:
        IllegalMove: it is no draft.
    """
    if invoice.status != InvoiceStatus.DRAFT:
        raise IllegalMove(invoice, InvoiceStatus.OPEN)
    invoice.number = next_number(session, invoice.company_id)
    invoice.issued_at = now()
    invoice.billed_to = snapshot(session, invoice.company_id)
    invoice.move_to(InvoiceStatus.OPEN, because=because.but(f"issued as {invoice.number}"))
    bill(session, invoice)
    track_invoice(session, "invoice.issued", invoice)
    if not invoice.amount:
        _settle(session, invoice, because=because.but("nothing is to be paid"))
    session.flush()


def snapshot(session: Session, company_id: UUID) -> dict[str, Any]:
    """Return what a document shows of the company, and who issues it, as both are now."""
    company = session.get_one(Company, company_id)
    return {
        "name": company.name,
        "address": company.address,
        "tax_id": company.tax_id,
        "language": company.language,
        "time_zone": company.time_zone,
        "issuer": session.get_one(Tenant, company.tenant_id).name,
    }


def next_number(session: Session, company_id: UUID) -> str:
    """Take the company's next invoice number, without gaps: the row stays locked to the commit."""
    company = locks.lock_existing(session, Company, company_id)
    company.last_invoice_number += 1
    return f"INV-{company.last_invoice_number:06d}"


def bill(session: Session, invoice: Invoice) -> None:
    """Enter an issued invoice into the ledger: the company owes it from now on."""
    if invoice.amount:
        _post(session, invoice, "invoice:{}", Account.RECEIVABLE, Account.REVENUE, invoice.amount)


def credit(session: Session, invoice: Invoice, money: Money, *, because: Cause) -> bool:
    """Count a payment that came for a locked invoice; return whether that paid it."""
    invoice.amount_paid += money.amount
    is_paid = invoice.due.amount <= 0 and invoice.can_move_to(InvoiceStatus.PAID)
    if is_paid:
        _settle(session, invoice, because=because.but("paid in full"))
    else:
        note(session, invoice, what="payment", because=because.but(f"paid {money}"))
    return is_paid


def lower(session: Session, invoice: Invoice, money: Money, *, because: Cause) -> None:
    """Count a credit note for what is due of a locked invoice; none of it left is as if paid."""
    invoice.amount_credited += money.amount
    if invoice.due.amount <= 0:
        _settle(session, invoice, because=because.but(f"credited {money}: nothing is left"))
    else:
        note(session, invoice, what="credit", because=because.but(f"credited {money}"))


def reopen(session: Session, invoice: Invoice, money: Money, *, because: Cause) -> None:
    """Take a payment of a locked invoice back that never was; what it paid is due again."""
    invoice.amount_paid -= money.amount
    if invoice.status == InvoiceStatus.PAID and invoice.due.amount > 0:
        invoice.move_to(InvoiceStatus.OPEN, because=because.but(f"{money} was never paid"))
        invoice.paid_at = None
        owe_follow(session, invoice.subscription_id)
    else:
        note(session, invoice, what="reversal", because=because.but(f"{money} was never paid"))


def void(session: Session, invoice: Invoice, *, because: Cause) -> None:
    """Take back a locked invoice of which nothing was paid; the credit that it used comes back.

    The caller has looked that no payment of it is under way.

    Raises:
        IllegalMove: some of it was paid or credited whole, or it is a draft.
        CreditIsUsed: it gave a credit that was used already.
    """
    if invoice.amount_paid or (invoice.status == InvoiceStatus.PAID and invoice.amount):
        raise IllegalMove(invoice, InvoiceStatus.VOID)
    customer_credit.refuse_used(session, invoice)
    _recover(session, invoice)
    invoice.move_to(InvoiceStatus.VOID, because=because)
    invoice.paid_at = None
    track_invoice(session, "invoice.voided", invoice)
    owe_follow(session, invoice.subscription_id)
    _post(session, invoice, "void:{}", Account.REVENUE, Account.RECEIVABLE, invoice.due.amount)
    customer_credit.give_back(session, invoice)


def write_off(session: Session, invoice: Invoice, *, because: Cause) -> None:
    """Give up a locked open invoice: what is due of it is a bad debt. It may still be paid.

    The caller has looked that no payment of it is under way.

    Raises:
        IllegalMove: it is not open.
    """
    invoice.move_to(InvoiceStatus.UNCOLLECTIBLE, because=because)
    track_invoice(session, "invoice.uncollectible", invoice)
    owe_follow(session, invoice.subscription_id)
    # It may be paid, reopened and given up again: the version tells the times apart.
    posting, due = f"written-off:{{}}:{invoice.version}", invoice.due.amount
    _post(session, invoice, posting, Account.BAD_DEBT, Account.RECEIVABLE, due)


def _settle(session: Session, invoice: Invoice, *, because: Cause) -> None:
    _recover(session, invoice)
    invoice.move_to(InvoiceStatus.PAID, because=because)
    invoice.paid_at = now()
    track_invoice(session, "invoice.paid", invoice)
    owe_follow(session, invoice.subscription_id)


def _recover(session: Session, invoice: Invoice) -> None:
    """Take back that an uncollectible invoice was written off, before it is paid or void."""
    if invoice.status != InvoiceStatus.UNCOLLECTIBLE:
        return
    amount = ledger.booked(session, invoice.id, Account.BAD_DEBT)
    posting = f"written-off-reversed:{{}}:{invoice.version}"
    _post(session, invoice, posting, Account.RECEIVABLE, Account.BAD_DEBT, amount)


def _post(
    session: Session,
    invoice: Invoice,
    posting: str,
    debit: Account,
    credited: Account,
    amount: Decimal,
) -> None:
    ledger.post(
        session,
        posting.format(invoice.id),
        company_id=invoice.company_id,
        debit=debit,
        credit=credited,
        money=Money(amount, invoice.currency),
        invoice_id=invoice.id,
    )


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
