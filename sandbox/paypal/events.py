"""The events of the last 30 days: what happened, also when no endpoint took it."""

from __future__ import annotations

from itertools import islice
from urllib.parse import urlencode

from sandbox.paypal.bodies import EventQuery, ResendRequest
from sandbox.paypal.book import seconds
from sandbox.paypal.call import EVENTS, Call
from sandbox.paypal.errors import Object

KEPT_S = 30 * 24 * 60 * 60


def listed(call: Call, query: EventQuery) -> Object:
    """List events by type, time and the object that they tell of, newest first."""
    oldest = call.book.now() - KEPT_S
    start = query.start_time if query.start_time and seconds(query.start_time) > oldest else None
    fitting = (
        event
        for event in call.book.within("event", start or call.book.time(oldest), query.end_time)
        if query.event_type in (None, event["type"])
        and query.transaction_id in (None, event["about"])
    )
    first = query.page_token
    found = list(islice(fitting, first, first + query.page_size + 1))
    page = [event["shown"] for event in found[: query.page_size]]
    links = [_page(call, query, first, "self")]
    if len(found) > query.page_size:
        links.append(_page(call, query, first + query.page_size, "next"))
    return {"shown": {"events": page, "count": len(page), "links": links}}


def _page(call: Call, query: EventQuery, first: int, rel: str) -> Object:
    told = query.model_dump(exclude_none=True) | {"page_token": first}
    return call.link(f"{EVENTS}?{urlencode(told)}", rel)


def retrieve(call: Call, _query: object, event_id: str) -> Object:
    """Return an event."""
    return call.book.get("event", event_id, param="event_id")


def resend(call: Call, _body: ResendRequest, event_id: str) -> Object:
    """Send an event again."""
    event = call.book.get("event", event_id, param="event_id")
    # What is touched is offered for delivery by the commit.
    return call.book.put(event | {"pending_webhooks": call.endpoints})
