"""What happened: events are kept, those of the stream and our own.

analytics.flush    store what waits in the stream
analytics.sweep    name what Redis lost
analytics.record   store what a transaction of ours has tracked
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from models.analytics_events import store
from models.base import COMPANY
from models.outbox import Owed
from models.timeline import Cause
from models.tracking import RECORD, as_event
from worker.app import periodic, task
from worker.cache import CacheAway
from worker.collecting.accepting import ring
from worker.collecting.flushing import Flush, settle
from worker.collecting.stream import stream
from worker.settings import settings

log = logging.getLogger(__name__)


@periodic("analytics.flush")
def flush() -> None:
    """Store what waits in the stream. Safe twice: an event is stored once by its id."""
    run = Flush(
        stream(),
        batch=settings().analytics_batch_size,
        claimed_after_s=settings().analytics_claim_after_s,
    )
    try:
        if run.run():
            ring()
    except CacheAway as error:
        log.warning("Redis is away; events go straight to the database: %s", error)


@periodic("analytics.sweep")
def sweep() -> None:
    """Name what Redis lost, and forget workers that are gone. Safe twice: a loss is noted once."""
    try:
        settle(stream())
        stream().forget_workers()
    except CacheAway as error:
        log.warning("Redis is away; what it lost is counted later: %s", error)


def _hold(session: Session, owed: Sequence[Owed]) -> None:
    """Nothing is locked beforehand: what is tracked is only added."""


@task(RECORD, hold=_hold)
def record(session: Session, cause: Cause, *, events: Sequence[Mapping[str, str]]) -> None:  # noqa: ARG001
    """Store what a transaction has tracked. Safe twice: an event is stored once by its id."""
    company_id: UUID = session.info[COMPANY]
    store(session, [as_event(company_id, each) for each in events])
