"""Webhooks with PayPal's signature."""

from __future__ import annotations

import base64
from typing import Any
from zlib import crc32

import orjson

from sandbox.paypal.book import Book
from sandbox.paypal.certificates import Signer
from sandbox.paypal.errors import Object
from sandbox.standin.deliveries import Deliveries as AnyDeliveries
from sandbox.standin.deliveries import Delivery

CERTIFICATES = "/v1/notifications/certs/"
CERTIFICATE_HOST = "https://api.sandbox.paypal.com"
# Where PayPal's own certificates are; who is told of another base finds this path there.
MOST_ATTEMPTS = 25


class Deliveries(AnyDeliveries):
    """Signs for one webhook."""

    most_attempts = MOST_ATTEMPTS
    _book: Book

    def __init__(self, *given: Any, signer: Signer, webhook_id: str, **more: Any) -> None:
        self.signer = signer
        self.webhook_id = webhook_id
        super().__init__(*given, **more)

    def headers(self, delivery: Delivery) -> dict[str, str]:
        """Return the five headers that a signature is checked with."""
        at = self._book.time()
        told = message(delivery.body, delivery.id, at, self.webhook_id)
        return {
            "Content-Type": "application/json",
            "PAYPAL-AUTH-ALGO": "SHA256withRSA",
            "PAYPAL-CERT-URL": f"{CERTIFICATE_HOST}{CERTIFICATES}{self.signer.id}",
            "PAYPAL-TRANSMISSION-ID": delivery.id,
            "PAYPAL-TRANSMISSION-SIG": base64.b64encode(self.signer.signature(told)).decode(),
            "PAYPAL-TRANSMISSION-TIME": at,
            "User-Agent": "PayPal/AUHD-214.0-58853937",
        }

    def body(self, event: Object) -> bytes:
        """Return an event as PayPal sends it."""
        return orjson.dumps(event["shown"])


def message(body: bytes, transmission_id: str, at: str, webhook_id: str) -> bytes:
    """Return what is signed."""
    return f"{transmission_id}|{at}|{webhook_id}|{crc32(body)}".encode()
