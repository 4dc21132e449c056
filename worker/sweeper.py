"""Ringing again for what is owed and overdue. Safe in any number of copies at once."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from models import outbox
from models.clock import now
from worker import dispatch, telemetry
from worker.database import in_transaction
from worker.queues import SUBJECTS
from worker.settings import settings

log = logging.getLogger(__name__)

# From its enqueue over the commit to the queue; also how far two machines' clocks may be apart.
ON_ITS_WAY = timedelta(seconds=1)


def sweep() -> int:
    """Send what is overdue, and all that was sent if the broker lost its data; return how many.

    Raises:
        CacheAway: the broker is away; what is owed waits.
    """
    return rebuild() if dispatch.lost_everything() else _sweep_queues()


def rebuild() -> int:
    """Send all that is owed again, as after a flush of the broker; return how many.

    What waits for a later time keeps it; what is in a worker's hands keeps that.

    Raises:
        CacheAway: the broker is away; the rows are due and wait for the next sweep.
    """
    number = in_transaction(outbox.recall_all, None, moment=now())
    if number:  # a broker that is new has lost nothing
        log.warning("%d tasks are sent to the broker again", number)
        telemetry.count("outbox.recalled", number)
    dispatch.remember()
    return _sweep_queues()


def _sweep_queues() -> int:
    return sum(_sweep_queue(queue) for queue in SUBJECTS)


def _sweep_queue(queue: str) -> int:
    """Send the overdue rows of one queue, batch by batch."""
    number = 0
    while True:
        looked_at = now()
        oldest = dispatch.oldest_waiting(queue)
        reached = looked_at if oldest is None else datetime.fromtimestamp(oldest, UTC)
        batch = in_transaction(_send_batch, None, queue, reached - ON_ITS_WAY)
        number += batch
        if batch < outbox.BATCH:
            return number


def _send_batch(session: Session, queue: str, sent_before: datetime) -> int:
    moment = now()
    rows = outbox.overdue(session, queue, moment=moment, sent_before=sent_before)
    for owed in rows:
        outbox.mark_sent(owed, moment=moment, resend_after_s=settings().outbox_resend_after_s)
    session.info["owed"] = list(rows)
    return len(rows)
