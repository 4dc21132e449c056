"""Exports: which events go to an analytics database, in batches that never change.

An event gets its batch's number when it is taken, whenever it came and whatever its time says. So a
late one is in a later batch, none is in two, and a batch that is written again is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Index,
    Integer,
    Row,
    UniqueConstraint,
    func,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.analytics_events import AnalyticsEvent
from models.base import Changing, across_companies
from models.ids import new_id
from models.outbox import Owed, enqueue

# Batches that wait for a sink until no more are formed: one that is away must not mark all.
MOST_WAITING = 20
FETCHED_AT_ONCE = 5_000
_BECAUSE = "an export is of all companies"


class Sink(StrEnum):
    """Where batches go."""

    LAKE = "lake"
    SEARCH = "search"


# Each sink's task, the column of when it was done, and that of what is owed for it.
TASKS = {Sink.LAKE: "exports.write", Sink.SEARCH: "exports.index"}
DONE = {Sink.LAKE: "written_at", Sink.SEARCH: "indexed_at"}
TASK_IDS = {Sink.LAKE: "write_task_id", Sink.SEARCH: "index_task_id"}


class AnalyticsExport(Changing):
    """One batch. Its row is its manifest: `files` are named in it by the commit that ends it."""

    __tablename__ = "analytics_exports"
    __table_args__ = (
        UniqueConstraint("number"),
        Index("idx_analytics_exports_written_at", "written_at", "number"),
        Index("idx_analytics_exports_indexed_at", "indexed_at", "number"),
    )

    number: Mapped[int] = mapped_column(BigInteger)
    events: Mapped[int] = mapped_column(Integer)
    files: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    written_at: Mapped[datetime | None]
    indexed_at: Mapped[datetime | None]
    write_task_id: Mapped[UUID | None]
    index_task_id: Mapped[UUID | None]


_TAKE = text(
    "UPDATE analytics_events FORCE INDEX (idx_analytics_events_export) SET export_id = :number "
    "WHERE export_id IS NULL ORDER BY `date`, id LIMIT :most"
)


def form(session: Session, *, most: int) -> AnalyticsExport | None:
    """Take up to `most` events that are in no batch into the next one; None if there are none.

    Raises:
        IntegrityError: somebody else forms it at this moment.
    """
    last = session.scalar(select(func.max(AnalyticsExport.number))) or 0
    batch = AnalyticsExport(id=new_id(), number=last + 1, events=0)
    # First, so that two who form the same number do not both take events.
    session.add(batch)
    session.flush()
    taken = session.execute(
        across_companies(_TAKE, because=_BECAUSE), {"number": batch.number, "most": most}
    )
    batch.events = int(taken.rowcount)  # type: ignore[attr-defined]
    if not batch.events:
        session.delete(batch)
        return None
    return batch


def owe(session: Session, sinks: Sequence[Sink], *, limit: int = MOST_WAITING) -> int:
    """Owe each sink the batches that it lacks and that nobody owes it; return how many wait."""
    most = 0
    for sink in sinks:
        waiting = session.scalars(
            select(AnalyticsExport)
            .where(getattr(AnalyticsExport, DONE[sink]).is_(None))
            .order_by(AnalyticsExport.number)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        most = max(most, len(waiting))
        for batch in waiting:
            task_id = getattr(batch, TASK_IDS[sink])
            if task_id is None or session.get(Owed, task_id) is None:
                owed = enqueue(session, TASKS[sink], number=batch.number)
                setattr(batch, TASK_IDS[sink], owed.id)
    return most


def lock(session: Session, number: int) -> AnalyticsExport | None:
    """Return a batch, locked until the commit."""
    return session.scalars(
        select(AnalyticsExport)
        .where(AnalyticsExport.number == number)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def events_of(session: Session, number: int) -> Iterator[Row[Any]]:
    """Yield a batch's events by day and id, a few at a time: the same each time it is asked."""
    table = AnalyticsEvent.__table__
    query = (
        select(table)
        .where(table.c.export_id == number)
        .order_by(table.c.date, table.c.id)
        .execution_options(yield_per=FETCHED_AT_ONCE)
    )
    yield from session.execute(across_companies(query, because=_BECAUSE))
