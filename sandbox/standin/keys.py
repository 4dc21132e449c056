"""Idempotency keys of requests that are being executed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sandbox.standin.refusal import Refusal


class KeysInUse:
    """Each key is held by one request at a time."""

    def __init__(self, refused: Callable[[str], Refusal]) -> None:
        self._refused = refused
        self._held: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, key: str) -> Iterator[None]:
        """Hold a key.

        Raises:
            Refusal: the provider's answer while another request holds it.
        """
        with self._lock:
            if key in self._held:
                raise self._refused(key)
            self._held.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(key)
