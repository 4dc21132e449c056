"""Checking a stored webhook: headers read again, certificate fetched, signature tried."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from worker import transmissions
from worker.gateways.paypal import signatures
from worker.gateways.paypal.certificates import certificates, roots


def check(body: bytes, headers: Mapping[str, str], *, webhook_id: str, at: datetime) -> None:
    """Refuse a body that PayPal did not send.

    Args:
        headers: those of the delivery, as they were kept.
        at: when it was received.

    Raises:
        Refused: it is not PayPal's.
        Unavailable: the certificate could not be fetched now.
    """
    transmission = transmissions.transmission_of(headers, at=at)
    signatures.check(
        body,
        transmission,
        certificates().at(transmission.certificate_url),
        webhook_id=webhook_id,
        roots=roots(),
        at=at,
    )
