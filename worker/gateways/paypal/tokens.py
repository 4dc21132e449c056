"""The access token: one a process, fetched under a lock, renewed before it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MARGIN_S = 60.0
# A token is renewed this long before its end, so that none ends on the way. They live for hours.


@dataclass(frozen=True)
class Token:
    """What OAuth gave us, and until when by `time.monotonic()` it may be used."""

    text: str = field(repr=False)
    ends: float


class Tokens:
    """The token that all threads share.

    Args:
        fetch: asks for a new one: its text, and for how many seconds it lives.
    """

    def __init__(self, fetch: Callable[[float], tuple[str, float]]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._token: Token | None = None

    def current(self, deadline: float) -> Token:
        """Return a token that lives; one caller fetches it and the others wait for that."""
        token = self._token
        if token is not None and time.monotonic() < token.ends:
            return token
        with self._lock:
            if self._token is None or time.monotonic() >= self._token.ends:
                asked = time.monotonic()
                text, life_s = self._fetch(deadline)
                # One that lives shorter than the margin serves for half of its life.
                self._token = Token(text, asked + max(life_s - MARGIN_S, life_s / 2))
            return self._token

    def forget(self, refused: Token) -> None:
        """Give up a token that PayPal refused, unless another has replaced it already."""
        with self._lock:
            if self._token is refused:
                self._token = None
