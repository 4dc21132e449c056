"""Threads that move one at a time and only when told: any interleaving can be had, and had again.

A `Hand` is what one process does: a worker with a task, a web server with a request. It runs until
it reaches a point (`worker.crash.point`, a call to a provider) and stands there until it is told
to go on, or to die there as a process does that is killed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from worker import app, crash, database
from worker.gateways.wire import Wire
from worker.group_commit import GroupCommit

PATIENCE_S = 60.0
# Longer than any step takes; what stands still after it is a deadlock among the hands.


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
        self._work = work
        self._left = dies_at
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

    def kill(self) -> None:
        """Die where it stands."""
        self._left = 0
        self.finish()

    def _run(self) -> None:
        _HERE.hand, _HERE.in_lane = self, 0
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
        if not _HERE.in_lane:
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


@contextmanager
def points() -> Iterator[None]:
    """Have hands stand at crash points and around each call to a provider.

    No two of them are in one process: what one runs does not keep another from the same.
    """
    send, put, transaction = Wire.send, GroupCommit.put, database.transaction

    def sent(self: Wire, *given: Any, **more: Any) -> Any:
        reach("before the call")
        try:
            return send(self, *given, **more)
        finally:
            reach("after the call")

    def put_in_lane(self: Any, *given: Any, **more: Any) -> Any:
        # Others would wait for the lane in vain while its holder stands at a point.
        _HERE.in_lane = getattr(_HERE, "in_lane", 0) + 1
        try:
            return put(self, *given, **more)
        finally:
            _HERE.in_lane -= 1

    @contextmanager
    def of_the_living(**given: Any) -> Iterator[Any]:
        hand = getattr(_HERE, "hand", None)
        if hand is not None and hand.is_dead:
            raise Killed("a process that is dead writes nothing")
        with transaction(**given) as session:
            # Nor may it stand while it holds rows; the commit comes after this.
            _HERE.in_lane = getattr(_HERE, "in_lane", 0) + 1
            try:
                yield session
            finally:
                _HERE.in_lane -= 1

    @contextmanager
    def alone(_: object) -> Iterator[bool]:
        yield True

    with ExitStack() as patches:
        for where, name, new in (
            (crash, "point", reach),
            (Wire, "send", sent),
            (GroupCommit, "put", put_in_lane),
            (database, "transaction", of_the_living),
            (app, "_alone_here", alone),
        ):
            patches.enter_context(patch.object(where, name, new))
        yield
