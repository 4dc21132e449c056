"""SendGrid's event webhook as it comes: its signature, and the little that must be right of events.

Pure: bytes in, events or `Refused` out. Whatever is sent, nothing else is raised.
"""

from __future__ import annotations

import base64
import binascii
from functools import cache
from hashlib import sha256
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from worker.signatures import NAME, TIMESTAMP, Event, Refused, require_shallow, word

SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
SIGNED_AT = "X-Twilio-Email-Event-Webhook-Timestamp"
AHEAD_S = 300
BEHIND_S = 25 * 3600
# SendGrid sends what was not taken again for 24 h, and does not say whether it signs anew. What is
# replayed within that time is known by its id, and changes nothing.
SIGNATURE_CHARACTERS = 200


@cache
def keys_of(setting: str) -> tuple[EllipticCurvePublicKey, ...]:
    """Return the public keys: several, separated by commas, while one replaces another.

    Raises:
        ValueError: one is none.
    """
    keys = []
    for text in filter(None, map(str.strip, setting.split(","))):
        key = load_der_public_key(base64.b64decode(text, validate=True))
        if not isinstance(key, EllipticCurvePublicKey):
            raise ValueError("the key is of another kind")  # noqa: TRY004  one kind of error
        keys.append(key)
    return tuple(keys)


def check(
    body: bytes,
    signature: str | None,
    signed_at: str | None,
    keys: tuple[EllipticCurvePublicKey, ...],
    *,
    at_s: float,
) -> None:
    """Refuse a body that none of `keys` signed, or that was not signed lately.

    Raises:
        Refused: no such signature.
    """
    if not signature or not signed_at:
        raise Refused("A header of the signature is missing.")
    if not TIMESTAMP.fullmatch(signed_at):
        raise Refused("The signature's time is malformed.")
    if not at_s - BEHIND_S <= int(signed_at) <= at_s + AHEAD_S:
        raise Refused("The signature's time is too far from now.")
    if len(signature) > SIGNATURE_CHARACTERS:
        raise Refused("The signature is too long.")
    try:
        signed = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        raise Refused("The signature is malformed.") from None
    if not any(_has_signed(key, signed, signed_at.encode() + body) for key in keys):
        raise Refused("The signature does not match.")


def _has_signed(key: EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def events_of(body: bytes) -> list[Event]:
    """Read a signed body: an array of events.

    Raises:
        Refused: it is none, or one holds what the database could not keep as it is.
    """
    try:
        events = orjson.loads(body)
    except ValueError:
        raise Refused("The body is not JSON in UTF-8.") from None
    if not isinstance(events, list) or not all(isinstance(each, dict) for each in events):
        raise Refused("The body is not an array of events.")
    return [_event(each) for each in events]


def _event(event: dict[str, Any]) -> Event:
    require_shallow(event)
    payload = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    # Without an id it is still what it says, once.
    found = event.get("sg_event_id") or f"sha256-{sha256(payload).hexdigest()}"
    return Event(
        id=word(found, NAME, "sg_event_id"),
        type=word(event.get("event"), NAME, "event"),
        account="",
        payload=payload,
    )
