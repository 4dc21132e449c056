"""Waiting on conditions: tests never sleep for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

# What comes about does so in a second or two; on a machine with ten other things to do it takes
# long. Nobody waits for longer than it takes, so patience costs only a failure its time.
PATIENCE_S = 120.0


def wait_for(
    holds: Callable[[], object],
    timeout_s: float = PATIENCE_S,
    said: Callable[[], str] = lambda: "it did not come about",
) -> None:
    """Return when it holds; fail when it does not in time, with what `said` returns then."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, said()
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Return whether the process exists and has not ended; a zombie has."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
