"""`POST /api/v1/webhooks/stripe`: check, store, owe, answer.

400 for what Stripe did not sign or what is no event: nothing is stored. 503 when the database
cannot say that it kept the event: Stripe sends it again, for three days.
"""

from __future__ import annotations

import orjson
from flask import Response, request

from models.clock import now
from web.auth import public
from web.bodies import MAX_BYTES
from web.problems import Problem, unavailable
from worker import signatures, telemetry
from worker.intake import Arrival, NotStored, Outcome, Unkeepable, intake
from worker.settings import settings

SIGNATURE = "Stripe-Signature"
_RECEIVED = orjson.dumps({"received": True})


@public
def receive_stripe() -> Response:
    """Take one event; a copy of an earlier one is answered alike and changes nothing."""
    try:
        outcome = _store(_arrival())
    except Problem as problem:
        refused = "away" if problem.kind == "unavailable" else "refused"
        telemetry.count("webhooks.received", provider="stripe", outcome=refused)
        raise
    telemetry.count("webhooks.received", provider="stripe", outcome=outcome)
    return Response(_RECEIVED, mimetype="application/json")


def _arrival() -> Arrival:
    body = request.get_data(cache=False)
    if len(body) >= MAX_BYTES and request.content_length is None:
        # Of a chunked body werkzeug returns as much as is allowed, without a word.
        raise Problem("too-large")
    header = request.headers.get(SIGNATURE)
    keys = signatures.keys_of(settings().stripe_webhook_key)
    try:
        signatures.check(body, header, keys, at_s=now().timestamp())
        event = signatures.event_of(body)
    except signatures.Refused as error:
        raise Problem("bad-request", str(error)) from None
    return Arrival(
        provider="stripe",
        event=event,
        headers={SIGNATURE: header or ""},
        request_id=telemetry.current().get("request_id"),
    )


def _store(arrival: Arrival) -> Outcome:
    try:
        return intake().store(arrival)
    except Unkeepable:
        raise Problem("bad-request", "The event cannot be stored as it is.") from None
    except NotStored:
        raise unavailable("The event was not stored; send it again.") from None
