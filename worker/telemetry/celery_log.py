"""Celery's log as ours: a worker and beat ask for it through their `setup_logging` signal.

A receiver of that signal is what keeps Celery from putting handlers of its own on the root logger.
"""

from __future__ import annotations

import sys
from typing import Any

from celery import signals

from worker.settings import settings
from worker.telemetry import configure

_process = "beat"


def listen() -> None:
    """Connect the receivers; called once, where the Celery app is made."""
    signals.celeryd_init.connect(_begin_worker, weak=False)
    signals.setup_logging.connect(_configure, weak=False)


def _begin_worker(instance: Any = None, **_: Any) -> None:
    """Configure as early as a worker can, before its first warning; beat sends no such signal."""
    global _process  # noqa: PLW0603  a process is one thing for its whole life
    _process = "worker"
    _configure()
    if instance is not None and not sys.stderr.isatty():
        instance.quiet = True  # the banner is for a person


def _configure(**_: Any) -> None:
    configure(settings(), process=_process)
