"""Open Exchange Rates: `latest.json` and `historical/<day>.json`.

The app id is sent as a header, which the source takes beside its query parameter: an address is
logged on many ways, a header on none. Numbers are read as decimals, from the digits that came.

An answer has `timestamp`, `base` and `rates`; an error `error`, `status`, `message` (a word such as
`invalid_app_id`) and `description`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, NamedTuple

from models.fx import OPEN_EXCHANGE_RATES
from models.fx_fetches import Sheet
from worker.gateways import wire
from worker.gateways.base import GatewayError, Rejected, Unavailable
from worker.gateways.calls import Calls, of_a_read
from worker.gateways.wire import LOST, Wire
from worker.settings import settings

LIVE = "https://openexchangerates.org"
OK = 200
TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500
# Said with 429 too: no patience helps, as the plan does not have what was asked for.
NOT_ALLOWED = "not_allowed"
THREADS = 2
# A word for a machine; anything else that stands there is not repeated.
LONGEST_WORD = 40
# The year 9999, beyond which there is no time in Python.
LATEST_S = 253_000_000_000


class SourceError(Exception):
    """An answer that is no success, or none at all: then `cause` tells why."""

    def __init__(
        self,
        *,
        status: int = 0,
        word: str = "",
        headers: Mapping[str, str] | None = None,
        cause: Exception | None = None,
    ) -> None:
        super().__init__(f"status {status}" if status else f"no answer: {type(cause).__name__}")
        self.status = status
        self.word = word
        self.headers = headers or {}
        self.cause = cause


class Answer(NamedTuple):
    """The JSON of a success, and no request id: this source gives none."""

    body: Mapping[str, Any]
    request_id: str


class OpenExchangeRates:
    """The API at `base`. Thread-safe."""

    name = OPEN_EXCHANGE_RATES

    def __init__(self, *, app_id: str, base: str, timeout_s: float) -> None:
        self._address = f"{base.rstrip('/')}/api"
        self._headers = {"Accept": "application/json", "Authorization": f"Token {app_id}"}
        self._timeout_s = timeout_s
        self._wire = Wire(threads=THREADS)

    def close(self) -> None:
        """Drop the idle connections."""
        self._wire.close()

    def latest(self) -> Sheet:
        """Return the newest rates.

        Raises:
            Unavailable: it told nothing; later it may.
            Rejected: it refuses us; a person must see why.
        """
        return calls.read("latest", lambda: self._get("/latest.json"), sheet_of)

    def historical(self, day: date) -> Sheet:
        """Return the last rates of a past day, in UTC. Raises as `latest` does."""
        path = f"/historical/{day.isoformat()}.json"
        return calls.read("historical", lambda: self._get(path), sheet_of)

    def _get(self, path: str) -> Answer:
        lost: Exception | None = None
        try:
            raw, status, met = self._wire.send(
                "GET",
                self._address + path,
                headers=self._headers,
                body=None,
                deadline=time.monotonic() + self._timeout_s,
            )
        except LOST as error:
            lost = error
        if lost is not None:
            raise SourceError(cause=lost)
        body = _json(raw)
        if status != OK or body.get("error"):
            raise SourceError(status=status, word=_word(body), headers=met)
        return Answer(body, "")


def _json(raw: bytes) -> Mapping[str, Any]:
    """Read an object with exact numbers; what is none is empty."""
    try:
        found = json.loads(raw, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError, InvalidOperation):
        return {}
    return found if isinstance(found, dict) else {}


def _no_number(word: str) -> Decimal:
    raise ValueError(f"{word} is no number")


def _word(body: Mapping[str, Any]) -> str:
    word = body.get("message")
    is_word = isinstance(word, str) and word.replace("_", "").isalnum()
    return str(word)[:LONGEST_WORD] if is_word else ""


def sheet_of(body: Mapping[str, Any], _request_id: str) -> Sheet:
    """Read a sheet. LookupError, TypeError or ValueError where it is none."""
    told = body["rates"]
    if not isinstance(told, dict) or not told:
        raise ValueError("no rates")
    return Sheet(
        source=OPEN_EXCHANGE_RATES,
        base=str(body.get("base") or ""),
        as_of=datetime.fromtimestamp(_whole(body["timestamp"]), UTC),
        rates={str(currency): _decimal(rate) for currency, rate in told.items()},
    )


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("no timestamp")
    if not 0 < value < LATEST_S:
        raise ValueError("no time")
    return value


def _decimal(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise TypeError("no rate")
    return Decimal(value)


def failure_of(error: SourceError, *, is_read: bool) -> GatewayError:
    """Return what a failed call means; all of them only look."""
    if error.cause is not None:
        failure = wire.failure_of(error.cause)
        return of_a_read(failure) if is_read else failure
    code = error.word or f"http_{error.status}"
    message = f"the source answered {error.status}"
    if error.status == TOO_MANY_REQUESTS and error.word != NOT_ALLOWED:
        return Unavailable(
            message=message,
            code=code,
            http_status=error.status,
            retry_after_s=wire.retry_after_s(error.headers),
        )
    if error.status == OK or not 400 <= error.status < SERVER_ERROR:  # noqa: PLR2004  ours to mend
        return Unavailable(message=message, code=code, http_status=error.status)
    return Rejected(message=message, code=code, http_status=error.status)


calls = Calls(
    provider=OPEN_EXCHANGE_RATES,
    errors=(SourceError,),
    failure_of=failure_of,
    answer_of=lambda answer: answer,
    not_executed=frozenset(),
)


@cache
def source() -> OpenExchangeRates:
    """Return this process's one door to the source.

    Raises:
        Rejected: it is not set up.
    """
    chosen = settings()
    if not chosen.has_exchange_rates:
        raise Rejected(message="no source of exchange rates is set up", code="not_set_up")
    return OpenExchangeRates(
        app_id=chosen.openexchangerates_app_id,
        base=chosen.openexchangerates_base or LIVE,
        timeout_s=chosen.openexchangerates_timeout_s,
    )
