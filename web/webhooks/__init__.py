"""Webhooks: the providers' own way in. Each stores the raw event and answers; a worker acts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from web.webhooks.door import Door
from web.webhooks.paypal import receive_paypal
from web.webhooks.sendgrid import receive_sendgrid
from web.webhooks.stripe import PATH, SIGNATURE, receive_stripe, take
from worker import telemetry

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from worker.group_commit import Defer

blueprint = Blueprint("webhooks", __name__, url_prefix="/api/v1/webhooks")
blueprint.post("/stripe")(receive_stripe)
blueprint.post("/paypal")(receive_paypal)
blueprint.post("/sendgrid")(receive_sendgrid)


def in_front_of(app: WSGIApplication) -> WSGIApplication:
    """Return `app` with the doors of the webhooks before it."""
    return Door(app, PATH, SIGNATURE, _take_by_name)


def _take_by_name(body: bytes, signature: str | None, defer: Defer) -> None:
    """Take an event as the view does, and be shown like it in a trace."""
    telemetry.name_request(f"{blueprint.name}.{receive_stripe.__name__}")
    take(body, signature, defer)
