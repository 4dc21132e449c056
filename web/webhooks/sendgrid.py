"""`POST /api/v1/webhooks/sendgrid`: check, store each event of the array, owe, answer.

400 for what SendGrid did not sign or what is no array of events: nothing is stored. 503 when the
database cannot say that it kept every one: SendGrid sends them again, for a day.
"""

from __future__ import annotations

from flask import Response, request

from models.clock import now
from web.auth import public
from web.bodies import MAX_BYTES
from web.problems import Problem, unavailable
from web.webhooks.door import RECEIVED
from worker import telemetry
from worker.intake import Arrival, NotStored, Unkeepable, intake
from worker.mail import events
from worker.settings import settings
from worker.signatures import Refused


@public
def receive_sendgrid() -> Response:
    """Take a batch of events; a copy of an earlier one is answered alike and changes nothing."""
    if not settings().sendgrid_webhook_key:
        raise Problem("not-found", "Mail does not go through SendGrid here.")
    body = request.get_data(cache=False)
    if len(body) >= MAX_BYTES and request.content_length is None:
        # Of a chunked body werkzeug returns as much as is allowed, without a word.
        raise Problem("too-large")
    try:
        arrivals = _arrivals(body)
        _store(arrivals)
    except Problem as problem:
        refused = "away" if problem.kind == "unavailable" else "refused"
        telemetry.count("webhooks.received", provider="sendgrid", outcome=refused)
        raise
    return Response(RECEIVED, mimetype="application/json")


def _arrivals(body: bytes) -> list[Arrival]:
    try:
        events.check(
            body,
            request.headers.get(events.SIGNATURE),
            request.headers.get(events.SIGNED_AT),
            events.keys_of(settings().sendgrid_webhook_key),
            at_s=now().timestamp(),
        )
        found = events.events_of(body)
    except Refused as error:
        raise Problem("bad-request", str(error)) from None
    request_id = telemetry.current().get("request_id")
    return [
        Arrival(provider="sendgrid", event=event, headers={}, request_id=request_id)
        for event in found
    ]


def _store(arrivals: list[Arrival]) -> None:
    if not arrivals:
        return
    try:
        outcomes = intake().store_all(arrivals)
    except NotStored:
        raise unavailable("The events were not stored; send them again.") from None
    for outcome in outcomes:
        if isinstance(outcome, Unkeepable):
            raise Problem("bad-request", "An event cannot be stored as it is.") from None
        if isinstance(outcome, Exception):
            raise unavailable("An event was not stored; send them again.") from None
        telemetry.count("webhooks.received", provider="sendgrid", outcome=outcome)
