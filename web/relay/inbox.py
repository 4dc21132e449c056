"""The inbox: how other threads have the reactor's thread do something."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

# How many calls one turn handles: the rest has its turn, after the sockets.
MOST_CALLS: Final = 4096

Call = tuple[Callable[..., None], tuple[Any, ...]]


class Inbox:
    """Calls in the order in which they were made; `fd` is readable while there are any."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._calls: deque[Call] = deque()
        self._is_rung = False

    def put(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have it called; from any thread."""
        self._calls.append((function, arguments))
        if not self._is_rung:
            self._is_rung = True
            os.eventfd_write(self.fd, 1)

    def take(self) -> Iterator[Call]:
        """Yield what is there, in the reactor's thread."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        # Before the calls are looked at: who puts one after that rings again.
        self._is_rung = False
        for _ in range(min(len(self._calls), MOST_CALLS)):
            yield self._calls.popleft()
        if self._calls and not self._is_rung:
            self._is_rung = True
            os.eventfd_write(self.fd, 1)
