"""Waiting on conditions: tests never sleep for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def wait_for(holds: Callable[[], object], timeout_s: float = 30) -> None:
    """Return when it holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Return whether the process exists and has not ended; a zombie has."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
