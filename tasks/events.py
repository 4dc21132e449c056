"""Publishing what companies are to hear."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models.outbox import BATCH, Owed, OwedStatus, enqueue
from models.timeline import Cause
from worker import events as relay
from worker.app import Later, task
from worker.cache import CacheAway

# How soon to try again while Redis is away.
AGAIN_S = 2.0


@task("events.publish")
def publish(session: Session, cause: Cause, *, events: list[dict[str, Any]]) -> None:
    """Publish these events and whatever else the company has owed, oldest first.

    Safe twice: a second run finds no rows. A crash between publishing and the commit publishes
    again; readers know a repeated event by its payload.
    """
    company_id = session.info["company_id"]
    rows = session.scalars(
        select(Owed)
        .where(
            Owed.company_id == company_id,
            Owed.task == "events.publish",
            Owed.status == OwedStatus.OWED,
        )
        .order_by(Owed.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    ids = [row.id for row in rows]
    if cause.task_id not in ids:
        # So many older ones go first; this debt ends with the run, so it is owed anew.
        enqueue(session, "events.publish", events=events)
        session.flush()
    # Before publishing: a deadlock here has this run again, and nobody has heard it yet.
    session.execute(delete(Owed).where(Owed.id.in_(ids)))
    try:
        heard = [event for row in rows for event in row.arguments["events"]]
        relay.publish(company_id, heard)
    except CacheAway as away:
        raise Later(str(away), after_s=AGAIN_S) from away
