"""Webhooks with Stripe's signature."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from sandbox.standin.deliveries import Deliveries as AnyDeliveries
from sandbox.standin.deliveries import Delivery


class Deliveries(AnyDeliveries):
    """Signs with the secret of the endpoint."""

    def __init__(self, *given: Any, secret: str, **more: Any) -> None:
        self._secret = secret.encode()
        super().__init__(*given, **more)

    def headers(self, delivery: Delivery) -> dict[str, str]:
        """Return the signature of now, by the clock that the application has too."""
        return {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(delivery.body, self._secret, self._book.now()),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }


def signature(body: bytes, secret: bytes, at: int) -> str:
    """Return the `Stripe-Signature` header of a body."""
    digest = hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
