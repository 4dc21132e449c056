"""Handing over to a person: what neither our rows nor the provider can tell.

Whatever is handed over has one open alert; it is settled by hand (`tasks.reviews`), or by an event
that tells after all.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from models.alerts import Severity
from models.clock import now
from models.refunds import Refund
from models.timeline import Cause, note
from models.transactions import Status, Transaction
from worker.alerts import alert

KIND = "needs_review"


def hand_over(session: Session, payment: Transaction, *, because: Cause) -> bool:
    """Leave a locked payment to a person; False if it is beyond that."""
    if not payment.move_if_allowed(Status.NEEDS_REVIEW, because=because):
        return False
    tell(session, payment, because.why)
    return True


def hand_over_refund(session: Session, refund: Refund, *, because: Cause) -> None:
    """Leave a locked refund to a person, and have no task try it any more."""
    if refund.review_since is None:
        refund.review_since = now()
        note(session, refund, what="review", because=because)
    tell(session, refund, because.why)


def tell(session: Session, row: Transaction | Refund, why: str) -> None:
    """Raise the alert of a row that needs review, unless it is open already."""
    noun = "payment" if isinstance(row, Transaction) else "refund"
    alert(
        session,
        KIND,
        severity=Severity.CRITICAL,
        subject=row,
        message=f"The {noun} {row.id} needs review: {why}. Look at the provider what became of it, "
        "and settle it by hand.",
    )
