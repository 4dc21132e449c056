"""Subscriptions go on by themselves, and follow what becomes of their invoices.

subscriptions.sweep     beat's ring: what is due by `next_due_at` is brought on, a step at a time
subscriptions.follow    a payment or an invoice has moved: its subscription is looked at
subscriptions.close     use was told after its subscription ended: it is billed by one more invoice
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from models import locks
from models.base import across_companies
from models.clock import now
from models.statements import is_late
from models.subscriptions import Subscription, SubscriptionStatus, lock
from models.timeline import Cause, note
from worker import crash
from worker.app import periodic, task
from worker.database import in_transaction, is_away
from worker.renewals import catch_up, close_late, stand, step, whole

log = logging.getLogger(__name__)

BATCH = 100
# Steps that one ring makes of one subscription: years of months that were missed. What is left
# then is made at the next.
MOST_STEPS = 60


class Due(NamedTuple):
    """A subscription that the sweep must look at."""

    at: datetime
    id: UUID
    company_id: UUID


@periodic("subscriptions.sweep")
def sweep() -> None:
    """Bring on what is due. Safe in any number of copies: each subscription is locked by one.

    Each step is a commit of its own. A subscription that fails holds up no other.
    """
    moment, last = now(), None
    while batch := in_transaction(_due, None, moment, last):
        for due in batch:
            try:
                bring_on(due.company_id, due.id, moment)
            except Exception as error:
                if is_away(error):
                    raise
                log.exception("subscription %s could not be brought on", due.id)
        last = batch[-1]


def bring_on(company_id: UUID, subscription_id: UUID, moment: datetime) -> int:
    """Make the steps of one subscription that are due, in order; return how many."""
    for made in range(MOST_STEPS):
        if not in_transaction(_step, company_id, subscription_id, moment):
            return made
        crash.point("subscriptions.stepped")
    return MOST_STEPS


def _due(session: Session, moment: datetime, after: Due | None) -> Sequence[Due]:
    query = (
        select(Subscription.next_due_at, Subscription.id, Subscription.company_id)
        .where(Subscription.next_due_at <= moment)
        .order_by(Subscription.next_due_at, Subscription.id)
        .limit(BATCH)
    )
    if after is not None:
        query = query.where(
            tuple_(Subscription.next_due_at, Subscription.id) > (after.at, after.id)
        )
    rows = session.execute(across_companies(query, because="beat rings for every company"))
    return [Due(at, identity, company_id) for at, identity, company_id in rows if at is not None]


def _step(session: Session, subscription_id: UUID, moment: datetime) -> bool:
    """Make one step; False if none is due, or others have the subscription in hand."""
    held = locks.lock_all(session, Subscription, [subscription_id])
    subscription = held.get(subscription_id)
    if subscription is None:
        return False
    has_stepped = step(session, subscription, moment, Cause(why="its time has come"))
    crash.point("subscriptions.stepping")
    return has_stepped


@task("subscriptions.follow")
def follow(session: Session, cause: Cause, *, subscription_id: str) -> None:
    """Bring a subscription to where its invoices have it. Safe twice: it is then there already."""
    subscription = lock(session, UUID(subscription_id))
    if subscription is None:
        return
    moment = now()
    catch_up(session, subscription, moment, cause)
    stand(session, subscription, moment, cause)


@task("subscriptions.close")
def close(session: Session, cause: Cause, *, subscription_id: str) -> None:
    """Bill late use of what has ended. Safe twice: none of it is late any more.

    What goes on, or is paused, bills it with its next invoice.
    """
    subscription = lock(session, UUID(subscription_id))
    if subscription is None or subscription.status != SubscriptionStatus.CANCELED:
        return
    if is_late(session, subscription):
        close_late(session, subscription, whole(now()))
        note(session, subscription, what="closed", because=cause.but("use was told late"))
