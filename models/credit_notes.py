"""Credit notes: what of an issued invoice is billed no more.

One is issued for each refund, in the transaction in which it succeeds, and by hand for what is
still due. Numbers have no gaps a company, as invoices' have none.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import customer_credit, ledger, locks
from models.base import CURRENCY, Changing, CompanyOwned
from models.clock import now
from models.invoices import Invoice, InvoiceStatus, lines_of, lower, snapshot
from models.ledger import Account
from models.money import InvalidAmount, Money
from models.notifications import owe_notice
from models.tenants import Company
from models.timeline import Cause, note
from models.totals import ZERO, LineKind, Rate, credited_taxes
from models.tracking import track


class CreditNote(CompanyOwned, Changing):
    """One credit note. `amount` has the taxes in it; `lines` are as they are shown, in text.

    It never changes, but for `reversed_at`: the refund that it was for has come back.
    """

    __tablename__ = "credit_notes"
    __table_args__ = (
        UniqueConstraint("company_id", "number"),
        UniqueConstraint("refund_id"),
        Index("idx_credit_notes_company_id", "company_id"),
        Index("idx_credit_notes_invoice_id", "invoice_id"),
    )

    number: Mapped[str] = mapped_column(String(40))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"))
    refund_id: Mapped[UUID | None] = mapped_column(ForeignKey("refunds.id"))
    amount: Mapped[Decimal]
    tax_amount: Mapped[Decimal]
    currency: Mapped[str] = mapped_column(CURRENCY)
    reason: Mapped[str] = mapped_column(String(500))
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    billed_to: Mapped[dict[str, Any]] = mapped_column(JSON)
    issued_at: Mapped[datetime]
    reversed_at: Mapped[datetime | None]

    @property
    def money(self) -> Money:
        """Return what it is for."""
        return Money(self.amount, self.currency)


def credit_due(
    session: Session, invoice: Invoice, money: Money, *, reason: str, because: Cause
) -> CreditNote:
    """Issue a note for what is due of a locked open invoice; it is due no more.

    If all of the invoice is credited so, the credit of the company that it used comes back.

    The company's row is locked from here on: nothing else is to be locked after it.

    Raises:
        InvalidAmount: it is not open, or less than that is due.
    """
    if invoice.status != InvoiceStatus.OPEN:
        raise InvalidAmount(f"is for an invoice that is {invoice.status}")
    if not 0 < money.amount <= invoice.due.amount:
        raise InvalidAmount(f"must be above zero and at most the {invoice.due} that is due")
    is_whole = invoice.amount_credited + money.amount == invoice.amount
    returned = customer_credit.used_by(session, invoice) if is_whole else ZERO
    made = _issue(session, invoice, money, reason=reason, returned=returned)
    _post(session, made, "credit_note:{}", Account.REVENUE, Account.RECEIVABLE)
    lower(session, invoice, money, because=because.but(f"{made.number}: {reason}"))
    if is_whole:
        customer_credit.give_back(session, invoice)
    session.flush()
    return made


def credit_refund(
    session: Session,
    invoice: Invoice,
    refund_id: UUID,
    money: Money,
    *,
    given_back: Decimal,
    because: Cause,
) -> CreditNote | None:
    """Issue the note for a refund of a payment of a locked invoice; None if it needs none.

    What came too much, or for an invoice that is void, was never billed: it goes back without one.

    Args:
        given_back: all that went back of the invoice's payments, with this.
    """
    if invoice.status == InvoiceStatus.VOID:
        return None
    before = [each for each in notes_of(session, invoice.id) if each.reversed_at is None]
    noted = sum((each.amount for each in before if each.refund_id is not None), ZERO)
    too_much = max(-invoice.due.amount, ZERO)
    billed = min(given_back - too_much, invoice.amount - invoice.amount_credited)
    amount = min(billed - noted, money.amount)
    if amount <= 0:
        return None
    money = Money(amount, money.currency)
    reason = f"refund of {money}"
    made = _issue(session, invoice, money, reason=reason, refund_id=refund_id)
    _post(session, made, "credit_note:{}", Account.REVENUE, Account.REFUNDS)
    note(session, invoice, what="credit", because=because.but(f"{made.number}: {reason}"))
    return made


def take_back(session: Session, invoice: Invoice, refund_id: UUID, *, because: Cause) -> None:
    """Reverse the note for a refund that the bank has sent back; its number stays taken."""
    made = session.scalar(select(CreditNote).where(CreditNote.refund_id == refund_id))
    if made is None:
        return
    made.reversed_at = now()
    _post(session, made, "credit_note-reversed:{}", Account.REFUNDS, Account.REVENUE)
    told = f"{made.number} is taken back: its refund has failed"
    note(session, invoice, what="credit_reversal", because=because.but(told))


def notes_of(session: Session, invoice_id: UUID) -> list[CreditNote]:
    """Return the notes of an invoice, oldest first."""
    session.flush()  # events are acted upon without autoflush
    query = select(CreditNote).where(CreditNote.invoice_id == invoice_id)
    return list(session.scalars(query.order_by(CreditNote.id)))


def _issue(
    session: Session,
    invoice: Invoice,
    money: Money,
    *,
    reason: str,
    refund_id: UUID | None = None,
    returned: Decimal = ZERO,
) -> CreditNote:
    """Issue a note.

    Args:
        returned: the company's credit that the invoice used and that comes back with this.
    """
    taxes = _taxes(session, invoice, money.amount + returned)
    tax_amount = sum(taxes.values(), ZERO)
    made = CreditNote(
        company_id=invoice.company_id,
        number=next_number(session, invoice.company_id),
        invoice_id=invoice.id,
        refund_id=refund_id,
        amount=money.amount,
        tax_amount=tax_amount,
        currency=money.currency,
        reason=reason,
        lines=_lines(reason, money.amount, taxes, returned),
        billed_to=snapshot(session, invoice.company_id),
        issued_at=now(),
    )
    session.add(made)
    session.flush()
    track(session, "credit_note.issued", made, money=money)
    owe_notice(
        session,
        "credit_note_issued",
        made,
        credit_note_number=made.number,
        invoice_number=invoice.number,
        amount=f"{made.amount:.2f}",
        currency=made.currency,
    )
    return made


def _lines(
    reason: str, amount: Decimal, taxes: dict[Rate, Decimal], returned: Decimal
) -> list[dict[str, Any]]:
    total = amount + returned
    shown = [
        {
            "description": reason,
            "amount": f"{total - sum(taxes.values(), ZERO):.2f}",
            "taxes": [
                {"name": name, "percent": percent, "amount": f"{tax:.2f}"}
                for (name, percent), tax in taxes.items()
            ],
            "total": f"{total:.2f}",
        }
    ]
    if returned:
        told, back = "Credit from an earlier invoice", f"{-returned:.2f}"
        shown.append({"description": told, "amount": back, "taxes": [], "total": back})
    return shown


def _taxes(session: Session, invoice: Invoice, amount: Decimal) -> dict[Rate, Decimal]:
    """Return what of each of the invoice's taxes is in a note's amount.

    It is shared by what the invoice came to before credit of the company, which has no tax.
    """
    before = [each for each in notes_of(session, invoice.id) if each.reversed_at is None]
    credited = sum((each.amount for each in before), amount)
    told: dict[Rate, Decimal] = {}
    whole = ZERO
    for line in lines_of(session, [invoice.id])[invoice.id]:
        _add(told, line.taxes)
        whole += line.total if line.kind != LineKind.CREDIT else ZERO
    already: dict[Rate, Decimal] = {}
    for each in before:
        for shown in each.lines:
            _add(already, shown["taxes"])
    return credited_taxes(told, already, credited, whole, invoice.currency)


def _add(sums: dict[Rate, Decimal], taxes: list[dict[str, str]]) -> None:
    for tax in taxes:
        rate = (tax["name"], tax["percent"])
        sums[rate] = sums.get(rate, ZERO) + Decimal(tax["amount"])


def _post(
    session: Session, made: CreditNote, posting: str, debit: Account, credited: Account
) -> None:
    # Without the transaction: what stands under it tells of money that moved.
    ledger.post(
        session,
        posting.format(made.id),
        company_id=made.company_id,
        debit=debit,
        credit=credited,
        money=made.money,
        invoice_id=made.invoice_id,
    )


def next_number(session: Session, company_id: UUID) -> str:
    """Take the company's next number, without gaps: the row stays locked to the commit."""
    company = locks.lock_existing(session, Company, company_id)
    company.last_credit_note_number += 1
    return f"CN-{company.last_credit_note_number:06d}"
