"""Accepting events: into the stream, or straight into the table while Redis is away.

Each process is a producer: it numbers what it accepts, so that what Redis loses can be counted. How
far it has come it tells the database a few seconds after it has accepted something and when it
ends; what it had not told of when it was killed is all that a loss may leave uncounted.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
from collections.abc import Sequence
from functools import cache

from sqlalchemy.orm import Session

from models import analytics_producers
from models.analytics_events import NewEvent, store
from models.analytics_producers import Fate, Numbers
from models.ids import new_id
from worker import dispatch, telemetry
from worker.cache import CacheAway
from worker.collecting.entries import Entry, written
from worker.collecting.stream import Stream, stream
from worker.database import in_transaction
from worker.settings import settings

log = logging.getLogger(__name__)

# How long a process may have accepted what it has not told of.
TOLD_WITHIN_S = 5.0
FLUSH = "analytics.flush"


class Full(Exception):
    """So much waits already that nothing more is taken; it is to be sent again later."""


class Producer:
    """What one process accepts.

    Args:
        batch: how many events an entry holds at most, and at how many that wait a worker is rung.
        told_within_s: how long it may keep to itself how far it has come.
    """

    def __init__(self, into: Stream, *, batch: int, told_within_s: float = TOLD_WITHIN_S) -> None:
        self.id = new_id()
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._stream = into
        self._batch = batch
        self._told_within_s = told_within_s
        self._lock = threading.Lock()
        self._reserved = 0
        self._accepted = 0
        self._withdrawn: list[Numbers] = []
        self._timer: threading.Timer | None = None

    @property
    def accepted(self) -> int:
        """Return the highest number that was accepted."""
        return self._accepted

    def accept(self, events: Sequence[NewEvent]) -> None:
        """See to it that events are stored; when this returns, they will be.

        Raises:
            Full: nothing was accepted; the stream is over its limit.
            SQLAlchemyError: nothing was accepted; neither Redis nor the database took them.
        """
        numbers = self._reserve(len(events))
        try:
            self._put(numbers, events)
        except BaseException as error:
            self._withdraw(numbers, is_sure=isinstance(error, Full))
            raise
        self._accept(numbers)

    def tell(self) -> None:
        """Tell the database how far this process has come. Never raises."""
        with self._lock:
            self._timer = None
            accepted, withdrawn = self._accepted, self._withdrawn
            self._withdrawn = []
        try:
            in_transaction(analytics_producers.tell, None, self.id, self.name, accepted, withdrawn)
        except Exception as error:  # noqa: BLE001  nobody waits for it, and the next one tells all
            log.warning("%d accepted events are not told of: %s", accepted, error)
            with self._lock:
                self._withdrawn = [*withdrawn, *self._withdrawn]

    def _put(self, numbers: Numbers, events: Sequence[NewEvent]) -> None:
        try:
            added = self._stream.add(self._entries(numbers, events), batch=self._batch)
        except CacheAway as error:
            log.warning("Redis is away, %d events go to the database: %s", len(events), error)
            in_transaction(_store, None, numbers, events)
            telemetry.count("analytics.accepted", len(events), way="database")
            return
        if not added.is_taken:
            telemetry.count("analytics.turned_away", len(events))
            raise Full(f"{added.waiting} events wait to be stored")
        telemetry.count("analytics.accepted", len(events), way="stream")
        if added.rings:
            ring()

    def _entries(self, numbers: Numbers, events: Sequence[NewEvent]) -> list[Entry]:
        found = []
        for start in range(0, len(events), self._batch):
            part = events[start : start + self._batch]
            first = numbers.first + start
            of = Numbers(self.id, self.name, first, first + len(part) - 1)
            found.append(Entry("", of, written(part)))
        return found

    def _reserve(self, number: int) -> Numbers:
        with self._lock:
            first = self._reserved + 1
            self._reserved += number
            return Numbers(self.id, self.name, first, self._reserved)

    def _accept(self, numbers: Numbers) -> None:
        with self._lock:
            self._accepted = max(self._accepted, numbers.last)
            self._tell_soon()

    def _withdraw(self, numbers: Numbers, *, is_sure: bool) -> None:
        """Take numbers back: their caller is told that nothing was accepted.

        Args:
            is_sure: Redis has said no. One that said nothing may have them, and they are not to be
                given to others.
        """
        with self._lock:
            if is_sure and numbers.last == self._reserved:
                self._reserved = numbers.first - 1
            else:
                self._withdrawn.append(numbers)
                self._tell_soon()

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(self._told_within_s, self.tell)
            self._timer.daemon = True
            self._timer.start()


def ring() -> None:
    """Ring for whoever stores what waits; if nobody hears, beat rings within seconds."""
    try:
        dispatch.doorbell().ring([dispatch.ring_for(FLUSH)])
    except CacheAway as error:
        log.warning("the broker is away; beat will ring: %s", error)


def _store(session: Session, numbers: Numbers, events: Sequence[NewEvent]) -> None:
    store(session, events)
    analytics_producers.land(session, [numbers], Fate.STORED)


@cache
def producer() -> Producer:
    """Return this process as a producer; it tells how far it came when it ends."""
    made = Producer(stream(), batch=settings().analytics_batch_size)
    atexit.register(made.tell)
    return made


# A child is another producer: it must not number what it accepts as its parent does.
os.register_at_fork(after_in_child=producer.cache_clear)
