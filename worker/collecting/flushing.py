"""Storing what waits in the stream: batch by batch, one transaction each, acknowledged after it.

Who dies in between has stored it or not: an entry that comes again finds its events there and its
numbers noted. An entry that can't be stored is put aside and holds up nobody.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from models import analytics_producers
from models.alerts import Severity
from models.analytics_events import NewEvent, store
from models.analytics_producers import Fate, Numbers
from models.clock import wall
from worker import alerts, crash, telemetry
from worker.collecting.entries import Entry, Unreadable, groups
from worker.collecting.stream import Strange, Stream
from worker.database import error_number, in_transaction

log = logging.getLogger(__name__)

# One run of the task ends after so long and rings for the next: others wait on the queue.
RUN_S = 20.0
# Entries that are read at once.
READ = 100
# An entry that was begun with so often, and not ended, kills whoever has it.
MOST_TIMES = 5
# From a number's reservation to its entry's place in the stream, or to its commit, at most: a call
# to the database is given up before.
SURELY_THERE = timedelta(seconds=60)
# Values that the driver does not take for wrong data: a time, a text, JSON, a constraint.
UNFIT = frozenset({1292, 1366, 3140, 4025})


class Flush:
    """One run: takes what a dead worker held, then all that waits.

    Args:
        batch: events of one transaction.
        claimed_after_s: how long a worker that is dead is waited for.
    """

    def __init__(
        self, source: Stream, *, batch: int, claimed_after_s: float, run_s: float = RUN_S
    ) -> None:
        self._stream = source
        self._batch = batch
        self._claimed_after_s = claimed_after_s
        self._run_s = run_s
        self._worker = f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"
        self.number = 0

    def run(self) -> bool:
        """Store what waits; return whether there is more.

        Raises:
            CacheAway: what waits goes on waiting.
            SQLAlchemyError: the database is away; what was taken is taken again.
        """
        give_up_at = time.monotonic() + self._run_s
        self._stream.heard()
        self._take_over()
        while entries := self._stream.read(self._worker, READ, after="0"):
            self._keep(entries)
        while entries := self._stream.read(self._worker, READ):
            self._keep(entries)
            if time.monotonic() > give_up_at:
                return True
        return False

    def _take_over(self) -> None:
        while taken := self._stream.claim(self._worker, READ, idle_s=self._claimed_after_s):
            log.warning("%d entries of a worker that is gone are taken over", len(taken))
            # Each alone: one of them may be what killed it.
            for each in taken:
                self._keep_suspect(each)

    def _keep_suspect(self, entry: Entry | Strange) -> None:
        if self._stream.begin(entry.id) >= MOST_TIMES and isinstance(entry, Entry):
            self._put_aside(entry, f"{MOST_TIMES - 1} workers died while they had it")
            self._stream.done([entry])
        else:
            try:
                self._keep([entry])
            except Exception:
                self._stream.end(entry.id)
                raise
        self._stream.end(entry.id)

    def _keep(self, found: Sequence[Entry | Strange]) -> None:
        for strange in found:
            if isinstance(strange, Strange):
                self._refuse(strange.id, strange.payload, strange.why)
                self._stream.done([strange])
        entries = [each for each in found if isinstance(each, Entry)]
        for group in groups(entries, self._batch):
            self._keep_group(group)
            crash.point("analytics.committed")
            self._stream.done(group)

    def _keep_group(self, group: Sequence[Entry]) -> None:
        try:
            events = [event for entry in group for event in entry.events()]
            self._store([entry.numbers for entry in group], events)
        except Exception as error:
            if not _is_its_own(error):
                raise
            log.warning("a batch can't be stored as a whole: %s", type(error).__name__)
            for entry in group:
                self._keep_alone(entry)

    def _keep_alone(self, entry: Entry) -> None:
        """Store each event of an entry by itself, and put those aside that can't be."""
        try:
            numbered = list(entry.numbered())
        except Unreadable as error:
            self._put_aside(entry, str(error))
            return
        for numbers, event in numbered:
            try:
                self._store([numbers], [event])
            except Exception as error:
                if not _is_its_own(error):
                    raise
                self._put_aside(entry, f"event {event.id}: {error}", numbers)

    def _store(self, numbers: Sequence[Numbers], events: Sequence[NewEvent]) -> None:
        new = in_transaction(_store, None, numbers, events)
        self.number += new
        telemetry.count("analytics.stored", new)

    def _put_aside(self, entry: Entry, why: str, numbers: Numbers | None = None) -> None:
        self._refuse(entry.id, entry.payload, why)
        in_transaction(analytics_producers.land, None, [numbers or entry.numbers], Fate.REFUSED)

    def _refuse(self, entry_id: str, payload: str, why: str) -> None:
        log.error("entry %s can't be stored: %s", entry_id, why[:300])
        self._stream.refuse(entry_id, payload, why)
        telemetry.count("analytics.refused")
        in_transaction(_tell_of_refused, None, entry_id)


def _store(session: Session, numbers: Sequence[Numbers], events: Sequence[NewEvent]) -> int:
    crash.point("analytics.taken")
    new = store(session, events)
    analytics_producers.land(session, numbers, Fate.STORED)
    return new


def _is_its_own(error: Exception) -> bool:
    """Whether an error is of what was to be stored, and not of the database at large."""
    if isinstance(error, SQLAlchemyError):
        return isinstance(error, DataError | IntegrityError) or error_number(error) in UNFIT
    return isinstance(error, (Unreadable, LookupError, ValueError, TypeError, ArithmeticError))


def settle(source: Stream) -> int:
    """Count as lost what can't be in the stream any more, and tell people; return how many.

    Raises:
        CacheAway: nothing can be said.
    """
    asked_at = wall()
    oldest_s = source.standing().oldest_s or 0.0
    before = asked_at - timedelta(seconds=oldest_s) - SURELY_THERE
    lost = in_transaction(analytics_producers.settle, None, before=before)
    if lost:
        log.error("%d accepted events are lost with what Redis lost", lost)
        telemetry.count("analytics.lost", lost)
        in_transaction(_tell_of_lost, None)
    return lost


def _tell_of_lost(session: Session) -> None:
    lost = analytics_producers.count(session).lost
    alerts.alert(
        session,
        "analytics_lost",
        severity=Severity.CRITICAL,
        message=f"Redis lost its data, and with it {lost} events that were accepted and not yet "
        "stored. The collector's page counts them; whoever sent them may send them again.",
        open_key="analytics_lost",
        detail={"lost": lost},
    )


def _tell_of_refused(session: Session, entry_id: str) -> None:
    alerts.alert(
        session,
        "analytics_refused",
        severity=Severity.WARNING,
        message="Events that were accepted can't be stored; they are put aside in Redis, in the "
        "stream analytics:refused, each with the reason.",
        open_key="analytics_refused",
        detail={"entry": entry_id},
    )
