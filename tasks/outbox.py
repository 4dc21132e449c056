"""Beat's rings for the outbox: what is overdue is sent again, what is spent is forgotten."""

from __future__ import annotations

import logging

from models import idempotency, webhooks
from models.clock import now
from worker import sweeper
from worker.app import periodic
from worker.cache import CacheAway
from worker.database import in_transaction

log = logging.getLogger(__name__)


@periodic("outbox.sweep")
def sweep() -> None:
    """Send what is overdue. Safe twice: rows are locked, and marked as sent before they are."""
    try:
        sweeper.sweep()
    except CacheAway as error:
        log.warning("the broker is away; what is owed waits: %s", error)


@periodic("outbox.forget_expired")
def forget_expired() -> None:
    """Delete what is past its time: idempotency keys, and events that nobody vouched for.

    Safe twice: age alone decides.
    """
    in_transaction(idempotency.forget_expired, None, moment=now())
    while in_transaction(webhooks.forget_unvouched, None, moment=now()):
        log.info("events that nobody vouched for are forgotten")
