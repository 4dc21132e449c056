"""The book: every object that a stand-in knows, kept through a kill by its journal.

All changes of one request are made under `lock` and journalled by one `commit()`, before the
answer is sent. Objects are plain dicts with an `id` and, as `object`, their kind; what only the
stand-in knows about one (how a card behaves) stands beside it in `traits`.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import orjson

from sandbox.standin.journal import Journal
from sandbox.standin.refusal import Refusal
from worker.shared_clock import GOES_FORWARD, MOST_S, SharedClock

Object = dict[str, Any]
"""What a stand-in knows about one thing."""


class Book(ABC):
    """Objects by id, in the order they were made, and the answers that idempotency keys saved."""

    indexed: ClassVar[Mapping[str, tuple[str, ...]]]
    """Each kind, and the fields that its objects are looked up by."""
    key_life_s: ClassVar[int]
    """How long an idempotency key lives unless what it saved says otherwise (`life_s`)."""

    def __init__(self, folder: Path, clock: SharedClock | None = None) -> None:
        """Read what the folder holds.

        Args:
            clock: the application's; without it the book's time is its own.
        """
        self.lock = threading.RLock()
        self._clock = clock
        self._journal = Journal(folder)
        self._forget()
        for change in self._journal.lines():
            self._apply(change)

    @abstractmethod
    def missing(self, kind: str, object_id: str, *, param: str) -> Refusal:
        """Return the provider's answer to an id that it doesn't know."""

    def _forget(self) -> None:
        self.traits: dict[str, dict[str, Any]] = {}
        self.saved: dict[str, Object] = {}
        self._ahead_s = 0
        self._objects: dict[str, Object] = {}
        self._ids: list[str] = []
        self._sequence: dict[str, int] = {}
        self._index: dict[tuple[str, ...], list[int]] = {}
        self._touched: dict[str, Object] = {}
        self._traits_touched: dict[str, dict[str, Any]] = {}
        self._undelivered: list[str] = []

    def _apply(self, change: dict[str, Any]) -> None:
        for touched in change.get("objects", ()):
            self._file(touched)
        self.traits |= change.get("traits", {})
        self.saved |= change.get("saved", {})
        if ahead_s := change.get("ahead_s"):
            self._reach(ahead_s)
        if event := self._objects.get(change.get("delivered", "")):
            event["pending_webhooks"] = 0

    def _file(self, touched: Object) -> None:
        object_id, kind = touched["id"], touched["object"]
        sequence = self._sequence.get(object_id)
        if sequence is None:
            sequence = self._sequence[object_id] = len(self._ids)
            self._ids.append(object_id)
            self._index.setdefault((kind,), []).append(sequence)
        self._objects[object_id] = touched
        for name in self.indexed[kind]:
            if value := touched.get(name):
                positions = self._index.setdefault((kind, name, value), [])
                at = bisect_left(positions, sequence)
                if at == len(positions) or positions[at] != sequence:
                    insort(positions, sequence)

    @property
    def ahead_s(self) -> int:
        """How far the stand-in's time is ahead of the machine's, in seconds."""
        return self._clock.ahead_s if self._clock else self._ahead_s

    def _reach(self, ahead_s: int) -> None:
        self._ahead_s = ahead_s
        if self._clock:
            # A shared one that was lost must not be behind what the book has on record.
            self._clock.reach(ahead_s)

    def now(self) -> int:
        """Return the stand-in's time in seconds since 1970; it can be advanced, never set back."""
        return int(time.time()) + self.ahead_s

    def put(self, touched: Object) -> Object:
        """Add an object, or mark one as changed."""
        self._file(touched)
        self._touched[touched["id"]] = touched
        return touched

    def note(self, object_id: str, **traits: Any) -> None:
        """Remember what the provider would not tell about an object."""
        known = self.traits.setdefault(object_id, {})
        known |= traits
        self._traits_touched[object_id] = known

    def known(self, object_id: str) -> dict[str, Any]:
        """Return what was noted about an object."""
        return self.traits.get(object_id, {})

    def get(self, kind: str, object_id: str, *, param: str = "id") -> Object:
        """Return an object.

        Raises:
            Refusal: the provider's answer to an id that it doesn't know.
        """
        found = self._objects.get(object_id)
        if found is None or found["object"] != kind:
            raise self.missing(kind, object_id, param=param)
        return found

    def after(self, kind: str, number: int) -> Iterator[Object]:
        """Yield the objects of a kind in the order they were made, without the first `number`."""
        for position in self._index.get((kind,), [])[number:]:
            yield self._objects[self._ids[position]]

    def newest_first(self, kind: str, **equal: Any) -> Iterator[Object]:
        """Yield the objects of a kind that have the given values."""
        positions = self._positions(kind, equal)
        return self._matching(reversed(positions), equal)

    def around(
        self, kind: str, equal: dict[str, Any], *, cursor: str, is_older: bool
    ) -> Iterator[Object]:
        """Yield what was made before `cursor`, newest first, or after it, oldest first."""
        self.get(kind, cursor, param="starting_after" if is_older else "ending_before")
        positions = self._positions(kind, equal)
        at = bisect_left(positions, self._sequence[cursor])
        if is_older:
            return self._matching(reversed(positions[:at]), equal)
        after = at + 1 if at < len(positions) and positions[at] == self._sequence[cursor] else at
        return self._matching(iter(positions[after:]), equal)

    def _positions(self, kind: str, equal: dict[str, Any]) -> list[int]:
        keys: list[tuple[str, ...]] = [
            (kind, name, value) for name, value in equal.items() if name in self.indexed[kind]
        ]
        return min((self._index.get(key, []) for key in keys or [(kind,)]), key=len)

    def _matching(self, positions: Iterator[int], equal: dict[str, Any]) -> Iterator[Object]:
        for position in positions:
            found = self._objects[self._ids[position]]
            if all(found.get(name) == value for name, value in equal.items()):
                yield found

    def events_of_commit(self) -> list[str]:
        """Return, once, the ids of the events that were committed since the last call."""
        undelivered, self._undelivered = self._undelivered, []
        return undelivered

    def commit(self, *, key: str | None = None, saved: Object | None = None) -> None:
        """Journal what was touched, and the answer that `key` remembers, as one line."""
        change: dict[str, Any] = {}
        if self._touched:
            change["objects"] = list(self._touched.values())
        if self._traits_touched:
            change["traits"] = self._traits_touched
        if key is not None and saved is not None:
            self.saved[key] = saved
            change["saved"] = {key: saved}
        if not change:
            return
        self._journal.append(change)
        self._undelivered += [i for i, o in self._touched.items() if o["object"] == "event"]
        self._touched, self._traits_touched = {}, {}

    def saved_answer(self, key: str) -> Object | None:
        """Return what `key` remembers, for its life in the stand-in's time."""
        saved = self.saved.get(key)
        if saved and self.now() - saved["at"] >= saved.get("life_s", self.key_life_s):
            del self.saved[key]
            return None
        return saved

    def delivered(self, event_id: str) -> None:
        """Note that an event was taken by its endpoint."""
        with self.lock:
            if event := self._objects.get(event_id):
                event["pending_webhooks"] = 0
                self._journal.append({"delivered": event_id})

    def advance(self, seconds: int) -> None:
        """Set the clock forward; a shared one for everybody.

        Raises:
            ValueError: backward, or by more than years.
        """
        with self.lock:
            if self._clock:
                self._clock.advance(seconds)
            elif 0 <= seconds <= MOST_S - self._ahead_s:
                self._ahead_s += seconds
            else:
                raise ValueError(GOES_FORWARD)
            self._journal.append({"ahead_s": self.ahead_s})

    def reset(self) -> None:
        """Forget everything, also on disk; of the time only what is not shared."""
        with self.lock:
            self._journal.clear()
            self._forget()


def frozen(shown: Object) -> orjson.Fragment:
    """Return an object as it is now, for good; far cheaper than a deep copy."""
    return orjson.Fragment(orjson.dumps(shown))
