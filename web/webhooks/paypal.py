"""`POST /api/v1/webhooks/paypal`: store, owe, answer. Whether PayPal signed it a worker finds out.

The signature is checked by a certificate that must be fetched, which is no work for a request: the
raw body and its headers are kept, and nobody acts on them until they are found good. 400 for what
cannot be an event of PayPal's; 503 when the database cannot say that it kept it: PayPal sends it
again, for three days.
"""

from __future__ import annotations

from flask import Response, request

from models.clock import now
from web.auth import public
from web.bodies import MAX_BYTES
from web.problems import Problem
from web.webhooks.door import RECEIVED
from web.webhooks.storing import store
from worker import telemetry, transmissions
from worker.group_commit import at_once
from worker.intake import Arrival
from worker.settings import settings
from worker.signatures import Refused


@public
def receive_paypal() -> Response:
    """Take one event; a copy of an earlier one is answered alike and changes nothing."""
    if not settings().has_paypal:
        raise Problem("not-found", "Payments do not go through PayPal here.")
    body = request.get_data(cache=False)
    if len(body) >= MAX_BYTES and request.content_length is None:
        # Of a chunked body werkzeug returns as much as is allowed, without a word.
        raise Problem("too-large")
    store("paypal", lambda: _arrival(body), at_once)
    return Response(RECEIVED, mimetype="application/json")


def _arrival(body: bytes) -> Arrival:
    try:
        transmission = transmissions.transmission_of(dict(request.headers), at=now())
        event = transmissions.event_of(body)
    except Refused as error:
        raise Problem("bad-request", str(error)) from None
    return Arrival(
        provider="paypal",
        event=event,
        headers=transmissions.kept_headers(transmission),
        request_id=telemetry.current().get("request_id"),
        raw_body=body,
    )
