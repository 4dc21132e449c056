"""PayPal's webhooks as they come: what must be right of headers and envelope before one is kept.

Pure: bytes in, an `Event` and a `Transmission` out, or `Refused`. Whether PayPal signed it is found
out by a worker, for that takes a certificate that is fetched (`worker.gateways.paypal.signatures`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import orjson

from worker.signatures import NAME, Event, Refused, require_shallow, word

ALGORITHM = "SHA256withRSA"
HEADERS = {
    "id": "Paypal-Transmission-Id",
    "time": "Paypal-Transmission-Time",
    "signature": "Paypal-Transmission-Sig",
    "certificate_url": "Paypal-Cert-Url",
    "algorithm": "Paypal-Auth-Algo",
}
HEADER_CHARACTERS = 1024
HEADER = re.compile(r"[!-~]+")
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+paypal\.com")
# Any host of PayPal's own, in lower case: no port, user, trailing dot or other script fits.
AHEAD = timedelta(seconds=300)
# PayPal sends again for three days, so a transmission may be old; it cannot be of the future.


@dataclass(frozen=True, slots=True)
class Transmission:
    """What PayPal says of one delivery: which it is, and how it was signed."""

    id: str
    time: str
    signature: str
    certificate_url: str
    algorithm: str


def transmission_of(headers: Mapping[str, str], *, at: datetime) -> Transmission:
    """Read the headers of a delivery.

    Raises:
        Refused: one is missing or malformed, or the certificate is not at PayPal.
    """
    values = {field: _header(headers, name) for field, name in HEADERS.items()}
    made = Transmission(**values)
    if made.algorithm != ALGORITHM:
        raise Refused(f"The signature is not {ALGORITHM}.")
    if "|" in made.id:
        raise Refused("The transmission's id is malformed.")
    if _moment(made.time) > at + AHEAD:
        raise Refused("The transmission's time is too far ahead.")
    require_paypal(made.certificate_url)
    return made


def kept_headers(made: Transmission) -> dict[str, str]:
    """Return the headers as they are kept beside the event."""
    return {name: getattr(made, field) for field, name in HEADERS.items()}


def require_paypal(url: str) -> None:
    """Refuse an address that is not https at a host of PayPal's own.

    It is the sender's word and we are about to fetch it: so no user, port, IP or look-alike.
    """
    try:
        parts = urlsplit(url)
        is_theirs = parts.scheme == "https" and HOST.fullmatch(parts.netloc) is not None
    except ValueError:
        is_theirs = False
    if not is_theirs or "\\" in url or "#" in url:
        raise Refused("The certificate's address is not PayPal's.")


def event_of(body: bytes) -> Event:
    """Read a body.

    Raises:
        Refused: it is no event of PayPal's, or one that the database could not keep as it is.
    """
    try:
        event = orjson.loads(body)
    except ValueError:
        raise Refused("The body is not JSON in UTF-8.") from None
    if not isinstance(event, dict):
        raise Refused("The body is not an event object.")
    require_shallow(event)
    if not isinstance(event.get("resource"), dict):
        raise Refused("The event has no resource.")
    return Event(
        id=word(event.get("id"), NAME, "id"),
        type=word(event.get("event_type"), NAME, "event_type"),
        account="",
        payload=body,
    )


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise Refused(f"The {name} header is missing.")
    if len(value) > HEADER_CHARACTERS or not HEADER.fullmatch(value):
        raise Refused(f"The {name} header is malformed.")
    return value


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Refused("The transmission's time is malformed.") from None
