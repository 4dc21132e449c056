"""Figures of a company that many look at: kept for an hour, and stale with the first write.

What they are summed up from is named here once. A flush that writes such a row has the commit make
all figures of its company stale, whoever wrote it and why: an invoice was created, a payment was
processed, a dispute came. `tasks.events` does so once more before anybody hears of it, for Redis
may have been away at the commit, or the process may have ended right after it.
"""

from __future__ import annotations

from itertools import chain
from uuid import UUID

from sqlalchemy.orm import Session, UOWTransaction

from models.alerts import Alert
from models.base import Base
from models.disputes import Dispute
from models.invoices import Invoice
from models.ledger import LedgerEntry
from models.tenants import Company
from models.transactions import Transaction
from worker.caching import caching, invalidate_after_commit

LIFE_S = 3600
SUMMED = (Invoice, Transaction, Dispute, LedgerEntry, Alert, Company)


def figures_of(company_id: UUID, *words: str) -> str:
    """Return the key of a company's figure; `*` is all of them."""
    return ":".join(("company_metrics", str(company_id), *words))


def series_of(company_id: UUID, *words: str) -> str:
    """Return the key of a company's series of days that are over; stale with each roll-up."""
    return ":".join(("company_series", str(company_id), *words))


def today_of(company_id: UUID, *words: str) -> str:
    """Return the key of what a company's day comes to so far."""
    return ":".join(("company_today", str(company_id), *words))


def outdate(company_ids: set[UUID]) -> None:
    """Make all figures of these companies stale.

    Raises:
        CacheAway: they are stale when their life ends.
    """
    caching().outdate(figures_of(company_id, "*") for company_id in company_ids)


def make_stale(session: Session, _flush: UOWTransaction) -> None:
    """Have the commit make stale what a flush has written to; for SQLAlchemy's `after_flush`."""
    written = chain(session.new, session.dirty, session.deleted)
    owners = {_owner(row) for row in written if isinstance(row, SUMMED)}
    stale = [figures_of(company_id, "*") for company_id in owners if company_id is not None]
    if stale:
        invalidate_after_commit(session, *stale)


def _owner(row: Base) -> UUID | None:
    company_id: UUID | None = row.id if isinstance(row, Company) else row.company_id  # type: ignore[attr-defined]
    return company_id
