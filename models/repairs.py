"""Which breaks are safe to mend: those where only our row is behind what the provider has done.

Each way ends in the handlers that webhooks use, which only ever write our rows. Where we say that
money has moved and the provider does not, where sums differ or money is there twice, a person must
look: nothing may be guessed about money.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.breaks import BreakKind, BreakStatus, ReconciliationBreak, Resolution
from models.outbox import enqueue

PAGE = 200


class Way(StrEnum):
    """What is looked up at the provider and believed."""

    PAYMENT = "payment"
    REFUNDS = "refunds"
    DISPUTE = "dispute"
    CUSTOMER = "customer"


def way_of(row: ReconciliationBreak) -> Way | None:
    """Return how a break may be mended by itself; None where a person must see to it."""
    chosen = _WAYS.get((row.kind, row.subject))
    return chosen if chosen is not None and _SAFE[chosen](row) else None


def is_repairable(row: ReconciliationBreak) -> bool:
    """Whether a break is open, and safe to mend."""
    return row.status == BreakStatus.OPEN and way_of(row) is not None


_WAYS = {
    (BreakKind.STATUS, "charge"): Way.PAYMENT,
    (BreakKind.MISSING_LOCALLY, "charge"): Way.PAYMENT,
    (BreakKind.STATUS, "refund"): Way.REFUNDS,
    (BreakKind.REFUND_MISSING_LOCALLY, "refund"): Way.REFUNDS,
    (BreakKind.DISPUTE, "dispute"): Way.DISPUTE,
    (BreakKind.ORPHAN_CUSTOMER, "customer"): Way.CUSTOMER,
}


def _has_paid_there(row: ReconciliationBreak) -> bool:
    theirs = _side(row.theirs)
    return theirs.get("status") == "succeeded" and bool(intent_of(row))


def _has_payment(row: ReconciliationBreak) -> bool:
    return row.transaction_id is not None and row.theirs is not None


def _is_known_there(row: ReconciliationBreak) -> bool:
    return row.transaction_id is not None or bool(_side(row.theirs).get("intent"))


def _tells_our_id(row: ReconciliationBreak) -> bool:
    theirs = _side(row.theirs)
    return (
        row.ours is None
        and row.company_id is not None
        and theirs.get("status") != "deleted"
        and theirs.get("company_id") == row.company_id.hex
    )


_SAFE = {
    Way.PAYMENT: _has_paid_there,
    Way.REFUNDS: _has_payment,
    Way.DISPUTE: lambda row: row.theirs is not None and _is_known_there(row),
    Way.CUSTOMER: _tells_our_id,
}


def intent_of(row: ReconciliationBreak) -> str:
    """Return the intent or order that a charge was made by; empty if neither side tells."""
    return str(_side(row.theirs).get("intent") or _side(row.ours).get("intent") or "")


def _side(side: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return side or {}


def lock(session: Session, break_id: UUID) -> ReconciliationBreak | None:
    """Return a break, locked until the commit."""
    return session.scalars(
        select(ReconciliationBreak)
        .where(ReconciliationBreak.id == break_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def owe(session: Session, row: ReconciliationBreak) -> None:
    """Owe a try to mend a break."""
    enqueue(session, "repairs.mend", break_id=row.id)


def owe_page(session: Session, run_id: UUID, after: UUID | None) -> UUID | None:
    """Owe a try for the next safe breaks that a run has seen; return where the next page begins."""
    wanted = select(ReconciliationBreak).where(
        ReconciliationBreak.run_id == run_id, ReconciliationBreak.status == BreakStatus.OPEN
    )
    if after is not None:
        wanted = wanted.where(ReconciliationBreak.id > after)
    found = list(session.scalars(wanted.order_by(ReconciliationBreak.id).limit(PAGE)))
    for row in found:
        if way_of(row) is not None:
            owe(session, row)
    return found[-1].id if len(found) == PAGE else None


def mended(row: ReconciliationBreak, *, moment: datetime) -> None:
    """Mark a locked break whose sides agree since a handler has run."""
    row.status, row.resolution, row.resolved_at = (
        BreakStatus.REPAIRED,
        Resolution.REPAIRED,
        moment,
    )
    row.repair_error = None
