"""Group commit: many threads bring one item each, a few transactions carry them all.

Whoever finds a lane free leads: it flushes its own item at once. Those who come meanwhile wait;
when the leader is done, the first of them leads with all that wait as its group. So a lone item
never waits for company, and under load the groups grow by themselves.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Flush = Callable[[list[Item]], tuple[Sequence[Answer | Exception], Callable[[], None]]]
Defer = Callable[[Callable[[], None]], None]


def at_once(work: Callable[[], None]) -> None:
    """Do it now: the `Defer` of who cannot wait."""
    work()


class Hopeless(Exception):
    """Raised by a flush: whoever waits now would meet the same, so all are told at once."""


class _Waiting(Generic[Item, Answer]):
    __slots__ = ("answer", "bell", "group", "item", "size")

    def __init__(self, item: Item, size: int) -> None:
        self.item = item
        self.size = size
        self.bell = threading.Lock()
        self.bell.acquire()
        self.answer: Answer | Exception | None = None
        self.group: list[_Waiting[Item, Answer]] | None = None

    def tell(self, answer: Answer | Exception) -> None:
        self.answer = answer
        self.bell.release()


class GroupCommit(Generic[Item, Answer]):
    """Joins the items of many threads into groups for `flush`.

    Args:
        flush: takes a group; returns an answer or an error for each item, and what is done once
            all of them have been told. An error that it raises is everybody's.
        lanes: how many groups may be under way at once.
        most: items of a group at most.
        largest: size of a group at most, unless one item alone is larger.
    """

    def __init__(
        self, flush: Flush[Item, Answer], *, lanes: int = 1, most: int = 64, largest: int = 1 << 22
    ) -> None:
        self._flush = flush
        self._most = most
        self._largest = largest
        self._lock = threading.Lock()
        self._free_lanes = lanes
        self._queue: deque[_Waiting[Item, Answer]] = deque()

    @property
    def waiting(self) -> int:
        """How many stand in line for the next group."""
        return len(self._queue)

    def put(self, item: Item, *, size: int, defer: Defer = at_once) -> Answer:
        """Return the item's answer, or raise its error; waits no longer than two flushes last.

        Args:
            defer: is given what follows the flush, when the item's thread has led its group.
        """
        mine: _Waiting[Item, Answer] = _Waiting(item, size)
        with self._lock:
            # A lane is free only while nobody waits: who ends one hands it on.
            if self._free_lanes:
                self._free_lanes -= 1
                mine.group = [mine]
            else:
                self._queue.append(mine)
        if mine.group is None:
            mine.bell.acquire()
        if mine.group is not None:
            self._lead(mine.group, defer)
        if isinstance(mine.answer, Exception):
            raise mine.answer
        return cast(Answer, mine.answer)

    def _lead(self, group: list[_Waiting[Item, Answer]], defer: Defer) -> None:
        answers: Sequence[Answer | Exception] = []
        afterwards: Callable[[], None] | None = None
        try:
            answers, afterwards = self._flush([waiting.item for waiting in group])
        except Hopeless as error:
            group = [*group, *self._drain()]
            answers = [error] * len(group)
        except Exception as error:  # noqa: BLE001  each of them raises it
            answers = [error] * len(group)
        finally:
            self._hand_on()
            self._tell(group, answers)
        if afterwards is not None:
            defer(afterwards)

    @staticmethod
    def _tell(group: list[_Waiting[Item, Answer]], answers: Sequence[Answer | Exception]) -> None:
        lost = RuntimeError("the leader of this group was stopped")
        for number, waiting in enumerate(group):
            waiting.tell(answers[number] if number < len(answers) else lost)

    def _drain(self) -> list[_Waiting[Item, Answer]]:
        with self._lock:
            waiting = list(self._queue)
            self._queue.clear()
        return waiting

    def _hand_on(self) -> None:
        with self._lock:
            if not self._queue:
                self._free_lanes += 1
                return
            leader = self._queue[0]
            leader.group = self._take()
        leader.bell.release()

    def _take(self) -> list[_Waiting[Item, Answer]]:
        group = [self._queue.popleft()]
        size = group[0].size
        while self._queue and len(group) < self._most:
            size += self._queue[0].size
            if size > self._largest:
                break
            group.append(self._queue.popleft())
        return group
