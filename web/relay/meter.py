"""What the reactor has counted, told to the metrics every few seconds: it has no time itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from worker.telemetry import count, gauge, timing

if TYPE_CHECKING:
    from web.relay.limits import Limits
    from web.relay.outbound import Stats

TELL_EVERY_S = 5.0


class Meter(threading.Thread):
    """Tells what was counted since it told last."""

    def __init__(self, stats: Stats, limits: Limits, *, tell_every_s: float = TELL_EVERY_S) -> None:
        super().__init__(name="relay-meter", daemon=True)
        self._stats = stats
        self._limits = limits
        self._tell_every_s = tell_every_s
        self._told: dict[object, int] = {}
        self._leaving = threading.Event()

    def run(self) -> None:
        """Tell until told to stop."""
        while not self._leaving.wait(self._tell_every_s):
            self.tell()

    def stop(self) -> None:
        """Tell a last time."""
        self._leaving.set()
        self.tell()

    def tell(self) -> None:
        """Tell once."""
        stats = self._stats
        gauge("relay.connections", self._limits.total)
        timing("relay.lag", stats.lag_s)
        self._tell("deliveries", stats.deliveries, lambda n: count("relay.deliveries", n))
        self._tell("skipped", stats.skipped, lambda n: count("relay.skipped", n))
        self._tell("resumes", stats.resumes, lambda n: count("relay.resumes", n))
        for reason, number in dict(stats.refetches).items():
            self._tell(reason, number, partial(_count_refetches, reason))
        for code, number in dict(stats.closed).items():
            self._tell(code, number, partial(_count_closed, str(code)))

    def _tell(self, name: object, number: int, tell: Callable[[int], None]) -> None:
        since = number - self._told.get(name, 0)
        if since:
            self._told[name] = number
            tell(since)


def _count_refetches(reason: str, number: int) -> None:
    count("relay.refetches", number, reason=reason)


def _count_closed(code: str, number: int) -> None:
    count("relay.closed", number, code=code)
