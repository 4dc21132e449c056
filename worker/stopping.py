"""A stop signal that comes at the wrong moment must not hang the worker.

Celery stops its pool of threads within the signal's handler, which runs in the main thread. Did the
signal come while that thread was handing a task to the pool, the handler would wait for a lock
that its own thread holds. A lock that its holder may take again lets it through; what was being
handed over then stays the broker's and comes back.
"""

from __future__ import annotations

import threading
from typing import Any

from celery.signals import worker_ready


def listen() -> None:
    """Prepare the pool of each worker of this process once it is up."""
    worker_ready.connect(let_the_holder_in)


def let_the_holder_in(sender: Any, **_: object) -> None:
    """Give the pool of `sender`, Celery's consumer, a lock that its holder may take again."""
    executor = getattr(sender.pool, "executor", None)
    if executor is not None:
        executor._shutdown_lock = threading.RLock()  # noqa: SLF001  there is no other way in
