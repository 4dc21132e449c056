"""What the web's processes and the relay's do alike before they serve."""

from __future__ import annotations

import gc

from worker import database


def make_ready(*, database_answers_within_s: float) -> None:
    """Make a process of gunicorn's ready to serve.

    Args:
        database_answers_within_s: a database that hangs for longer counts as away.
    """
    database.answer_within(database_answers_within_s)
    # Keep what was loaded out of the collector's sight: going through it stops all for 90 ms.
    gc.collect()
    gc.freeze()
