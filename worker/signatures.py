"""Stripe's webhook signatures, and the little of an event that must be right before it is stored.

Pure: bytes in, an `Event` or `Refused` out. Whatever is sent, nothing else is raised.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson

TOLERANCE_S = 300
# Stripe's own default, held in both directions: a time far ahead would be valid for years.
HEADER_CHARACTERS = 4096
DEPTH = 31
# Levels of nesting that MariaDB's JSON check still takes; Stripe's events have about ten.
NAME = re.compile(r"[!-~]{1,100}")
ACCOUNT = re.compile(r"[!-~]{1,50}")
# What fits the columns, and no space: MySQL compares without trailing ones.
TIMESTAMP = re.compile(r"[0-9]{1,12}")
NEEDLE = b"client_secret"
CLIENT_SECRET = re.compile(
    rb'client_secret(?:("\s*:\s*")(?:[^"\\]|\\.)*|=(?:[^"&#\\]|\\u(?!002[236]|005[cC])[0-9a-fA-F]{4})*)'
)
# Lets its holder confirm the payment: no row keeps it, neither as a field nor in a redirect's URL.
# Begins with plain letters, for which `re` looks twenty times as fast as for a choice.
ESCAPE = re.compile(rb"\\(?:u00(3[dD]|5[fF]|6[3569cCeE]|7[234])|.)")
# Each escape of a text, whole, so that an escaped backslash opens none; its group is one that
# stands for a character of the needle.


class Refused(Exception):
    """A webhook that is not what it should be. Says why and quotes nothing of what came."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event as far as intake reads it; `payload` is the JSON text as it came."""

    id: str
    type: str
    account: str
    payload: bytes


@cache
def keys_of(setting: str) -> tuple[bytes, ...]:
    """Return the signing secrets: several, separated by commas, while one replaces another."""
    return tuple(key.strip().encode() for key in setting.split(",") if key.strip())


def check(body: bytes, header: str | None, keys: tuple[bytes, ...], *, at_s: float) -> None:
    """Refuse a body that none of `keys` signed within the tolerance of `at_s`.

    Args:
        body: the raw bytes of the request.
        header: `Stripe-Signature`: `t=<unix seconds>,v1=<hex>[,v1=<hex>…]`.
        keys: the secrets that may have signed.
        at_s: now, in seconds of the epoch.

    Raises:
        Refused: no such signature.
    """
    timestamp, signatures = _parts_of(header)
    if abs(at_s - int(timestamp)) > TOLERANCE_S:
        raise Refused("The signature's timestamp is too far from now.")
    signed = timestamp.encode() + b"." + body
    expected = [hmac.digest(key, signed, "sha256").hex() for key in keys]
    if not any([hmac.compare_digest(e, s) for e in expected for s in signatures]):  # noqa: C419  no early end: the time tells nothing
        raise Refused("The signature does not match.")


def _parts_of(header: str | None) -> tuple[str, list[str]]:
    if not header:
        raise Refused("The Stripe-Signature header is missing.")
    if len(header) > HEADER_CHARACTERS or not header.isascii():
        raise Refused("The Stripe-Signature header is malformed.")
    pairs = [part.partition("=") for part in header.split(",")]
    timestamps = [value for name, _, value in pairs if name == "t"]
    # Two timestamps come from two headers joined in one: which was meant cannot be told.
    if len(timestamps) != 1 or not TIMESTAMP.fullmatch(timestamps[0]):
        raise Refused("The Stripe-Signature header has no single timestamp.")
    signatures = [value for name, _, value in pairs if name == "v1"]
    if not signatures:
        raise Refused("The Stripe-Signature header has no v1 signature.")
    return timestamps[0], signatures


def event_of(body: bytes) -> Event:
    """Read a signed body.

    Raises:
        Refused: it is no event object, or one that the database could not keep as it is.
    """
    try:
        event = orjson.loads(body)
    except ValueError:
        raise Refused("The body is not JSON in UTF-8.") from None
    if not isinstance(event, dict) or event.get("object") != "event":
        raise Refused("The body is not an event object.")
    require_shallow(event)
    data = event.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("object"), dict):
        raise Refused("The event has no data.object.")
    account = event.get("account")
    return Event(
        id=word(event.get("id"), NAME, "id"),
        type=word(event.get("type"), NAME, "type"),
        account="" if account is None else word(account, ACCOUNT, "account"),
        payload=_without_secrets(body),
    )


def _without_secrets(body: bytes) -> bytes:
    """Blank the client secrets, and leave every other byte as it is.

    Args:
        body: valid JSON: backslashes stand within texts only.
    """
    if b"\\u00" in body:
        # The needle itself may be written with escapes; then the body is kept without those.
        plain = ESCAPE.sub(_plain, body)
        body = plain if NEEDLE in plain else body
    if NEEDLE not in body:
        return body
    return CLIENT_SECRET.sub(lambda found: NEEDLE + (found[1] or b"="), body)


def _plain(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape[1].decode()) if escape[1] else escape[0]


def word(value: object, pattern: re.Pattern[str], name: str) -> str:
    """Return a field of an event that must be text of this form."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Refused(f"The event's {name} is missing or malformed.")
    return value


def require_shallow(event: dict[str, Any]) -> None:
    """Walk level by level: the recursion of a walk in depth would be the sender's to choose."""
    level: list[Any] = [event]
    for _ in range(DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise Refused("The event is nested too deeply.")
