"""Signed webhooks: sent by threads with a kept connection each, again with back-off until 2xx.

At least once and in no promised order, like the real ones. What has not been taken survives a kill
of the stand-in: the book knows it by the event's `pending_webhooks`.
"""

from __future__ import annotations

import heapq
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any, ClassVar
from urllib.parse import urlsplit
from uuid import uuid4

import orjson

from sandbox.standin.book import Book, Object

OK = range(200, 300)
TIMEOUT_S = 10.0
REMEMBERED = 20_000


@dataclass(kw_only=True)
class Rules:
    """How events go out; all of it can be changed while running."""

    url: str = ""
    """The endpoint; without one nothing is sent."""
    is_paused: bool = False
    delay_ms: int = 0
    duplicates: int = 0
    """How many times more each event is sent."""
    drop: int = 0
    """How many of the next events are never sent."""
    reorder: int = 0
    """Hold back this many events, then send them last first; a flush sends what is held."""
    one_at_a_time: bool = False
    """Wait for each answer before the next is sent, so that the order holds."""
    retry_first_ms: int = 200
    retry_most_ms: int = 5000


@dataclass(order=True)
class Delivery:
    """One event on its way to the endpoint."""

    due: float
    number: int
    event_id: str = field(compare=False)
    body: bytes = field(compare=False)
    attempt: int = field(compare=False, default=0)
    id: str = field(compare=False, default_factory=lambda: str(uuid4()))


class Deliveries(ABC):
    """The queue of events, and the threads that send them to `url`."""

    most_attempts: ClassVar[int | None] = None
    """How often an event is tried; None for no end."""

    def __init__(self, book: Book, *, url: str, threads: int = 4) -> None:
        self._usual_url = url
        self.rules = Rules(url=url)
        self.log: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        self._book = book
        self._queue: list[Delivery] = []
        self._held: list[Delivery] = []
        self._numbers = 0
        self._under_way = 0
        self._changed = threading.Condition()
        for number in range(threads):
            threading.Thread(
                target=self._send_for_ever, name=f"sender-{number}", daemon=True
            ).start()
        self.offer(
            [e["id"] for e in reversed(list(book.newest_first("event"))) if e["pending_webhooks"]]
        )

    @abstractmethod
    def headers(self, delivery: Delivery) -> dict[str, str]:
        """Return what goes over the body: the provider's signature."""

    def body(self, event: Object) -> bytes:
        """Return an event as it is sent."""
        return orjson.dumps(event)

    @property
    def endpoints(self) -> int:
        """How many endpoints an event is owed to: one or none."""
        return 1 if self.rules.url else 0

    def offer(self, event_ids: list[str]) -> None:
        """Queue events that were just committed."""
        if not event_ids or not self.rules.url:
            return
        bodies = [self.body(self._book.get("event", event_id)) for event_id in event_ids]
        with self._changed:
            for event_id, body in zip(event_ids, bodies, strict=True):
                self._offer_one(event_id, body)
            self._changed.notify_all()

    def _offer_one(self, event_id: str, body: bytes) -> None:
        rules = self.rules
        if rules.drop > 0:
            rules.drop -= 1
            return
        for _ in range(1 + rules.duplicates):
            delivery = self._delivery(event_id, body, rules.delay_ms)
            if rules.reorder:
                self._held.append(delivery)
            else:
                heapq.heappush(self._queue, delivery)
        if rules.reorder and len(self._held) >= rules.reorder:
            rules.reorder = 0
            self._release()

    def _delivery(self, event_id: str, body: bytes, delay_ms: int = 0) -> Delivery:
        self._numbers += 1
        return Delivery(time.monotonic() + delay_ms / 1000, self._numbers, event_id, body)

    def _release(self) -> None:
        for delivery in reversed(self._held):
            heapq.heappush(self._queue, self._delivery(delivery.event_id, delivery.body))
        self._held.clear()

    def change(self, **rules: Any) -> None:
        """Change the rules."""
        with self._changed:
            for name, value in rules.items():
                setattr(self.rules, name, value)
            self._changed.notify_all()

    def flush(self) -> int:
        """Send what is held, and what waits for its next try, now; return how many."""
        with self._changed:
            self._release()
            for delivery in self._queue:
                delivery.due = 0.0
            heapq.heapify(self._queue)
            self._changed.notify_all()
            return len(self._queue)

    def forget(self) -> None:
        """Drop everything that is queued and go back to the usual rules."""
        with self._changed:
            self._queue.clear()
            self._held.clear()
            self.log.clear()
            self.rules = Rules(url=self._usual_url)
            self._changed.notify_all()

    def resend(self, event_id: str, *, times: int) -> list[int]:
        """Send one event `times` times at once; return the statuses (0: no answer)."""
        body = self.body(self._book.get("event", event_id))
        statuses: list[int] = []

        def send() -> None:
            delivery = Delivery(0.0, 0, event_id, body)
            statuses.append(self._post(_connection(self.rules.url), delivery))

        senders = [threading.Thread(target=send) for _ in range(times)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        if any(status in OK for status in statuses):
            self._book.delivered(event_id)
        return statuses

    def state(self) -> dict[str, Any]:
        """Return how much is on its way."""
        with self._changed:
            return {
                "queued": len(self._queue),
                "held": len(self._held),
                "under_way": self._under_way,
                "rules": vars(self.rules),
            }

    def _send_for_ever(self) -> None:
        url = self.rules.url
        connection = _connection(url)
        while True:
            delivery = self._next()
            if url != self.rules.url:
                url = self.rules.url
                connection.close()
                connection = _connection(url)
            status = self._post(connection, delivery)
            if status in OK:
                self._book.delivered(delivery.event_id)
            with self._changed:
                if status not in OK:
                    self._again(delivery)
                self._under_way -= 1
                self._changed.notify_all()

    def _next(self) -> Delivery:
        with self._changed:
            while True:
                now = time.monotonic()
                may_send = self._queue and self._may_send()
                if may_send and self._queue[0].due <= now:
                    self._under_way += 1
                    return heapq.heappop(self._queue)
                self._changed.wait(self._queue[0].due - now if may_send else None)

    def _may_send(self) -> bool:
        rules = self.rules
        return not rules.is_paused and not (rules.one_at_a_time and self._under_way)

    def _again(self, delivery: Delivery) -> None:
        delivery.attempt += 1
        if delivery.attempt == self.most_attempts:
            return
        back_off_ms = self.rules.retry_first_ms * 2 ** min(delivery.attempt - 1, 20)
        delivery.due = time.monotonic() + min(back_off_ms, self.rules.retry_most_ms) / 1000
        heapq.heappush(self._queue, delivery)

    def _post(self, connection: HTTPConnection, delivery: Delivery) -> int:
        status = 0
        try:
            path = urlsplit(self.rules.url).path or "/"
            connection.request("POST", path, delivery.body, self.headers(delivery))
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, HTTPException):
            with suppress(OSError):
                connection.close()
        self.log.append({"event": delivery.event_id, "attempt": delivery.attempt, "status": status})
        return status


def _connection(url: str) -> HTTPConnection:
    target = urlsplit(url)
    return HTTPConnection(target.hostname or "", target.port or 80, timeout=TIMEOUT_S)
