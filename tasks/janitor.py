"""The janitor: what nobody has in hand is owed again, what was abandoned is closed.

janitor.sweep      beat's ring: finds loose ends (models.loose_ends) and owes the task for each
janitor.abandon    a customer began to pay and left: cancel the intent, so that the invoice is free
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import loose_ends
from models.clock import now
from models.loose_ends import (
    ABANDONED,
    AT_WORK,
    LOOSE_ENDS,
    REFUND_AT_WORK,
    Found,
    LooseEnd,
    Review,
)
from models.outbox import enqueue
from models.refunds import Refund
from models.timeline import Cause, note
from models.transactions import Status, Transaction, lock, lock_existing
from tasks import settlement
from tasks.claims import is_due
from tasks.handover import KIND, hand_over, hand_over_refund, tell
from worker.alerts import resolve
from worker.app import Debt, calling_task, periodic
from worker.database import in_transaction
from worker.events import announce_payment
from worker.gateways import gateway_for
from worker.gateways.base import (
    Gateway,
    GatewayError,
    Intent,
    IntentStatus,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from worker.settings import settings
from worker.tally import tally

log = logging.getLogger(__name__)

# How often the provider is asked of what it is at work on.
ASK_EVERY = timedelta(hours=1)
# Banks take up to ten working days to give money back.
REFUND_PATIENCE = timedelta(days=14)
# Between tries to cancel what was abandoned, and how many there are: three days.
CANCEL_EVERY = timedelta(hours=1)
CANCEL_TRIES = 72
SWEPT = Cause(why="found by the janitor")


@periodic("janitor.sweep")
def sweep() -> None:
    """Tie up loose ends. Safe in any number of copies: each row is looked at again when locked."""
    for end in LOOSE_ENDS:
        before = _before(end, now())
        for found in in_transaction(loose_ends.find, None, end, before=before):
            in_transaction(_tie_up, found.company_id, end, found, before)
    for review in in_transaction(loose_ends.untold_reviews, None):
        in_transaction(_tell_review, review.company_id, review)
    for review in in_transaction(loose_ends.ended_reviews, None):
        in_transaction(_end_review, review.company_id, review)


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


def _end_review(session: Session, review: Review) -> None:
    resolve(session, f"{KIND}:{review.id}", why=f"The {review.noun} needs no review any more.")


@dataclass(frozen=True)
class Abandoned:
    """A payment whose customer has left, and the key to cancel it with."""

    transaction_id: UUID
    provider: str
    intent_id: str
    key: str
    # Whether its invoice still lacks the money: else what is approved is given up as well.
    is_due: bool


def _claim_abandoned(
    session: Session, debt: Debt, *, transaction_id: str, **_tries: int
) -> Abandoned | None:
    payment = lock(session, UUID(transaction_id))
    if payment is None or payment.status != Status.REQUIRES_ACTION:
        debt.end(session)
        return None
    if payment.provider_transaction_id is None:
        debt.end(session)
        hand_over(session, payment, because=debt.cause("it waits for its customer nowhere"))
        return None
    if debt.waits_for(session, payment.payment_method):
        return None
    # A debt a try, and so a key a try: a saved 500 would be answered again and again.
    key = f"abandon-{debt.id}"
    return Abandoned(
        payment.id,
        payment.payment_method,
        payment.provider_transaction_id,
        key,
        is_due(session, payment),
    )


@calling_task("janitor.abandon", claim=_claim_abandoned)
def abandon(debt: Debt, abandoned: Abandoned) -> None:
    """Cancel what its customer has left. Safe twice: what is canceled or paid is returned as it is.

    Looks first: one that was paid meanwhile is believed, and one that is being paid is left alone,
    though the provider might cancel it.
    """
    outcome: Intent | GatewayError
    try:
        outcome = _close(gateway_for(abandoned.provider), abandoned)
    except GatewayError as error:
        outcome = error
    in_transaction(_record_abandoned, debt.company_id, debt, abandoned.transaction_id, outcome)


def _close(gateway: Gateway, abandoned: Abandoned) -> Intent:
    try:
        intent = gateway.retrieve(abandoned.intent_id)
    except Rejected:
        pass  # where what is left expires by itself, canceling it knows that
    else:
        is_being_paid = intent.is_approved and abandoned.is_due
        if intent.status is not IntentStatus.REQUIRES_ACTION or is_being_paid:
            return intent
    return gateway.cancel(key=abandoned.key, provider_id=abandoned.intent_id)


def _record_abandoned(
    session: Session, debt: Debt, transaction_id: UUID, outcome: Intent | GatewayError
) -> None:
    debt.end(session)
    payment = lock_existing(session, transaction_id)
    hours = settings().abandon_after_s / 3600
    cause = debt.cause(f"its customer left it for {hours:g} hours")
    if payment.status != Status.REQUIRES_ACTION:
        _look_again(session, payment, outcome)
        return
    if isinstance(outcome, Intent) and (
        outcome.status is not IntentStatus.REQUIRES_ACTION or outcome.is_approved
    ):
        attempt = settlement.attempt_behind(payment, outcome)
        settlement.apply(session, payment, attempt, outcome, cause=cause)
        if outcome.status is IntentStatus.CANCELED:
            _tell_canceled(session, payment)
        return
    tries: int = debt.arguments.get("tries", 0) + 1
    is_final = isinstance(outcome, GatewayError) and not isinstance(
        outcome, OutcomeUnknown | Unavailable
    )
    told = outcome if isinstance(outcome, GatewayError) else "it is still open there"
    if is_final or tries >= CANCEL_TRIES:
        hand_over(session, payment, because=cause.but(f"it cannot be canceled: {told}"))
        return
    note(session, payment, what="wait", because=cause.but(f"not canceled: {told}"))
    enqueue(
        session,
        "janitor.abandon",
        transaction_id=payment.id,
        tries=tries,
        due_at=now() + CANCEL_EVERY,
    )


def _look_again(session: Session, payment: Transaction, outcome: Intent | GatewayError) -> None:
    """Believe neither: the customer came back while we canceled, and the provider knows more."""
    if isinstance(outcome, Intent):
        enqueue(
            session,
            "lookups.refresh",
            transaction_id=payment.id,
            intent_id=outcome.provider_id,
            why="its customer came back while it was canceled",
        )


def _tell_canceled(session: Session, payment: Transaction) -> None:
    announce_payment(
        session,
        "payment.failed",
        payment,
        code="abandoned",
        reason="The payment was not confirmed in time.",
    )
