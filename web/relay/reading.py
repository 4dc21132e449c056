"""Reading what a client missed from the streams: a few threads for all who ask."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from typing import Protocol

from worker.cache import CacheAway
from worker.channels import Channels, History, Place

log = logging.getLogger(__name__)

Question = tuple[str, Place]

THREADS = 4
AGAIN_S = 0.5
# When to ask again while Redis is away.


class Answer(Protocol):
    """Who is told what was read."""

    def told(
        self,
        client_ref: object,
        since: Place,
        messages: Sequence[tuple[int, bytes]] | None,
        place: Place,
        reason: str | None,
    ) -> None:
        """After `since` came these, up to `place`; or None, and why it cannot be told."""


class Readers:
    """A few threads that read streams; who asks the same while it is asked gets the same answer.

    While Redis is away every question waits; all are answered when it is back.
    """

    def __init__(self, channels: Channels, *, threads: int = THREADS) -> None:
        self._channels = channels
        self._questions: queue.SimpleQueue[Question | None] = queue.SimpleQueue()
        self._waiting: dict[Question, list[object]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"relay-reader-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self, answers: Answer) -> None:
        """Begin to answer."""
        self._answers = answers
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads; questions that wait are not answered."""
        self._stopping.set()
        for _ in self._threads:
            self._questions.put(None)
        for thread in self._threads:
            thread.join()

    def ask(self, channel: str, client_ref: object, since: Place) -> None:
        """Have `told` called with what came after `since`. Does not block."""
        question = (channel, since)
        with self._lock:
            waiting = self._waiting.get(question)
            if waiting is not None:
                waiting.append(client_ref)
                return
            self._waiting[question] = [client_ref]
        self._questions.put(question)

    def _run(self) -> None:
        while (question := self._questions.get()) is not None:
            history = self._read(*question)
            if history is None:
                return
            with self._lock:
                waiting = self._waiting.pop(question)
            messages = None if history.lost else history.messages
            for client_ref in waiting:
                self._answers.told(client_ref, question[1], messages, history.head, history.lost)

    def _read(self, channel: str, since: Place) -> History | None:
        """Return what came after, however long it takes; None when it is time to stop."""
        while not self._stopping.is_set():
            try:
                return self._channels.since(channel, since)
            except CacheAway:
                pass
            except Exception:
                # It must not end the thread: the others' questions wait behind it.
                log.exception("channel %s cannot be read", channel)
            self._stopping.wait(AGAIN_S)
        return None
