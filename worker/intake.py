"""Storing webhook events: the event and what is owed for it, many of them in one transaction.

`intake().store(...)` returns once the event is committed. It goes past SQLAlchemy, over raw
connections of its own: building objects costs many times what the database does.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any
from uuid import UUID

import orjson
import pymysql
from pymysql.constants import CLIENT
from sqlalchemy.engine import make_url

from models.clock import now
from models.ids import new_id
from models.outbox import queue_of
from models.webhooks import HANDLED
from worker import crash, dispatch
from worker.database import AWAY, CONFLICTS, ring
from worker.group_commit import Defer, GroupCommit, Hopeless, at_once
from worker.settings import settings
from worker.signatures import Event

log = logging.getLogger(__name__)

TASK = "webhooks.handle"
VERIFYING = "webhooks.verify"
QUEUE = queue_of(TASK)
LANES = 1
# One makes the largest groups; a second was not seen to help (docs/benchmarks.md).
TRIES = 8
CONNECT_TIMEOUT_S = 3
ANSWER_TIMEOUT_S = 5
# The provider gives up after about ten seconds; by then it must have its 503.
STALE_S = 1.0
# A connection that the server has closed says so at once; one that hangs is not tried again.
LOCK_WAIT_S = 1
# Only a handler's short transaction can hold an event that comes again.
UNKEEPABLE = frozenset({1153, 1264, 1366, 1406, 3140, 3819, 4025})
# Packet too large, value out of range, bad characters, too long, not JSON, check failed (2).


class NotStored(Exception):
    """Not known to be stored; the provider must send the event again."""


class DatabaseAway(NotStored, Hopeless):
    """The database could not be asked, or did not say that it kept the events."""


class Unkeepable(Exception):
    """The database refuses this very event; sent again, it would be refused again."""


class Outcome(StrEnum):
    """What became of an event at the door."""

    STORED = "stored"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event with how it came; `raw_body` where its signature has yet to be checked."""

    provider: str
    event: Event
    headers: dict[str, str]
    request_id: str | None
    raw_body: bytes | None = None

    @property
    def task(self) -> str:
        """The task that is owed for it."""
        return TASK if self.raw_body is None else VERIFYING


@dataclass(frozen=True, slots=True)
class _Debt:
    id: UUID
    event_id: UUID
    request_id: str | None
    task: str
    is_owed: bool  # whether somebody acts on an event of its type


class Connections:
    """Raw connections, kept between uses; all are given up when one of them fails.

    Args:
        url: as SQLAlchemy reads it; TLS and other options come through.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        _, options = parsed.get_dialect()().create_connect_args(parsed)
        # With FOUND_ROWS a duplicate would count as affected, like a row that was inserted.
        flags = options.get("client_flag", 0) & ~CLIENT.FOUND_ROWS
        options["client_flag"] = flags | CLIENT.MULTI_STATEMENTS
        self._options: dict[str, Any] = {"charset": "utf8mb4", **options}
        self._idle: list[Any] = []

    def run(self, script: str) -> list[tuple[int, tuple[Any, ...]]]:
        """Run statements in one round trip; return of each the rows affected and the rows."""
        connection = self._take()
        try:
            with connection.cursor() as cursor:
                results = [(cursor.execute(script), cursor.fetchall())]
                while cursor.nextset():
                    results.append((cursor.rowcount, cursor.fetchall()))
        except pymysql.MySQLError as error:
            if _is_away(error):
                self._forget(connection)
            else:
                self._roll_back(connection)
            raise
        except BaseException:
            self._forget(connection)
            raise
        self._idle.append(connection)
        return results

    def close(self) -> None:
        """Drop the idle connections."""
        idle, self._idle = self._idle, []
        for each in idle:
            each.close()

    def _take(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _roll_back(self, connection: Any) -> None:
        try:
            connection.rollback()
        except (pymysql.MySQLError, OSError):
            self._forget(connection)
        else:
            self._idle.append(connection)

    def _forget(self, connection: Any) -> None:
        """Drop a connection that failed, and the idle ones: the server may have restarted."""
        stale, self._idle = [connection, *self._idle], []
        for each in stale:
            # Not close(), which would first send a goodbye to a server that may hang.
            each._force_close()  # noqa: SLF001

    def _connect(self) -> Any:
        connection = pymysql.connect(
            **self._options,
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=ANSWER_TIMEOUT_S,
            write_timeout=ANSWER_TIMEOUT_S,
            # Strict: a value that does not fit is an error, never cut.
            sql_mode="TRADITIONAL",
            init_command=f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_S}",
            autocommit=True,
        )
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        return connection


class Intake:
    """The door's writer; one a process, used by all of its threads."""

    def __init__(self, url: str, *, resend_after_s: float, lanes: int = LANES) -> None:
        self._connections = Connections(url)
        self._resend_after = timedelta(seconds=resend_after_s)
        self._commit: GroupCommit[Arrival, Outcome] = GroupCommit(self._flush, lanes=lanes)

    def store(self, arrival: Arrival, defer: Defer = at_once) -> Outcome:
        """Store an event and owe its handling; return when that is committed.

        Args:
            defer: is given the ringing for the group, if it falls to this caller.

        Raises:
            NotStored: not known to be stored; the provider must send it again.
            Unkeepable: the database refuses this event.
        """
        size = len(arrival.event.payload) + len(arrival.raw_body or b"")
        return self._commit.put(arrival, size=size, defer=defer)

    def store_all(self, arrivals: Sequence[Arrival]) -> Sequence[Outcome | Exception]:
        """Store events that were fetched, in one transaction; return what became of each.

        Raises:
            DatabaseAway: none is known to be stored.
        """
        answers, ring_for_them = self._flush(list(arrivals))
        ring_for_them()
        return answers

    def close(self) -> None:
        """Give its connections up; the next event opens new ones."""
        self._connections.close()

    def _flush(self, group: list[Arrival]) -> tuple[Sequence[Outcome | Exception], Any]:
        debts: list[_Debt] = []
        moment = now()
        try:
            answers: Sequence[Outcome | Exception] = self._insist(group, debts, moment)
        except pymysql.MySQLError:
            # One of them may be at fault: each on its own, so that the others are stored.
            answers = self._one_by_one(group, debts, moment)
        crash.point("outbox.committed")  # here nobody has an answer yet
        return answers, lambda: _ring(debts, moment)

    def _one_by_one(
        self, group: list[Arrival], debts: list[_Debt], moment: datetime
    ) -> list[Outcome | Exception]:
        answers: list[Outcome | Exception] = []
        for arrival in group:
            try:
                answers += self._insist([arrival], debts, moment)
            except DatabaseAway as error:
                # The next ones would only wait for the same.
                return answers + [error] * (len(group) - len(answers))
            except (NotStored, Unkeepable) as error:
                answers.append(error)
        return answers

    def _insist(
        self, group: list[Arrival], debts: list[_Debt], moment: datetime
    ) -> Sequence[Outcome]:
        """Write a group, again after a deadlock, and once more after a stale connection."""
        started = time.monotonic()
        was_stale = False
        conflicts = 0
        while True:
            try:
                new, outcomes = self._write(group, moment)
            except (pymysql.MySQLError, OSError) as error:
                if _is_away(error) and not was_stale and time.monotonic() - started < STALE_S:
                    was_stale = True
                elif _number_of(error) in _DEADLOCKS and conflicts < TRIES:
                    conflicts += 1
                    time.sleep(random.uniform(0, 0.002 * 2**conflicts))  # noqa: S311  jitter
                else:
                    raise _told(error, is_alone=len(group) == 1) from error
            else:
                debts += new
                return outcomes

    def _write(self, group: list[Arrival], moment: datetime) -> tuple[list[_Debt], list[Outcome]]:
        rows = [(arrival, _debt_of(arrival)) for arrival in group]
        script = _script(rows, moment, due=moment + self._resend_after)
        (_, _), (inserted, _), (owed, _), (_, _) = self._connections.run(script)
        debts = [debt for _, debt in rows]
        if inserted != len(group):
            new = self._which_are_there(debts) if inserted else set()
            debts = [debt for debt in debts if debt.event_id in new]
        stored = {debt.event_id for debt in debts}
        debts = [debt for debt in debts if debt.is_owed]
        if owed != len(debts):
            raise AssertionError(f"{len(debts)} events are to be handled and {owed} are owed")
        return debts, [
            Outcome.STORED if debt.event_id in stored else Outcome.DUPLICATE for _, debt in rows
        ]

    def _which_are_there(self, debts: list[_Debt]) -> set[UUID]:
        listed = ",".join(f"x'{debt.event_id.hex}'" for debt in debts)
        query = f"SELECT id FROM payment_webhooks WHERE id IN ({listed})"  # noqa: S608  hex
        ((_, found),) = self._connections.run(query)
        return {UUID(bytes=row[0]) for row in found}


_AWAY = AWAY | {0, 2014, 2055}
# Besides: closed on our side (0), out of step (2014), lost by the driver's own words (2055).
_DEADLOCKS = CONFLICTS - {1205}
# 1205 has already waited for its lock; waiting again would hold up the whole group.


def _number_of(error: Exception) -> object:
    return error.args[0] if error.args else None


def _is_away(error: Exception) -> bool:
    return not isinstance(error, pymysql.MySQLError) or _number_of(error) in _AWAY


def _told(error: Exception, *, is_alone: bool) -> Exception:
    """Return what the caller is told: only an event's own fault is the sender's."""
    if _is_away(error):
        log.warning("the database is away; webhooks are refused for now: %s", error)
        return DatabaseAway(str(error))
    if not is_alone:
        return error
    if _number_of(error) in UNKEEPABLE:
        return Unkeepable(str(error))
    log.error("a webhook could not be stored: %s", error)
    return NotStored(str(error))


def _debt_of(arrival: Arrival) -> _Debt:
    is_owed = arrival.event.type in HANDLED[arrival.provider]
    return _Debt(new_id(), new_id(), arrival.request_id, arrival.task, is_owed)


def _script(rows: list[tuple[Arrival, _Debt]], moment: datetime, *, due: datetime) -> str:
    """Return the transaction as one text: events that are not there yet, and a debt for each.

    Written in hexadecimal, no text can end its literal; and a payload costs 3 µs instead of 150.
    """
    at, until = _text_of(moment), _text_of(due)
    # One order in every process, so that two groups with the same events do not deadlock.
    rows = sorted(rows, key=lambda row: (row[0].event.account, row[0].event.id))
    events = ",".join(
        f"(x'{debt.event_id.hex}',{_literal(arrival.event.type)},{_literal(arrival.provider)},"
        f"{_literal(arrival.event.account)},{_literal(arrival.event.id)},"
        f"{_literal(arrival.event.payload)},{_literal(orjson.dumps(arrival.headers))},"
        f"{_unchecked(arrival, at)},{_fate(debt, at)},0,'{at}','{at}')"
        for arrival, debt in rows
    )
    debts = " UNION ALL ".join(
        f"SELECT x'{debt.id.hex}' AS id,'{debt.task}' AS task,x'{debt.event_id.hex}' AS event_id,"
        f"{_literal(_arguments(debt))} AS arguments,{_literal(debt.request_id)} AS request_id"
        for _, debt in rows
    )
    return (
        "START TRANSACTION;"  # noqa: S608  our own words and hexadecimal
        "INSERT INTO payment_webhooks (id,event_type,provider,account,provider_event_id,payload,"
        "headers,raw_body,verified_at,status,handled_at,retry_count,created_at,updated_at) "
        f"VALUES {events} "
        # A second copy touches nothing, and counts as no affected row.
        "ON DUPLICATE KEY UPDATE payment_webhooks.id=payment_webhooks.id;"
        "INSERT INTO outbox (id,task,queue,arguments,request_id,status,due_at,sent_at,sends,"
        "starts,failures,created_at,updated_at) "
        f"SELECT new.id,new.task,'{QUEUE}',new.arguments,new.request_id,'owed','{until}','{at}',1,"
        f"0,0,'{at}','{at}' FROM ({debts}) AS new "
        "JOIN payment_webhooks ON payment_webhooks.id=new.event_id "
        "WHERE payment_webhooks.status='received';"
        "COMMIT"
    )


def _fate(debt: _Debt, at: str) -> str:
    return "'received',NULL" if debt.is_owed else f"'ignored','{at}'"


def _unchecked(arrival: Arrival, at: str) -> str:
    """Return what was signed, if it is yet to be checked, and when it was found good."""
    if arrival.raw_body is None:
        return f"NULL,'{at}'"
    return f"x'{arrival.raw_body.hex()}',NULL"


def _arguments(debt: _Debt) -> str:
    return f'{{"event_id": "{debt.event_id}"}}'


def _text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _literal(text: str | bytes | None) -> str:
    if text is None:
        return "NULL"
    return f"_utf8mb4 x'{(text.encode() if isinstance(text, str) else text).hex()}'"


def _ring(debts: list[_Debt], moment: datetime) -> None:
    messages = [
        (
            QUEUE,
            dispatch.message(
                debt.id,
                debt.task,
                QUEUE,
                ids={"event_id": str(debt.event_id)},
                request_id=debt.request_id,
                sent_at=moment,
            ),
        )
        for debt in debts
    ]
    if messages:
        ring(messages, [debt.id for debt in debts])


@cache
def intake() -> Intake:
    """Return this process's intake."""
    return Intake(settings().database_url, resend_after_s=settings().outbox_resend_after_s)
