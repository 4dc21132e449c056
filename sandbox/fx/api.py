"""The public side: app id, faults, the newest rates and those of a past day.

The shapes of answers and errors are those of docs.openexchangerates.org, November 2026.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import orjson

from sandbox.fx import market
from sandbox.fx.book import Book
from sandbox.fx.faults import ANSWERED, STRIKING
from sandbox.standin.faults import SLOW, Faults, strike_after, strike_before
from sandbox.standin.wire import Answer, Request

PREFIX = "/api"
LATEST = f"{PREFIX}/latest.json"
HISTORICAL = re.compile(rf"{PREFIX}/historical/(\d{{4}}-\d\d-\d\d)\.json")
FIRST_DAY = date(1999, 1, 1)
BASE = "USD"
TERMS = {
    "disclaimer": "Usage subject to terms: https://openexchangerates.org/terms",
    "license": "https://openexchangerates.org/license",
}
GARBAGE = b"<html><body>This is no JSON.</body></html>"
# The word of each error, and what it tells a person.
ERRORS = {
    "missing_app_id": (401, "No App ID provided."),
    "invalid_app_id": (401, "Invalid App ID provided."),
    "not_allowed": (403, "Changing the API `base` currency is not in your plan."),
    "access_restricted": (429, "Access restricted for repeated over-use."),
    "not_found": (404, "There is no such resource."),
    "invalid_base": (400, "That is no base currency."),
    "internal_error": (500, "Something went wrong."),
}


class Refused(Exception):
    """An error of the source's own; the word names it."""


class Api:
    """Answers what a client of the API asks.

    Args:
        app_id: the only one that is taken; any, where it is empty.
    """

    def __init__(self, book: Book, faults: Faults, app_id: str) -> None:
        self.book = book
        self.faults = faults
        self.app_id = app_id

    def __call__(self, request: Request) -> Answer:
        """Answer one request, or hang up where a fault says so."""
        fault = self.faults.take(STRIKING, request.method, request.path)
        strike_before(fault, request)
        if slow := self.faults.take(SLOW, request.method, request.path):
            time.sleep(slow.delay_s)
        try:
            answer = self._answer(request, fault.kind if fault else "")
        except Refused as refused:
            answer = _error(str(refused))
        with self.book.lock:
            self.book.ask(request.method, request.path, answer.status)
        strike_after(fault, request)
        return answer

    def _answer(self, request: Request, fault: str) -> Answer:
        if fault in ANSWERED:
            raise Refused(ANSWERED[fault])
        query = dict(parse_qsl(request.query))
        self._check(request, query)
        if fault == "garbage":
            return Answer(200, GARBAGE, content_type="text/html")
        moment, hour = self._times(request.path)
        if query.get("base", BASE) != BASE:
            raise Refused("not_allowed")
        rates = self._rates(hour, query.get("symbols"))
        return _shown(moment, _spoilt(rates, fault), "" if fault == "no_base" else BASE)

    def _check(self, request: Request, query: Mapping[str, str]) -> None:
        """Read the app id: of address and header the address is believed."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        given = query.get("app_id") or (token if kind == "Token" else "")
        if not given:
            raise Refused("missing_app_id")
        if self.app_id and given != self.app_id:
            raise Refused("invalid_app_id")

    def _times(self, path: str) -> tuple[int, int]:
        """Return the time that an answer names, and a moment of the hour that its rates are of."""
        now = self.book.now()
        if path == LATEST:
            return now - now % market.HOUR_S, now
        match = HISTORICAL.fullmatch(path)
        day = _day(match[1]) if match else None
        today = datetime.fromtimestamp(now, UTC).date()
        if day is None or not FIRST_DAY <= day <= today:
            raise Refused("not_found")
        last = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
        moment = min(int(last.timestamp()), now)
        return moment, moment

    def _rates(self, moment: int, symbols: str | None) -> dict[str, Decimal]:
        with self.book.lock:
            rates = market.rates_at(moment) | self.book.rates()
        if symbols:
            rates = {name: rate for name, rate in rates.items() if name in symbols.split(",")}
        return rates


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _spoilt(rates: dict[str, Decimal], fault: str) -> dict[str, Decimal]:
    if fault == "zero":
        return rates | {"EUR": Decimal(0)}
    if fault == "negative":
        return rates | {"EUR": -rates["EUR"]}
    if fault == "truncated":
        return dict(sorted(rates.items())[: len(rates) // 4])
    return rates


def _shown(moment: int, rates: Mapping[str, Decimal], base: str) -> Answer:
    body: dict[str, Any] = {**TERMS, "timestamp": moment}
    if base:
        body["base"] = base
    numbers = {name: orjson.Fragment(f"{rate:f}") for name, rate in sorted(rates.items())}
    return Answer(200, orjson.dumps(body | {"rates": numbers}, option=orjson.OPT_INDENT_2))


def _error(word: str) -> Answer:
    status, told = ERRORS[word]
    body = {"error": True, "status": status, "message": word, "description": told}
    return Answer(status, orjson.dumps(body))
