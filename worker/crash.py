"""Named points at which a test can have this process killed, as by a power cut.

`CRASH_AT=charge.called` and `CRASH_MARK=<file>`: the first process that reaches the point and
removes the file kills itself with SIGKILL. Without both, and always in production, nothing.
"""

from __future__ import annotations

import os
import signal
from functools import cache
from pathlib import Path

from worker.settings import settings

POINTS = (
    "charge.before_claim",
    "charge.claimed",
    "charge.called",
    "charge.recorded",
    "charge.replied",
    "webhook.before",
    "webhook.applied",
    "webhook.committed",
    "refund.claimed",
    "refund.called",
    "refund.recorded",
    "outbox.committed",
)


@cache
def _armed() -> tuple[str, Path] | None:
    name, mark = os.environ.get("CRASH_AT"), os.environ.get("CRASH_MARK")
    if not name or not mark or settings().is_production:
        return None
    if name not in POINTS:
        raise ValueError(f"no crash point {name!r}")
    return name, Path(mark)


def point(name: str) -> None:
    """Die here if a test asked for it."""
    armed = _armed()
    if armed is None or armed[0] != name:
        return
    try:
        armed[1].unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
