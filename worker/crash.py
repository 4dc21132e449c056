"""Named points at which a test can have this process killed, as by a power cut.

`CRASH_MARKS` names a folder. Whoever reaches a point for which the folder holds a file of its
name removes the file and kills its own process with SIGKILL: one file, one kill. Without the
setting, and always in production, nothing.
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
    "webhooks.handle.committed",
    "events.publish.committed",
    "method.called",
    "method.recorded",
    "method.detached",
    "refund.claimed",
    "refund.called",
    "refund.recorded",
    "outbox.committed",
    "ladder.begun",
    "mail.claimed",
    "mail.called",
    "mail.recorded",
    "subscriptions.stepping",
    "subscriptions.stepped",
    "invoicing.issued",
    "invoicing.generate.committed",
    "endpoint.sent",
    "exports.part",
    "exports.written",
    "exports.named",
    "imports.asked",
    "imports.kept",
    "imports.turned",
    "imports.taken",
    "imports.invoices.committed",
    "reconciliations.read",
    "reconciliations.kept",
    "analytics.taken",
    "analytics.committed",
)


@cache
def _marks() -> Path | None:
    folder = os.environ.get("CRASH_MARKS")
    return None if not folder or settings().is_production else Path(folder)


def point(name: str) -> None:
    """Die here if a test asked for it."""
    marks = _marks()
    if marks is None:
        return
    try:
        (marks / name).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
