"""What a company has been credited and not used yet: the ledger's account of it, per currency.

An invoice whose lines come to less than nothing gives the rest as a credit; the next ones use it
up. Both are lines of the invoice, so that no invoice is ever below zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import ledger, locks
from models.ledger import Account, LedgerEntry
from models.money import Money
from models.tenants import Company
from models.totals import ZERO, Line, LineKind, price

if TYPE_CHECKING:
    from models.invoices import Invoice


class CreditIsUsed(Exception):
    """A credit cannot be taken back: of what was given, less is left. Both as money."""

    def __init__(self, given: Money, left: Money) -> None:
        super().__init__(f"It gave a credit of {given}, of which {left} is left.")


def balance(session: Session, company_id: UUID, currency: str) -> Decimal:
    """Return what the company has to its credit. Hold its row to go on with the figure."""
    owed = session.scalar(
        select(func.sum(LedgerEntry.amount)).where(
            LedgerEntry.company_id == company_id,
            LedgerEntry.account == Account.CREDIT,
            LedgerEntry.currency == currency,
        )
    )
    return -Decimal(owed or ZERO)


def settled(lines: Sequence[Line], currency: str, available: Decimal) -> tuple[list[Line], Decimal]:
    """Return the lines with one more that gives or uses a credit, and by how much.

    Returns:
        The lines, and what is added to the company's credit; below zero for what is used of it.
    """
    total = sum((price(line, currency).total for line in lines), ZERO)
    added = -total if total < 0 else -min(total, available)
    if not added:
        return list(lines), ZERO
    told = "Credit for the next invoice" if added > 0 else "Credit from an earlier invoice"
    line = Line(description=told, quantity=Decimal(1), unit_amount=added, kind=LineKind.CREDIT)
    return [*lines, line], added


def book(session: Session, invoice: Invoice, added: Decimal) -> None:
    """Enter what an invoice has added to its company's credit, or used of it.

    It is no part of what the invoice has billed: the posting's name tells it from that.
    """
    _post(session, f"customer-credit:{invoice.id}", invoice, added)


def used_by(session: Session, invoice: Invoice) -> Decimal:
    """Return how much of its company's credit an invoice has used; below zero if it gave some."""
    return ledger.booked(session, invoice.id, Account.CREDIT)


def refuse_used(session: Session, invoice: Invoice) -> None:
    """Refuse to take a credit back that a locked invoice gave and others have used by now.

    Raises:
        CreditIsUsed: there is less left.
    """
    given = -used_by(session, invoice)
    if given <= 0:
        return
    locks.lock_existing(session, Company, invoice.company_id)
    left = balance(session, invoice.company_id, invoice.currency)
    if left < given:
        raise CreditIsUsed(Money(given, invoice.currency), Money(left, invoice.currency))


def give_back(session: Session, invoice: Invoice) -> None:
    """Have the credit that a locked invoice used come back: nothing is left of what it billed.

    Once an invoice, by the posting's name; it is void from now on, or credited whole.
    """
    _post(session, f"customer-credit-back:{invoice.id}", invoice, used_by(session, invoice))


def _post(session: Session, posting: str, invoice: Invoice, added: Decimal) -> None:
    if not added:
        return
    sides = (Account.REVENUE, Account.CREDIT)
    debit, credit = sides if added > 0 else sides[::-1]
    ledger.post(
        session,
        posting,
        company_id=invoice.company_id,
        debit=debit,
        credit=credit,
        money=Money(abs(added), invoice.currency),
        invoice_id=invoice.id,
    )
