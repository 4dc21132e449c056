"""The one place that reads the clock. The sandbox can advance it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_offset: Callable[[], timedelta] = timedelta


def now() -> datetime:
    """Return the time in UTC, aware, with microseconds."""
    return datetime.now(UTC) + _offset()


def wall() -> datetime:
    """Return the machine's own time in UTC, which whoever is outside of us goes by."""
    return datetime.now(UTC)


def ahead() -> timedelta:
    """Return how far this process's clock is ahead of the machine's."""
    return _offset()


def advance_by(offset: Callable[[], timedelta]) -> None:
    """Let `offset` say how far this process's clock is ahead of the machine's (sandbox only)."""
    global _offset  # noqa: PLW0603  one clock a process
    _offset = offset
