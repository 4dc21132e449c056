"""The sweeper: rings again for what is owed and overdue. Safe in any number of copies."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from models import idempotency, outbox
from models.clock import now
from worker import dispatch, telemetry
from worker.app import periodic
from worker.cache import CacheAway
from worker.database import in_transaction
from worker.queues import SUBJECTS
from worker.settings import settings

log = logging.getLogger(__name__)


@periodic("outbox.sweep")
def sweep() -> None:
    """Send what is overdue. Safe twice: rows are locked, and marked as sent before they are."""
    try:
        if dispatch.lost_everything():
            recall_all()
            dispatch.remember()
        for queue in SUBJECTS:
            sweep_queue(queue)
    except CacheAway as error:
        log.warning("the broker is away; what is owed waits: %s", error)


def recall_all() -> int:
    """Make everything that was sent due again, as after a flush; return how many rows."""
    number = in_transaction(outbox.recall_all, None, moment=now())
    log.warning("the broker lost its data; %d tasks are sent again", number)
    telemetry.count("outbox.recalled", number)
    return number


def sweep_queue(queue: str) -> int:
    """Send the overdue rows of one queue, batch by batch; return how many."""
    number = 0
    while True:
        oldest = dispatch.oldest_waiting(queue)
        sent_before = None if oldest is None else datetime.fromtimestamp(oldest, UTC)
        batch = in_transaction(_send_batch, None, queue, sent_before)
        number += batch
        if batch < outbox.BATCH:
            return number


def _send_batch(session: Session, queue: str, sent_before: datetime | None) -> int:
    moment = now()
    rows = outbox.overdue(session, queue, moment=moment, sent_before=sent_before)
    for owed in rows:
        outbox.mark_sent(owed, moment=moment, resend_after_s=settings().outbox_resend_after_s)
    session.info["owed"] = list(rows)
    return len(rows)


@periodic("outbox.forget_expired")
def forget_expired() -> None:
    """Delete idempotency keys past their 24 hours. Safe twice: age alone decides."""
    in_transaction(idempotency.forget_expired, None, moment=now())
