"""Signatures of Standard Webhooks (standardwebhooks.com): symmetric, `v1`.

What is signed is `<id>.<timestamp>.<body>`, with the secret's bytes. While a secret is rotated the
header holds a signature by each, separated by a space.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Sequence
from hashlib import sha256

PREFIX = "whsec_"
# The standard asks for 24 to 64.
SECRET_BYTES = 32


def new_secret() -> str:
    """Return a new secret, as receivers are told it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return one signature.

    Args:
        timestamp: of the attempt, in seconds since 1970.
    """
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = b".".join([message_id.encode(), str(timestamp).encode(), body])
    return "v1," + base64.b64encode(hmac.digest(key, signed, sha256)).decode()


def headers_of(
    keys: Sequence[str], *, message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """Return the headers by which a receiver knows the message, when it was sent and by whom."""
    signatures = [sign(key, message_id=message_id, timestamp=timestamp, body=body) for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
