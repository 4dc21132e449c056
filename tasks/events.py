"""Publishing what companies are to hear, and owing it to the tenants' own systems."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row as RowLike
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from models import outbox
from models.clock import now
from models.endpoints import heard_channels
from models.outbox import BATCH, Owed, OwedStatus, enqueue
from worker import events as relay
from worker import figures, telemetry
from worker.app import Later, draining_task
from worker.cache import CacheAway
from worker.database import PUBLISH, in_transaction
from worker.settings import settings

log = logging.getLogger(__name__)

Row = RowLike[tuple[UUID, UUID | None, dict[str, Any]]]

# How soon to try again while Redis is away.
AGAIN_S = 2.0


@draining_task(PUBLISH)
def publish() -> None:
    """Publish all that is owed to all companies, oldest first.

    Safe twice: a second run finds no rows. A crash between publishing and the commit publishes
    again; readers know a repeated event by its payload.
    """
    while in_transaction(_publish_batch, None) == BATCH:
        pass


def _publish_batch(session: Session) -> int:
    """Publish the oldest events; return how many debts there were."""
    # Whoever comes second waits for the first, so that no company hears its events out of order.
    rows = session.execute(
        select(Owed.id, Owed.company_id, Owed.arguments)
        .where(
            Owed.queue == outbox.queue_of(PUBLISH),
            Owed.status == OwedStatus.OWED,
            or_(Owed.failures == 0, Owed.due_at <= now()),
        )
        # By the primary key it would wait for whatever is in hand on other queues.
        .with_hint(Owed, "FORCE INDEX (idx_outbox_queue)")
        .order_by(Owed.id)
        .limit(BATCH)
        .with_for_update()
    ).all()
    if not rows:
        return 0
    events = _by_company(rows)
    try:
        # Again, before it is heard: Redis may have been away at the commit, or the process ended.
        figures.outdate(set(events))
        refused = relay.publish(events)
    except CacheAway as away:
        raise Later(str(away), after_s=AGAIN_S) from away
    _owe_endpoints(session, rows)
    heard = []
    for row in rows:
        if (error := refused.get(_company_of(row))) is None:
            heard.append(row.id)
            for event in row.arguments["events"]:
                telemetry.count("events.published", event=event["type"])
        else:
            _count_failure(session, row, error)
    outbox.delete_all(session, heard)
    return len(rows)


def _owe_endpoints(session: Session, rows: Sequence[Row]) -> None:
    """Owe to endpoints what browsers hear, in the commit that ends the debt of publishing it.

    One look for the whole batch; where nobody has an endpoint that is all. What Redis refused
    comes again and is owed again: `endpoints.fan_out` knows it by its source. Who failed before is
    not left out, as nothing tells whether that run has come so far.
    """
    heard = heard_channels(session, {_company_of(row) for row in rows})
    sources: dict[UUID, list[dict[str, Any]]] = {}
    for row in rows:
        if (channel := _company_of(row)) in heard:
            source = {"source_id": str(row.id), "events": row.arguments["events"]}
            sources.setdefault(channel, []).append(source)
    for channel, announced in sources.items():
        enqueue(session, "endpoints.fan_out", company_id=channel, announced=announced)


def _by_company(rows: Sequence[Row]) -> dict[UUID, list[dict[str, Any]]]:
    events: dict[UUID, list[dict[str, Any]]] = {}
    for row in rows:
        events.setdefault(_company_of(row), []).extend(row.arguments["events"])
    return events


def _company_of(row: Row) -> UUID:
    company_id: UUID | None = row.company_id
    if company_id is None:
        raise ValueError(f"{row.id} is no company's event")
    return company_id


def _count_failure(session: Session, row: Row, error: Exception) -> None:
    """Redis refuses one company's stream: the others must not wait for that."""
    log.error("events of company %s could not be published: %s", row.company_id, error)
    backoff_s = settings().outbox_backoff_s
    outbox.fail(session, row.id, moment=now(), error=str(error), backoff_s=backoff_s)
