"""Owing again what was given up, and events anew: by an operator, through the same guards.

A replay only makes the work due. The task then runs as it always does: what was done meanwhile
ends it, a key that may have charged is looked up and never replaced.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from models import locks, outbox
from models.base import BY_KEY, turn_to
from models.outbox import Owed, OwedStatus, enqueue
from models.timeline import Cause, Timeline
from models.transactions import Status, Transaction
from models.webhooks import PaymentWebhook, WebhookStatus

HANDLE = "webhooks.handle"
VERIFY = "webhooks.verify"
CHARGE = "payments.charge"
# What a worker has in hand, or is owed, need not be owed again.
IN_HAND = (WebhookStatus.RECEIVED, WebhookStatus.PROCESSING)
GIVEN_UP = (OwedStatus.DEAD, OwedStatus.DISMISSED)


def lock_dead(session: Session, ids: Collection[UUID]) -> Sequence[Owed]:
    """Return dead letters, locked, in the order of their ids; others than dead are left out."""
    query = select(Owed).where(Owed.id.in_(sorted(ids)), Owed.status.in_(GIVEN_UP))
    return session.scalars(query.with_hint(Owed, BY_KEY).order_by(Owed.id).with_for_update()).all()


def replay(session: Session, dead: Owed, *, cause: Cause) -> None:
    """Owe a locked dead letter again. The session turns to whose it is."""
    turn_to(session, dead.company_id, request_id=cause.request_id)
    if dead.task in (HANDLE, VERIFY):
        event = _lock_event(session, UUID(dead.arguments["event_id"]))
        if event is not None and event.status == WebhookStatus.FAILED:
            event.status = WebhookStatus.RECEIVED
    elif dead.task == CHARGE:
        _reopen(session, UUID(dead.arguments["transaction_id"]), cause)
    outbox.revive(session, dead)


def _reopen(session: Session, transaction_id: UUID, cause: Cause) -> None:
    """Have a payment charged that went to review without ever having been sent."""
    payment = locks.lock(session, Transaction, transaction_id)
    if payment is not None and payment.status == Status.NEEDS_REVIEW and not payment.attempts:
        payment.move_to(Status.PROCESSING, because=cause.but("its charge is replayed"))


def replay_event(session: Session, event_id: UUID, *, cause: Cause) -> Owed | None:
    """Have a stored event handled again; None if it is owed anyway.

    The session turns to whose it was found to be.
    """
    event = _lock_event(session, event_id)
    if event is None or event.status in IN_HAND:
        return None
    turn_to(session, event.company_id, request_id=cause.request_id)
    if event.status == WebhookStatus.COMPLETED:
        _note_replay(session, event, cause)
    event.status = WebhookStatus.RECEIVED
    dead = session.scalars(_debts_of(event.id, GIVEN_UP).with_for_update()).first()
    if dead is not None:
        outbox.revive(session, dead)
        return dead
    owed = enqueue(session, HANDLE, event_id=event.id)
    # As at the door: whose it is stands in the object that it names.
    owed.company_id = None
    return owed


def why_it_waits(session: Session, event_id: UUID) -> str | None:
    """Return why an event in hand is put off, if it is."""
    event = session.get(PaymentWebhook, event_id)
    if event is None or event.status not in IN_HAND:
        return None
    owed = session.scalars(_debts_of(event_id, (OwedStatus.OWED,))).first()
    return owed.error if owed is not None else None


def _debts_of(event_id: UUID, statuses: Collection[OwedStatus]) -> Select[Owed]:
    of_event = Owed.arguments["event_id"].as_string() == str(event_id)
    queue = outbox.queue_of(HANDLE)
    return (
        select(Owed)
        .where(Owed.queue == queue, Owed.status.in_(statuses), of_event)
        .with_hint(Owed, "FORCE INDEX (idx_outbox_queue)")
    )


def _note_replay(session: Session, event: PaymentWebhook, cause: Cause) -> None:
    """Write down that one more effect of this event is to be expected."""
    subject_id = event.transaction_id or event.subject_id
    if subject_id is None or event.company_id is None:
        return
    session.add(
        Timeline(
            company_id=event.company_id,
            subject=_subject_of(session, subject_id),
            subject_id=subject_id,
            what="replay",
            was=None,
            became=None,
            why=f"{event.event_type} is handled again",
            request_id=cause.request_id,
            event_id=event.provider_event_id,
            user_id=cause.user_id,
            detail=None,
        )
    )


def _subject_of(session: Session, subject_id: UUID) -> str:
    """Return the kind of a subject, as its own lines have it."""
    found = session.scalar(
        select(Timeline.subject).where(Timeline.subject_id == subject_id).limit(1)
    )
    return found or "transaction"


def _lock_event(session: Session, event_id: UUID) -> PaymentWebhook | None:
    return locks.lock(session, PaymentWebhook, event_id)
