"""Events with SendGrid's signature, an array in each delivery."""

from __future__ import annotations

import orjson

from sandbox.mail import keys
from sandbox.standin.book import Object
from sandbox.standin.deliveries import Deliveries as AnyDeliveries
from sandbox.standin.deliveries import Delivery

PREFIX = "X-Twilio-Email-Event-Webhook"


class Deliveries(AnyDeliveries):
    """Signs by the sandbox's key."""

    def headers(self, delivery: Delivery) -> dict[str, str]:
        """Return the two headers that a signature is checked with."""
        at = str(self._book.now())
        return {
            "Content-Type": "application/json",
            f"{PREFIX}-Signature": keys.signature(at, delivery.body),
            f"{PREFIX}-Timestamp": at,
            "User-Agent": "SendGrid Event API",
        }

    def body(self, event: Object) -> bytes:
        """Return an event as SendGrid sends it."""
        return orjson.dumps([event["shown"]])
