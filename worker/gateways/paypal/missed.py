"""PayPal's list of webhook events, for those that never came."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from models.clock import now
from worker.gateways.base import MissedEvent
from worker.gateways.paypal.api import Api, read
from worker.gateways.paypal.translate import link_of
from worker.signatures import Refused
from worker.transmissions import event_of

log = logging.getLogger(__name__)

EVENTS = "/v1/notifications/webhooks-events"
PAGE = 100


def each_page(api: Api, *, since: datetime) -> Iterator[list[MissedEvent]]:
    """Yield all events since, page by page."""
    query = {"start_time": _text_of(since), "end_time": _text_of(now()), "page_size": PAGE}
    path = f"{EVENTS}?{urlencode(query)}"
    while path:
        events, following = read(
            "webhooks_events.list",
            lambda path=path: api.get(path),  # type: ignore[misc]  # bound now, not later
            lambda body, _: (list(body.get("events") or []), link_of(body, "next")),
        )
        yield [event for body in events if (event := _read(body)) is not None]
        path = _path_of(following) if events else ""


def _read(body: Mapping[str, Any]) -> MissedEvent | None:
    """Return a listed event as the endpoint would have read it; None if that would refuse it."""
    try:
        return MissedEvent(
            event=event_of(orjson.dumps(body)),
            created_at=datetime.fromisoformat(body["create_time"]),
        )
    except (Refused, LookupError, ValueError) as error:
        log.warning("an event cannot be kept: %s", type(error).__name__)
        return None


def _path_of(url: str) -> str:
    """Return path and query of a link, which is asked at our own base."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if url else ""


def _text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
