"""Links for people who are not signed in: the one place that signs them and believes them.

What is signed for one purpose is nothing for another: each has a key of its own, made of
LINK_SECRET. A token is compared as the text that it is, so no two spellings of one are ours.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

from worker.settings import settings

# Longer than any that is made here.
LONGEST_TOKEN = 512


def sign(purpose: str, what: bytes) -> str:
    """Return a token that says `what`, for one purpose."""
    return _signed(purpose, _text(what))


def read(purpose: str, token: str) -> bytes | None:
    """Return what a token says; None for one that is not ours, or for another purpose."""
    if len(token) > LONGEST_TOKEN or not token.isascii():
        return None
    said = token.partition(".")[0]
    if not hmac.compare_digest(_signed(purpose, said), token):
        return None
    return urlsafe_b64decode(said + "=" * (-len(said) % 4))


def site() -> str:
    """Return what links begin with."""
    return settings().public_url.rstrip("/")


def _signed(purpose: str, text: str) -> str:
    key = hmac.digest(settings().link_secret.encode(), purpose.encode(), "sha256")
    return f"{text}.{_text(hmac.digest(key, text.encode(), 'sha256'))}"


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
