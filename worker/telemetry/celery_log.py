"""Celery's log as ours: a worker and beat ask for it through their `setup_logging` signal.

A receiver of that signal is what keeps Celery from putting handlers of its own on the root logger.
"""

from __future__ import annotations

from typing import Any

from celery import signals  # type: ignore[import-untyped]

from worker.settings import settings
from worker.telemetry import configure

_process = "beat"


def listen() -> None:
    """Connect the receivers; called once, where the Celery app is made."""
    signals.celeryd_init.connect(_note_worker, weak=False)
    signals.setup_logging.connect(_configure, weak=False)


def _note_worker(**_: Any) -> None:
    """Only a worker sends this, before its logs are set up; beat sends nothing so early."""
    global _process  # noqa: PLW0603  a process is one thing for its whole life
    _process = "worker"


def _configure(**_: Any) -> None:
    configure(settings(), process=_process)
