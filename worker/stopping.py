"""A worker that is told to stop: it ends when its work has, and hangs at no moment.

Celery sleeps for the whole of its soft shutdown when anything is running. Here it ends as soon as
nothing is.

Celery stops its pool of threads within the signal's handler, which runs in the main thread. Did the
signal come while that thread was handing a task to the pool, the handler would wait for a lock
that its own thread holds. A lock that its holder may take again lets it through; what was being
handed over then stays the broker's and comes back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from celery.signals import worker_ready
from celery.worker import state

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.05


def listen() -> None:
    """Prepare each worker of this process, and its pool, once it is up."""
    worker_ready.connect(let_the_holder_in)
    worker_ready.connect(end_with_the_work)


def end_with_the_work(sender: Any, **_: object) -> None:
    """Have the worker of `sender`, Celery's consumer, wait for no longer than its tasks run."""
    worker = sender.controller
    timeout_s = worker.app.conf.worker_soft_shutdown_timeout
    worker.wait_for_soft_shutdown = _waiting(state.active_requests, timeout_s)


def _waiting(running: Collection[object], timeout_s: float) -> Callable[[], None]:
    def wait() -> None:
        deadline = time.monotonic() + timeout_s
        while running and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
        if running:
            log.warning("%d tasks run on after %.0f s and are given back", len(running), timeout_s)

    return wait


def let_the_holder_in(sender: Any, **_: object) -> None:
    """Give the pool of `sender`, Celery's consumer, a lock that its holder may take again."""
    executor = getattr(sender.pool, "executor", None)
    if executor is not None:
        executor._shutdown_lock = threading.RLock()  # noqa: SLF001  there is no other way in
