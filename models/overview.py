"""What a company has due and has paid, and what needs somebody: sums and counts for one look.

Each figure is one query by an index, whoever asks: for one company, or for all of a tenant's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.alerts import Alert, Severity
from models.base import across_companies
from models.disputes import NEEDING_RESPONSE, Dispute
from models.invoices import Invoice, InvoiceStatus
from models.ledger import Account, LedgerEntry
from models.tenants import Company
from models.transactions import Dunning, Status, Transaction

# Days whose sums are told, today's among them.
DAYS = 30
# How many of the coming retries are named.
SOONEST = 5


Query = Select[*tuple[Any, ...]]


@dataclass(frozen=True)
class Scope:
    """Whose rows are looked at: one company's, or those of all of a tenant's companies."""

    tenant_id: UUID
    company_id: UUID | None

    def of(self, query: Query, owner: InstrumentedAttribute[Any]) -> Query:
        """Narrow a query by the column that names the row's company."""
        return _spanning(query.where(self._holds(owner)))

    def named(self, query: Query, owner: InstrumentedAttribute[Any]) -> Query:
        """Narrow a query likewise, with the company's row beside."""
        return _spanning(query.join(Company, Company.id == owner).where(self._holds(owner)))

    def _holds(self, owner: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
        if self.company_id is not None:
            return owner == self.company_id
        # Becomes a join: a company's id is unique.
        return owner.in_(select(Company.id).where(Company.tenant_id == self.tenant_id))


def _spanning(query: Query) -> Query:
    return across_companies(query, because="an operator sees all of the tenant's companies")


@dataclass(frozen=True)
class Sum:
    """So much, of so many."""

    amount: Decimal = Decimal(0)
    number: int = 0


@dataclass
class Currency:
    """What is open of one currency, and what moved by day; days on which nothing did are absent."""

    due: Sum = Sum()
    overdue: Sum = Sum()
    paid: dict[date, Decimal] = field(default_factory=dict)
    refunded: dict[date, Decimal] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiting:
    """How many wait, and the time of the first."""

    number: int
    first_at: datetime | None


def first_day(moment: datetime) -> date:
    """Return the first of the days that are told, in UTC."""
    return moment.date() - timedelta(days=DAYS - 1)


def currencies(session: Session, scope: Scope, *, moment: datetime) -> dict[str, Currency]:
    """Return what is open and what moved, by currency: two queries."""
    found: dict[str, Currency] = {}
    for row in session.execute(_open_invoices(scope, moment.date())):
        found[row.currency] = Currency(Sum(row.due, row.number), Sum(row.late, row.late_number))
    for row in session.execute(_movements(scope, first_day(moment))):
        sums = found.setdefault(row.currency, Currency())
        # What is paid lowers what is owed; a refund is a debit.
        if row.account is Account.RECEIVABLE:
            sums.paid[row.day] = -row.amount
        else:
            sums.refunded[row.day] = row.amount
    return dict(sorted(found.items()))


def _open_invoices(scope: Scope, today: date) -> Query:
    due = Invoice.amount - Invoice.amount_paid - Invoice.amount_credited
    is_late = Invoice.due_on < today
    query = select(
        Invoice.currency,
        func.count().label("number"),
        func.sum(due).label("due"),
        func.count(case((is_late, 1))).label("late_number"),
        func.sum(case((is_late, due), else_=Decimal(0))).label("late"),
    ).where(Invoice.status == InvoiceStatus.OPEN)
    return scope.of(query, Invoice.company_id).group_by(Invoice.currency)


def _movements(scope: Scope, since: date) -> Query:
    """Sum the ledger by day: receivables that a payment moved, and refunds.

    A record that was taken back as a mistake lowers what was paid on that day.
    """
    day = func.date(LedgerEntry.created_at).label("day")
    query = select(
        LedgerEntry.currency,
        LedgerEntry.account,
        day,
        func.sum(LedgerEntry.amount).label("amount"),
    ).where(
        LedgerEntry.account.in_((Account.RECEIVABLE, Account.REFUNDS)),
        LedgerEntry.created_at >= datetime.combine(since, time(), UTC),
        # A bill is no payment's.
        LedgerEntry.transaction_id.is_not(None),
    )
    narrowed = scope.of(query, LedgerEntry.company_id)
    return narrowed.group_by(LedgerEntry.currency, LedgerEntry.account, day)


def payments(session: Session, scope: Scope) -> dict[Status, int]:
    """Return how many payments stand where; each status is there."""
    query = select(Transaction.status, func.count().label("number"))
    rows = session.execute(
        scope.of(query, Transaction.company_id).group_by(Transaction.status)
    ).all()
    return dict.fromkeys(Status, 0) | {row.status: row.number for row in rows}


def retries(session: Session, scope: Scope) -> tuple[int, Sequence[Row[Any]]]:
    """Return how many payments will be charged again by themselves, and the soonest of them.

    Each as `Transaction`, the invoice's `number` and the company's `name`: two queries.
    """
    climbs = and_(
        Transaction.next_retry_at.is_not(None),
        Transaction.status == Status.FAILED,
        Transaction.dunning == Dunning.SCHEDULED,
    )
    number = session.scalar(
        scope.of(select(func.count(Transaction.id)).where(climbs), Transaction.company_id)
    )
    soonest = (
        scope.named(
            select(Transaction, Invoice.number, Company.name)
            .join(Invoice, Invoice.id == Transaction.invoice_id)
            .where(climbs),
            Transaction.company_id,
        )
        .order_by(Transaction.next_retry_at, Transaction.id)
        .limit(SOONEST)
    )
    return number or 0, session.execute(soonest).all()


def disputes(session: Session, scope: Scope) -> Waiting:
    """Return how many disputes need a response, and when the first must be answered."""
    query = select(func.count(Dispute.id), func.min(Dispute.evidence_due_at)).where(
        Dispute.status.in_(NEEDING_RESPONSE)
    )
    number, first_at = session.execute(scope.of(query, Dispute.company_id)).one()
    return Waiting(number, first_at)


def alerts(session: Session, scope: Scope) -> dict[Severity, int]:
    """Return how many alerts of companies are open, by severity; each severity is there."""
    query = select(Alert.severity, func.count().label("number")).where(Alert.resolved_at.is_(None))
    rows = session.execute(scope.of(query, Alert.company_id).group_by(Alert.severity)).all()
    return dict.fromkeys(Severity, 0) | {row.severity: row.number for row in rows}
