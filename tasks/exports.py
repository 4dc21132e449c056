"""Exports of events: batches formed, written as Parquet, and sent to a search engine.

exports.sweep    beat's ring: forms batches of what is in none, and owes each sink what it lacks
exports.write    write a batch's files and its manifest
exports.index    send a batch by _bulk
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import exports
from models.clock import now
from models.exports import Sink
from worker import elastic
from worker.app import Debt, calling_task, periodic
from worker.database import DUPLICATE, error_number, in_transaction, transaction
from worker.gateways.base import Unavailable
from worker.lake import batches
from worker.lake.places import place_of
from worker.settings import settings

log = logging.getLogger(__name__)

# How long a search engine that refuses is left alone, unless it names a time.
PAUSE_S = 30.0


def sinks() -> list[Sink]:
    """Return where batches go by the settings."""
    told = settings()
    return [
        *([Sink.LAKE] if told.analytics_export_dir else []),
        *([Sink.SEARCH] if told.elasticsearch_url else []),
    ]


@periodic("exports.sweep")
def sweep() -> None:
    """Form batches and owe them. Safe in any number of copies: an event gets one number, once."""
    wanted = sinks()
    if not wanted:
        return
    try:
        while in_transaction(_form, None) >= settings().analytics_export_rows:
            pass
    except IntegrityError as error:
        if error_number(error) != DUPLICATE:
            raise
        # Another beat forms it.
    in_transaction(exports.owe, None, wanted)


def _form(session: Session) -> int:
    """Take events into a batch; 0 where there are none, or too many batches wait."""
    if exports.owe(session, sinks()) >= exports.MOST_WAITING:
        return 0
    batch = exports.form(session, most=settings().analytics_export_rows)
    return batch.events if batch else 0


def _claim_write(session: Session, debt: Debt, *, number: int) -> int | None:
    return _claim(session, debt, number, Sink.LAKE)


def _claim_index(session: Session, debt: Debt, *, number: int) -> int | None:
    return _claim(session, debt, number, Sink.SEARCH)


def _claim(session: Session, debt: Debt, number: int, sink: Sink) -> int | None:
    batch = exports.lock(session, number)
    is_done = batch is None or getattr(batch, exports.DONE[sink]) is not None
    if is_done or sink not in sinks():
        debt.end(session)
        return None
    return number


@calling_task("exports.write", claim=_claim_write)
def write(debt: Debt, number: int) -> None:
    """Write a batch. Safe twice: a batch and the names of its files never change."""
    place = place_of(settings().analytics_export_dir)
    place.tidy()
    with transaction() as session:
        files = batches.write(place, number, _events(session, number))
    in_transaction(_end, None, debt, number, Sink.LAKE, files)


@calling_task("exports.index", claim=_claim_index)
def index(debt: Debt, number: int) -> None:
    """Send a batch to the search engine. Safe twice: an event's id is its document's."""
    try:
        with transaction() as session:
            elastic.index(_events(session, number))
    except Unavailable as error:
        until = now() + timedelta(seconds=error.retry_after_s or PAUSE_S)
        in_transaction(debt.defer, None, until=until, why=str(error))
        return
    in_transaction(_end, None, debt, number, Sink.SEARCH, None)


def _events(session: Session, number: int) -> Iterator[Mapping[str, Any]]:
    return (dict(row._mapping) for row in exports.events_of(session, number))  # noqa: SLF001  its public name


def _end(
    session: Session, debt: Debt, number: int, sink: Sink, files: list[dict[str, Any]] | None
) -> None:
    """Advance the sink: from this commit on the batch is there."""
    debt.end(session)
    batch = exports.lock(session, number)
    if batch is None or getattr(batch, exports.DONE[sink]) is not None:
        return
    setattr(batch, exports.DONE[sink], now())
    setattr(batch, exports.TASK_IDS[sink], None)
    if files is not None:
        batch.files = files
