"""What became of a call that was not answered: when to look, and when to leave it to a person.

Whatever is handed over has one open alert; it is settled by hand (`tasks.reviews`), or by an event
that tells after all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy.orm import Session

from models.alerts import Severity
from models.clock import now
from models.refunds import Refund
from models.timeline import Cause, note
from models.transactions import Status, Transaction
from worker.alerts import alert
from worker.app import Later
from worker.gateways.base import Unavailable
from worker.settings import settings

KIND = "needs_review"
# Neither found at the provider nor to be sent again.
EXPIRED = "key_expired"
# The provider does not know our key, or does not let it do this.
OUR_ACCESS = (401, 403)
# Look-ups come after 1 min, 5 min, and then ever slower.
GROWTH = 5
LONGEST = timedelta(hours=1)


def look_up_after(look_ups: int) -> timedelta:
    """Return how long to wait for the next look-up, after so many."""
    # Bounded: after a day the power would pass what a timedelta holds.
    times: int = GROWTH ** min(look_ups, 10)
    return min(timedelta(seconds=settings().resolve_after_s * times), LONGEST)


@contextmanager
def patiently() -> Iterator[None]:
    """Put a look-up off for as long as its provider is away: nothing is lost, and none fails."""
    try:
        yield
    except Unavailable as error:
        raise Later(str(error), after_s=look_up_after(1).total_seconds()) from None


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
