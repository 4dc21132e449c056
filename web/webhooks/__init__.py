"""Webhooks: the providers' own way in. Each stores the raw event and answers; a worker acts."""

from __future__ import annotations

from flask import Blueprint

from web.webhooks.stripe import receive_stripe

blueprint = Blueprint("webhooks", __name__, url_prefix="/api/v1/webhooks")
blueprint.post("/stripe")(receive_stripe)
