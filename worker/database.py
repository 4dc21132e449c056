"""The database as a process holds it: one engine, transactions, and what follows a commit.

    with transaction(company_id=...) as session:     one try
    in_transaction(record, attempt_id, answer)       run again whole on a deadlock

After the commit, what was enqueued is sent to the broker; that the broker is away changes nothing,
because the rows are there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import pymysql
import tenacity
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import (
    DBAPIError,
    InvalidatePoolError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.pool import ConnectionPoolEntry

from models import outbox
from models.base import COMPANY, FencedSession
from models.clock import now
from models.outbox import Owed
from worker import caching, crash, dispatch, figures, tally, telemetry
from worker.cache import CacheAway
from worker.settings import settings

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# 1020 record changed (MariaDB snapshot isolation), 1205 lock wait timeout, 1213 deadlock.
CONFLICTS = frozenset({1020, 1205, 1213})
# Connection refused or lost, server shutting down or starting, too many connections, read-only.
AWAY = frozenset({1040, 1053, 1152, 1158, 1159, 1160, 1161, 1290, 1927, 2002, 2003, 2006, 2013})
DUPLICATE = 1062
TRIES = 8
PUBLISH = "events.publish"


# A connection used within this time is taken for alive; an older one is asked first.
FRESH_S = 1.0
# A worker may have to go through a long table; nobody waits for its answer.
PATIENCE_S = 20.0

_patience_s = PATIENCE_S

event.listen(FencedSession, "after_flush", figures.make_stale)


def answer_within(seconds: float) -> None:
    """Have this process take a database for hung that has not answered after so long."""
    global _patience_s  # noqa: PLW0603  one engine a process
    _patience_s = seconds
    engine.cache_clear()


@cache
def engine() -> Engine:
    """Return this process's engine. READ COMMITTED, so that a lock holds a row and no gap."""
    made = create_engine(
        settings().database_url,
        isolation_level="READ COMMITTED",
        pool_size=settings().database_pool,
        max_overflow=settings().database_pool,
        pool_timeout=5,
        pool_recycle=1800,
        # A session ends its transaction itself; a second ROLLBACK is a round trip for nothing.
        pool_reset_on_return=None,
        # A database that hangs must not hang us: the caller gets a 503 and tries again.
        connect_args={
            "connect_timeout": min(3.0, _patience_s),
            "read_timeout": _patience_s,
            "write_timeout": _patience_s,
        },
    )
    event.listen(made, "checkout", _ask_when_old)
    event.listen(made, "checkin", _remember_use)
    return made


def _ask_when_old(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Ask whether a connection still stands; asking each time would cost a round trip each.

    One that was cut off is replaced. From a database that hangs, a new one would wait as long
    again for its first word.
    """
    used_at = record.info.get("used_at")
    if used_at is None or time.monotonic() - used_at < FRESH_S:
        return
    try:
        connection.ping(reconnect=False)
    except (pymysql.MySQLError, OSError) as error:
        if isinstance(error.__context__, TimeoutError):
            raise
        raise InvalidatePoolError from error


def _remember_use(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def error_number(error: BaseException) -> int | None:
    """Return MySQL's number of an error, if it has one."""
    if isinstance(error, DBAPIError) and error.orig is not None and error.orig.args:
        number = error.orig.args[0]
        return number if isinstance(number, int) else None
    return None


def is_conflict(error: BaseException) -> bool:
    """Whether running the whole transaction again can help."""
    return isinstance(error, StaleDataError) or error_number(error) in CONFLICTS


def is_away(error: BaseException) -> bool:
    """Whether the database could not be reached, so that nothing was done or it is not known."""
    if isinstance(error, PoolTimeoutError):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError) and error_number(error) in AWAY


@contextmanager
def transaction(*, company_id: UUID | None = None) -> Iterator[Session]:
    """Open a session in one transaction; commit at the end, then send what was enqueued.

    Args:
        company_id: whose rows the session may see; without it, only queries that say that they
            span companies are let through.
    """
    info = {
        COMPANY: company_id,
        "request_id": telemetry.current().get("request_id"),
        "resend_after_s": settings().outbox_resend_after_s,
    }
    with FencedSession(engine(), expire_on_commit=False, info=info) as session:
        with session.begin():
            yield session
        tally.tell(session)
        caching.forget_stale(session)
        owed = session.info.pop("owed", [])
    if owed:
        ring(map(dispatch.message_for, _to_ring_for(owed)), [row.id for row in owed])


def _to_ring_for(owed: Sequence[Owed]) -> list[Owed]:
    """Return one row for all events: whoever publishes one takes all along."""
    rows = {PUBLISH if row.task == PUBLISH else row.id: row for row in owed}
    return list(rows.values())


def ring(messages: Iterable[tuple[str, bytes]], owed_ids: Sequence[UUID]) -> None:
    """Send what was just committed; with the broker away it is due at once, for the sweeper.

    Never raises: whoever has committed would be told that it had not.
    """
    crash.point("outbox.committed")
    try:
        dispatch.doorbell().ring(messages)
    except CacheAway as error:
        log.warning("broker away, %d tasks wait in the outbox: %s", len(owed_ids), error)
    except Exception:
        log.exception("%d tasks wait in the outbox, for they could not be sent", len(owed_ids))
    else:
        return
    try:
        with Session(engine()) as session, session.begin():
            outbox.recall(session, owed_ids, moment=now())
    except SQLAlchemyError:
        log.warning("could not mark %d tasks as due: they are by their date", len(owed_ids))


@tenacity.retry(
    retry=tenacity.retry_if_exception(is_conflict),
    stop=tenacity.stop_after_attempt(TRIES),
    wait=tenacity.wait_random_exponential(multiplier=0.005, max=0.3),
    reraise=True,
)
def _again(work: Callable[[], T]) -> T:
    return work()


def in_transaction(
    work: Callable[Concatenate[Session, P], T],
    company_id: UUID | None,
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run `work(session, ...)` in a transaction of `company_id`, again whole on a conflict."""

    def once() -> T:
        with transaction(company_id=company_id) as session:
            return work(session, *args, **kwargs)

    return _again(once)
