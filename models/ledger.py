"""The ledger: small, append-only, double-entry. It sums to zero per currency, always.

Debits are positive and credits negative. A posting is two entries under one name; the unique key
on (posting, account) makes a second posting of the same fact impossible. Corrections are
reversals: nothing is changed or deleted.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Index, String, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import CURRENCY, CompanyOwned, across_companies, words
from models.money import Money


class Account(StrEnum):
    """Where money stands."""

    RECEIVABLE = "receivable"  # what the company owes
    REVENUE = "revenue"  # what was billed
    CLEARING = "clearing"  # what the provider holds for us
    REFUNDS = "refunds"  # what was given back
    DISPUTES = "disputes"  # what customers' banks have taken
    BANK = "bank"  # what came by bank transfer
    FEES = "fees"  # what providers keep for a dispute, in the currency of their balance
    BAD_DEBT = "bad_debt"  # what was billed and nobody believes will be paid
    CREDIT = "credit"  # what a company is to be given on its next invoice
    OPENING = "opening"  # what was billed and paid elsewhere, before the book came here


class LedgerEntry(CompanyOwned):
    """One side of a posting."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        UniqueConstraint("posting", "account"),
        Index("idx_ledger_entries_company_id", "company_id", "account", "created_at"),
        Index("idx_ledger_entries_transaction_id", "transaction_id"),
        Index("idx_ledger_entries_invoice_id", "invoice_id"),
    )

    posting: Mapped[str] = mapped_column(String(120))
    account: Mapped[Account] = mapped_column(words(Account))
    amount: Mapped[Decimal]
    currency: Mapped[str] = mapped_column(CURRENCY)
    invoice_id: Mapped[UUID | None]
    transaction_id: Mapped[UUID | None]
    refund_id: Mapped[UUID | None]
    dispute_id: Mapped[UUID | None]


def post(  # noqa: PLR0913  a posting names both its sides and what it is about
    session: Session,
    posting: str,
    *,
    company_id: UUID,
    debit: Account,
    credit: Account,
    money: Money,
    invoice_id: UUID | None = None,
    transaction_id: UUID | None = None,
    refund_id: UUID | None = None,
    dispute_id: UUID | None = None,
) -> None:
    """Post `money` from `credit` to `debit` under the name `posting`, which is used only once."""
    for account, amount in ((debit, money.amount), (credit, -money.amount)):
        session.add(
            LedgerEntry(
                company_id=company_id,
                posting=posting,
                account=account,
                amount=amount,
                currency=money.currency,
                invoice_id=invoice_id,
                transaction_id=transaction_id,
                refund_id=refund_id,
                dispute_id=dispute_id,
            )
        )


def booked(session: Session, invoice_id: UUID, account: Account) -> Decimal:
    """Return what an account has of an invoice; credits are below zero."""
    session.flush()  # events are acted upon without autoflush
    found = session.scalar(
        select(func.sum(LedgerEntry.amount)).where(
            LedgerEntry.invoice_id == invoice_id, LedgerEntry.account == account
        )
    )
    return Decimal(found or 0)


def is_posted(session: Session, posting: str) -> bool:
    """Whether this fact is in the session's company's ledger already."""
    return (
        session.scalar(select(LedgerEntry.id).where(LedgerEntry.posting == posting).limit(1))
        is not None
    )


def sums(session: Session) -> dict[str, Decimal]:
    """Return the sum of all entries per currency over all companies: each must be zero."""
    rows = session.execute(
        across_companies(
            select(LedgerEntry.currency, func.sum(LedgerEntry.amount)).group_by(
                LedgerEntry.currency
            ),
            because="an invariant is of the whole book",
        )
    )
    return {currency: Decimal(total) for currency, total in rows}
