"""Threads that move one at a time and only when told: any interleaving can be had, and had again.

A `Hand` is what one process does: a worker with a task, a web server with a request. It runs until
it reaches a point (`worker.crash.point`, a call to a provider) and stands there until it is told
to go on, or to die there as a process does that is killed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, event, text
from sqlalchemy.orm import Session

from models.clock import now
from worker import app, crash, database, together
from worker.gateways.wire import Wire
from worker.group_commit import GroupCommit

PATIENCE_S = 240.0
# Longer than any step takes; what stands still after it is a deadlock among the hands.
LOOK_S, LOOKS = 0.05, 100
WAITING_MS = 100
# A statement that takes so long waits for a lock of another's.
WAITS = text(
    "SELECT 1 FROM information_schema.processlist"
    f" WHERE id = :connection AND command = 'Query' AND time_ms > {WAITING_MS}"
)
IN_FLIGHT = timedelta(minutes=10)
# A request may be under way for so long; who stood still for longer finds its deadline past.
LONGEST = timedelta(hours=4)
# No host is halted for longer between the claim of a call and the call, and then goes on with it:
# it would send under a key that may be forgotten, as it looks at no clock in between.
COMMIT = "the commit"
WRITTEN = "simulation:written"


class Killed(BaseException):
    """The process ends here, as by SIGKILL: nothing that follows may be done."""


class Hand:
    """What one process does, a step at a time.

    Args:
        work: what is done.
        dies_at: which of the points on its way it does not get past, counted from 1.
    """

    def __init__(
        self, name: str, work: Callable[[], object], *, dies_at: int | None = None
    ) -> None:
        self.name = name
        self.at = "the start"
        self.error: BaseException | None = None
        self.result: Any = None
        self.is_done = False
        self.is_dead = False
        self._began = now()
        self.is_free = False
        self.connection_id = 0  # of the database, which it used last
        self._work = work
        self._left = dies_at
        self._commits = 0
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def go(self) -> bool:
        """Go on to the next point; return whether there was one."""
        self._go.release()
        if not self._stopped.acquire(timeout=PATIENCE_S):
            raise AssertionError(f"{self.name} hangs after {self.at}")
        return not self.is_done

    def finish(self) -> None:
        """Go on to the end."""
        while self.go():
            pass

    def go_to_commit(self, number: int) -> bool:
        """Go on to before the next commit of what was written, or a later one; False if none."""
        self._commits = number
        while self.go():
            if self.at == COMMIT:
                return True
        return False

    def race(self, other: Hand) -> None:
        """Stand where it stands while `other` does all that it can, then both go on to the end.

        What the other needs and this one holds, it waits for: that is no hanging.
        """
        other.is_free = True
        other._go.release()
        for _ in range(LOOKS):
            if (has_ended := other._stopped.acquire(timeout=LOOK_S)) or other._waits_for_a_lock():
                break
        self.finish()
        if not has_ended and not other._stopped.acquire(timeout=PATIENCE_S):
            raise AssertionError(f"{other.name} hangs after {other.at}")

    def _waits_for_a_lock(self) -> bool:
        with database.engine().connect() as connection:
            return bool(connection.scalar(WAITS, {"connection": self.connection_id}))

    def kill(self) -> None:
        """Die where it stands."""
        self._left = 0
        self.finish()

    def _run(self) -> None:
        _HERE.hand, _HERE.in_transaction = self, 0
        self._go.acquire()
        try:
            self._die_if_told()
            self.result = self._work()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  whoever told it to go on is shown it
            self.error = error
        self.is_done = True
        self._stopped.release()

    def reach(self, point: str) -> None:
        """Stand at a point, or pass it where others would wait for this hand for ever."""
        if self.is_dead:
            raise Killed(point)
        self.at = point
        if self._left is not None:
            self._left -= 1
        self._die_if_told()
        if not _HERE.in_transaction and not self.is_free:
            self._stand()

    def reach_commit(self, *, has_written: bool) -> None:
        """Commit nothing any more once dead; stand before it where a race wants it."""
        if self.is_dead:
            raise Killed("a process that is dead writes nothing")
        self._commits -= has_written
        if has_written and self._commits == 0:
            self.at = COMMIT
            self._stand()

    def die_of_age(self) -> None:
        """Die if it has been kept from a call for longer than any process is stopped."""
        if now() - self._began > LONGEST and not self.is_dead:
            self.is_dead = True
            raise Killed(self.at)

    def _stand(self) -> None:
        self._stopped.release()
        self._go.acquire()
        self._die_if_told()

    def _die_if_told(self) -> None:
        if self._left is not None and self._left <= 0:
            self.is_dead = True
            raise Killed(self.at)


_HERE = threading.local()


def reach(point: str) -> None:
    """Let the hand of this thread stand at `point`; nothing for other threads."""
    hand = getattr(_HERE, "hand", None)
    if hand is not None:
        hand.reach(point)


def _set_out(deadline: float) -> float:
    """Stand before a call; return until when it may be sent."""
    came = now()
    reach("before the call")
    hand = getattr(_HERE, "hand", None)
    if hand is not None:
        hand.die_of_age()
    return deadline if now() - came < IN_FLIGHT else 0.0


def _before_commit(session: Session) -> None:
    hand = getattr(_HERE, "hand", None)
    if hand is not None:
        has_written = session.info.get(WRITTEN) or session.new or session.dirty or session.deleted
        hand.reach_commit(has_written=bool(has_written))


def _after_begin(_session: Session, _: object, connection: Connection) -> None:
    hand = getattr(_HERE, "hand", None)
    if hand is not None:
        driver: Any = connection.connection.dbapi_connection
        hand.connection_id = driver.thread_id()


def _after_flush(session: Session, _: object) -> None:
    session.info[WRITTEN] = True


@contextmanager
def points(through: Callable[..., Any]) -> Iterator[None]:
    """Have hands stand at crash points and around each call to a provider.

    No two of them are in one process: what one runs does not keep another from the same, and
    nobody's work is done in another's group.

    Args:
        through: makes each call; is given what makes it and what it is.
    """
    send, transaction = Wire.send, database.transaction

    def sent(self: Wire, *given: Any, deadline: float, **more: Any) -> Any:
        deadline = _set_out(deadline)
        try:
            return through(partial(send, self, *given, deadline=deadline, **more), *given, **more)
        finally:
            reach("after the call")

    def put_alone(self: Any, item: Any, **_: Any) -> Any:
        [answer], follow = self._flush([item])
        follow()
        if isinstance(answer, Exception):
            raise answer
        return answer

    @contextmanager
    def stood_in(**given: Any) -> Iterator[Any]:
        with transaction(**given) as session:
            # Whoever stands here holds rows that others would wait for in vain.
            _HERE.in_transaction = getattr(_HERE, "in_transaction", 0) + 1
            try:
                yield session
            finally:
                _HERE.in_transaction -= 1

    @contextmanager
    def alone(_: object) -> Iterator[bool]:
        yield True

    with ExitStack() as patches:
        for happening, listener in (
            ("after_begin", _after_begin),
            ("before_commit", _before_commit),
            ("after_flush", _after_flush),
        ):
            event.listen(Session, happening, listener)
            patches.callback(event.remove, Session, happening, listener)
        for where, name, new in (
            (crash, "point", reach),
            (Wire, "send", sent),
            (GroupCommit, "put", put_alone),
            (database, "transaction", stood_in),
            (together, "transaction", stood_in),
            (app, "_alone_here", alone),
        ):
            patches.enter_context(patch.object(where, name, new))
        yield
