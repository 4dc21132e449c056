"""What happened: events are taken from the stream and kept."""

from __future__ import annotations

import logging

from worker.app import periodic
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
