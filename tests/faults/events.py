"""Well-signed events of the test's own making."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import requests

from models.clock import now
from sandbox.stripe.deliveries import signature
from tests.system import WEBHOOK_SECRET, System


def post_event(
    system: System,
    event_id: str,
    kind: str = "payment_intent.created",
    about: dict[str, Any] | None = None,
) -> requests.Response:
    """Post an event as Stripe does."""
    event = {"id": event_id, "object": "event", "type": kind, "data": {"object": about or {}}}
    body = json.dumps(event).encode()
    signed = signature(body, WEBHOOK_SECRET.encode(), int(now().timestamp()))
    return requests.post(
        f"{system.web_url}/api/v1/webhooks/stripe",
        data=body,
        headers={"Stripe-Signature": signed},
        timeout=30,
    )


def send_event(system: System, kind: str, about: dict[str, Any]) -> str:
    """Post an event that must be taken; return its id."""
    event_id = f"evt_{uuid4().hex}"
    answer = post_event(system, event_id, kind, about)
    assert answer.status_code == 200, answer.text
    return event_id
