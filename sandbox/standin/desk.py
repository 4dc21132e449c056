"""The side that only tests and people use, `/sandbox/…`: the book, faults, webhooks, the clock."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import orjson

from sandbox.standin.book import Book, Object
from sandbox.standin.deliveries import Deliveries, Rules
from sandbox.standin.faults import Faults
from sandbox.standin.refusal import Refusal
from sandbox.standin.wire import Answer, Request

UNITS_S = {"d": 24 * 60 * 60, "h": 60 * 60, "m": 60, "s": 1}
PART = re.compile(r"([0-9]{1,9})([dhms])")
SPAN = re.compile(rf"(?:{PART.pattern})+")
Body = dict[str, Any]
Deed = Callable[[Any, Body], Object]
"""Takes the provider's Call and a body that carries the path's id; returns what was changed."""


class Desk(ABC):
    """Answers `/sandbox/…`; a provider adds its deeds, its pages and its way to count charges."""

    deeds: ClassVar[Mapping[tuple[str, str], Deed]]

    def __init__(self, book: Book, faults: Faults, deliveries: Deliveries) -> None:
        self.book = book
        self.faults = faults
        self.deliveries = deliveries
        self._plain: dict[tuple[str, str], Callable[[Body], Any]] = {
            ("GET", "health"): lambda _: {"status": "ok"},
            ("GET", "book"): self._whole_book,
            ("GET", "charges"): self._charges,
            ("GET", "totals"): lambda _: self._totals(),
            ("GET", "clock"): lambda _: self._clock(),
            ("POST", "clock"): self._advance,
            ("GET", "events"): self._events,
            ("GET", "faults"): lambda _: {"faults": faults.shown()},
            ("POST", "faults"): self._fault,
            ("DELETE", "faults"): lambda _: self._clear_faults(),
            ("GET", "webhooks"): lambda _: deliveries.state() | {"log": list(deliveries.log)},
            ("POST", "webhooks"): self._rules,
            ("POST", "webhooks/flush"): lambda _: {"sent": deliveries.flush()},
            ("POST", "webhooks/resend"): self._resend,
            ("POST", "webhooks/taken"): self._taken,
            ("POST", "reset"): lambda _: self._reset(),
        }

    @abstractmethod
    def call(self, request: Request) -> Any:
        """Return the provider's Call for one deed."""

    @abstractmethod
    def page(self, request: Request, path: str) -> Answer | None:
        """Answer what is no JSON, if `path` is such a thing."""

    @abstractmethod
    def charges(self, transaction_id: str | None) -> list[Object]:
        """Return the charges, of one transaction of ours where given, oldest first."""

    @abstractmethod
    def whole_book(self) -> Object:
        """Return every object, `by_transaction` and `totals`."""

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        path = request.path.removeprefix("/sandbox").strip("/")
        try:
            return self.page(request, path) or Answer(
                200, orjson.dumps(self._answer(request, path))
            )
        except Refusal as refusal:
            told = refusal
        except (KeyError, TypeError) as error:
            told = Refusal(f"That is not what {path} takes: {error!r}")
        return Answer(told.status, orjson.dumps({"error": {"message": str(told)}}))

    def _answer(self, request: Request, path: str) -> Any:
        body = _body(request)
        if plain := self._plain.get((request.method, path)):
            return plain(body)
        noun, _, rest = path.partition("/")
        object_id, _, verb = rest.partition("/")
        shape = noun + ("/*" if object_id else "") + (f"/{verb}" if verb else "")
        deed = self.deeds.get((request.method, shape))
        if deed is None:
            raise Refusal(f"The sandbox has no {request.method} {path}", status=404)
        return self.done(request, deed, body | ({"id": object_id} if object_id else {}))

    def done(self, request: Request, deed: Deed, body: Body) -> Object:
        """Do a deed in the book and deliver its events."""
        call = self.call(request)
        with self.book.lock:
            try:
                done = dict(deed(call, body))
            finally:
                for follow in call.afterwards:
                    follow()
                self.book.commit()
                events = self.book.events_of_commit()
                self.deliveries.offer(events)
        return done

    def _whole_book(self, _: Body) -> Object:
        with self.book.lock:
            shown = self.whole_book() | {"now": self.book.now()}
            return orjson.loads(orjson.dumps(shown))  # type: ignore[no-any-return]

    def _totals(self) -> Object:
        with self.book.lock:
            return {"totals": self.whole_book()["totals"], "now": self.book.now()}

    def _charges(self, body: Body) -> Object:
        with self.book.lock:
            return {"charges": [dict(one) for one in self.charges(body.get("transaction_id"))]}

    def _events(self, body: Body) -> Object:
        with self.book.lock:
            return {"events": list(self.book.after("event", int(body.get("after", 0))))}

    def _taken(self, body: Body) -> Object:
        for event_id in body["events"]:
            self.book.delivered(event_id)
        return self.deliveries.state()

    def _clock(self) -> Object:
        now = self.book.now()
        at = datetime.fromtimestamp(now, UTC).isoformat()
        return {"now": now, "at": at, "ahead_s": self.book.ahead_s}

    def _advance(self, body: Body) -> Object:
        seconds = _seconds(body)
        try:
            self.book.advance(seconds)
        except ValueError as error:
            raise Refusal(str(error)) from None
        return self._clock()

    def _fault(self, body: Body) -> Object:
        self.faults.add(body)
        return {"faults": self.faults.shown()}

    def _clear_faults(self) -> Object:
        self.faults.clear()
        return {"faults": []}

    def _rules(self, body: Body) -> Object:
        for name in body.keys() - vars(Rules()).keys():
            raise Refusal(f"Webhooks have no {name}")
        self.deliveries.change(**body)
        return self.deliveries.state()

    def _resend(self, body: Body) -> Object:
        return {"statuses": self.deliveries.resend(body["event"], times=body.get("times", 1))}

    def _reset(self) -> Object:
        self.faults.clear()
        self.deliveries.forget()
        self.book.reset()
        return {"status": "ok"}


def _seconds(body: Body) -> int:
    """Return what is asked for as `{"advance_s": 90}` or `{"advance": "1d12h"}`."""
    seconds, words = body.get("advance_s"), body.get("advance")
    if words is None and isinstance(seconds, int) and not isinstance(seconds, bool):
        return seconds
    if seconds is None and isinstance(words, str) and SPAN.fullmatch(words):
        return sum(int(number) * UNITS_S[unit] for number, unit in PART.findall(words))
    raise Refusal("The clock takes advance_s in seconds, or advance such as 24h, 90m or 1d12h.")


def _body(request: Request) -> Body:
    if request.method == "GET" or not request.body:
        return dict(parse_qsl(request.query))
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise Refusal("The body must be JSON.") from None
    if not isinstance(body, dict):
        raise Refusal("The body must be a JSON object.")
    return body
