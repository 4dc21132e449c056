"""Events as documents of Elasticsearch or OpenSearch, by `_bulk`.

NDJSON: an action line `{"index": {"_id": …}}` and the document, for each event. An event's id is
its document's, so what is sent twice is there once. An answer of 200 may still hold errors of
single documents: those that were too many (429) or failed there (5xx) are sent again, alone; what
is refused for good is a `Rejected` that names the first.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from uuid import UUID

from worker.gateways.base import Rejected, Unavailable
from worker.gateways.wire import LOST, Wire, retry_after_s
from worker.settings import settings

# Some hundred kilobytes, well below what a node takes at once.
BULK = 1_000
# Tries of what was too many, with a pause that doubles from the first; then the batch waits.
TRIES = 4
PAUSE_S = 0.5
OK, TOO_MANY, SERVER_ERROR = 200, 429, 500
FIELDS = (
    *("company_id", "event_type", "name", "source", "user_id", "module_id", "amount", "currency"),
    *("quantity", "dimension", "metadata", "date", "export_id"),
)


def index(events: Iterable[Mapping[str, Any]]) -> int:
    """Send events; return how many. Safe twice.

    Raises:
        Unavailable: it is away, or has too much to do; later it may not.
        Rejected: a document or the request is refused; a person must see why.
    """
    rest, number = iter(events), 0
    while chunk := list(islice(rest, BULK)):
        _send(chunk)
        number += len(chunk)
    return number


def _send(events: Sequence[Mapping[str, Any]]) -> None:
    """Send some events, and those again that were too many at once."""
    left = list(events)
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_S * 2 ** (attempt - 1))
        left = _bulk(left)
        if not left:
            return
    raise Unavailable(message=f"{len(left)} documents were not taken", code="busy")


def _bulk(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Send one request; return the events that may be taken later."""
    address, headers = _where()
    try:
        raw, status, met = _wire().send(
            "POST",
            address,
            headers=headers,
            body=b"".join(_lines(events)),
            deadline=time.monotonic() + settings().elasticsearch_timeout_s,
        )
    except LOST as error:
        raise Unavailable(message=f"no answer ({type(error).__name__})", code="away") from None
    if status == TOO_MANY:
        return list(events)
    if status >= SERVER_ERROR:
        wait_s = retry_after_s(met)
        raise Unavailable(message=f"status {status}", code="away", retry_after_s=wait_s)
    if status != OK:
        raise Rejected(message=f"status {status}: {_reason(raw)}", http_status=status)
    return list(_to_send_again(events, _read(raw)))


def _to_send_again(
    events: Sequence[Mapping[str, Any]], answer: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Yield what was not taken and may be; what is refused for good raises."""
    items = answer.get("items")
    if not isinstance(items, list) or len(items) != len(events):
        raise Unavailable(message="an answer that tells not of each document", code="garbled")
    for event, item in zip(events, items, strict=True):
        told = item.get("index") or {}
        status = told.get("status", SERVER_ERROR)
        if status == TOO_MANY or status >= SERVER_ERROR:
            yield event
        elif status >= 300:  # noqa: PLR2004  HTTP's own: 200 and 201 are taken
            error = told.get("error") or {}
            raise Rejected(
                message=f"document {event['id']} is refused ({error.get('type')}): "
                f"{str(error.get('reason'))[:300]}",
                http_status=status,
            )


def _lines(events: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    for event in events:
        document = {"@timestamp": event["timestamp"], **{name: event[name] for name in FIELDS}}
        action = {"index": {"_id": str(event["id"])}}
        for line in (action, document):
            yield json.dumps(line, default=_plain).encode() + b"\n"


def _plain(value: Any) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        # As text: a number would be rounded on its way through JSON.
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _read(raw: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _reason(raw: bytes) -> str:
    error = _read(raw).get("error")
    return str(error.get("type")) if isinstance(error, dict) else "no reason"


@cache
def _wire() -> Wire:
    return Wire(threads=2)


def _where() -> tuple[str, dict[str, str]]:
    """Return the address of `_bulk` and what is sent along; a login goes into a header."""
    parts = urlsplit(settings().elasticsearch_url)
    headers = {"Content-Type": "application/x-ndjson", "Accept": "application/json"}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    host = parts.netloc.rpartition("@")[2]
    path = f"{parts.path.rstrip('/')}/{quote(settings().elasticsearch_index, safe='')}/_bulk"
    return urlunsplit((parts.scheme, host, path, "", "")), headers
