"""The janitor, rung by beat: what nobody has in hand is owed again, what was abandoned is closed.

It finds loose ends (models.loose_ends) and owes the task for each.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import loose_ends
from models.clock import now
from models.dunning import DECLINE_IN_REVIEW
from models.loose_ends import (
    ABANDONED,
    AT_WORK,
    LOOSE_ENDS,
    REFUND_AT_WORK,
    UNSEEN,
    Found,
    LooseEnd,
    Review,
)
from models.outbox import enqueue
from models.refunds import Refund
from models.timeline import Cause, note
from models.transactions import Transaction
from tasks.handover import KIND, hand_over_refund, tell
from worker.alerts import resolve
from worker.app import periodic
from worker.breaker import PROVIDERS
from worker.database import in_transaction
from worker.gateways import is_set_up
from worker.settings import settings
from worker.tally import tally

log = logging.getLogger(__name__)

# How often the provider is asked of what it is at work on.
ASK_EVERY = timedelta(hours=1)
# Banks take up to ten working days to give money back.
REFUND_PATIENCE = timedelta(days=14)
SWEPT = Cause(why="found by the janitor")


def _ended_unseen(session: Session) -> Sequence[Review]:
    not_set_up = [each for each in PROVIDERS if not is_set_up(each)]
    return loose_ends.ended_unseen(session, not_set_up=not_set_up)


_ENDED = (
    (KIND, loose_ends.ended_reviews),
    (DECLINE_IN_REVIEW, loose_ends.ended_declines),
    (UNSEEN, _ended_unseen),
)


@periodic("janitor.sweep")
def sweep() -> None:
    """Tie up loose ends. Safe in any number of copies: each row is looked at again when locked."""
    for end in LOOSE_ENDS:
        before = _before(end, now())
        for found in in_transaction(loose_ends.find, None, end, before=before):
            in_transaction(_tie_up, found.company_id, end, found, before)
    for review in in_transaction(loose_ends.untold_reviews, None):
        in_transaction(_tell_review, review.company_id, review)
    for kind, ended in _ENDED:
        for review in in_transaction(ended, None):
            in_transaction(_end_review, review.company_id, kind, review)


def _before(end: LooseEnd, moment: datetime) -> datetime:
    if end is ABANDONED:
        return moment - timedelta(seconds=settings().abandon_after_s)
    return moment - ASK_EVERY if end in (AT_WORK, REFUND_AT_WORK) else moment


def _tie_up(session: Session, end: LooseEnd, found: Found, before: datetime) -> None:
    row = _locked(session, end, found.id)
    if row is None or not loose_ends.is_loose(session, end, found, before=before):
        return  # somebody has it in hand now
    arguments: dict[str, Any] = {end.argument: found.about}
    if end is AT_WORK and isinstance(row, Transaction):
        arguments |= {"intent_id": row.provider_transaction_id, "why": "it is still at work"}
    enqueue(session, end.task, **arguments)
    if end in (AT_WORK, REFUND_AT_WORK):
        row.looked_up_at = now()
        _doubt(session, row)
        return
    note(session, row, what="swept", because=SWEPT.but(end.name), detail={"task": end.task})
    if end is not ABANDONED:
        # Each debt ends with its effect, so this tells of a fault of ours.
        log.warning("%s: %s, owed again as %s", end.name, row.id, end.task)
    tally(session, "janitor.swept", task=end.task)


def _locked(session: Session, end: LooseEnd, row_id: UUID) -> Transaction | Refund | None:
    """Return the row, locked until the commit; None while somebody else holds it."""
    if end.is_of_refunds:
        refunds = select(Refund).where(Refund.id == row_id)
        return session.scalars(refunds.with_for_update(skip_locked=True)).one_or_none()
    payments = select(Transaction).where(Transaction.id == row_id)
    return session.scalars(payments.with_for_update(skip_locked=True)).one_or_none()


def _doubt(session: Session, row: Transaction | Refund) -> None:
    """Have a person look at a refund that takes for ever; the provider goes on being asked."""
    if isinstance(row, Refund) and row.review_since is None:
        began = row.first_called_at or row.created_at
        if began <= now() - REFUND_PATIENCE:
            why = f"the provider is at work on it for {REFUND_PATIENCE.days} days"
            hand_over_refund(session, row, because=SWEPT.but(why))


def _tell_review(session: Session, review: Review) -> None:
    """Raise the alert of what came to need a review some other way."""
    is_refund = review.noun == "refund"
    row: Transaction | Refund | None = (
        session.get(Refund, review.id) if is_refund else session.get(Transaction, review.id)
    )
    if row is not None:
        tell(session, row, row.error_message or "its state could not be told")


def _end_review(session: Session, kind: str, review: Review) -> None:
    resolve(session, f"{kind}:{review.id}", why=f"The {review.noun} needs no review any more.")
