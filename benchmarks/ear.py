"""Who hears what was published, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import redis

QUIET_S = 45.0


class Ear:
    """Hears channels in a thread and keeps when each message came."""

    def __init__(self, url: str, pattern: str, read: Callable[[bytes], str | None]) -> None:
        self.heard_at: dict[str, float] = {}
        self._client = redis.Redis.from_url(url)
        self._channel = self._client.pubsub(ignore_subscribe_messages=True)
        self._channel.psubscribe(pattern)
        self._read = read
        self._is_open = True
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while self._is_open:
            message = self._channel.get_message(timeout=0.2)
            if message is not None and (name := self._read(message["data"])):
                self.heard_at.setdefault(name, time.time())

    def wait(self, number: int) -> None:
        """Return once so many were heard, or nothing new came for a while."""
        deadline = time.monotonic() + QUIET_S
        while len(self.heard_at) < number and time.monotonic() < deadline:
            time.sleep(0.05)

    def close(self) -> None:
        """Stop."""
        self._is_open = False
        self._thread.join()
        self._client.close()
