"""`POST /api/v1/webhooks/stripe`: check, store, owe, answer.

400 for what Stripe did not sign or what is no event: nothing is stored. 503 when the database
cannot say that it kept the event: Stripe sends it again, for three days.
"""

from __future__ import annotations

from flask import Response, request

from models.clock import now
from web.auth import public
from web.bodies import MAX_BYTES
from web.problems import Problem
from web.webhooks.door import MET, RECEIVED
from web.webhooks.storing import store
from worker import signatures, telemetry
from worker.group_commit import Defer, at_once
from worker.intake import Arrival
from worker.settings import settings

PATH = "/api/v1/webhooks/stripe"
SIGNATURE = "Stripe-Signature"


@public
def receive_stripe() -> Response:
    """Take one event; a copy of an earlier one is answered alike and changes nothing."""
    met = request.environ.pop(MET, None)
    if met is not None:
        raise met
    body = request.get_data(cache=False)
    if len(body) >= MAX_BYTES and request.content_length is None:
        # Of a chunked body werkzeug returns as much as is allowed, without a word.
        raise Problem("too-large")
    take(body, request.headers.get(SIGNATURE), at_once)
    return Response(RECEIVED, mimetype="application/json")


def take(body: bytes, signature: str | None, defer: Defer) -> None:
    """Keep one event, or raise a Problem; ringing for it is given to `defer`."""
    store("stripe", lambda: _arrival(body, signature), defer)


def _arrival(body: bytes, signature: str | None) -> Arrival:
    keys = signatures.keys_of(settings().stripe_webhook_key)
    try:
        signatures.check(body, signature, keys, at_s=now().timestamp())
        event = signatures.event_of(body)
    except signatures.Refused as error:
        raise Problem("bad-request", str(error)) from None
    return Arrival(
        provider="stripe",
        event=event,
        headers={SIGNATURE: signature or ""},
        request_id=telemetry.current().get("request_id"),
    )
