"""A Celery app with tasks that do next to nothing, on kombu's transport or on ours."""

from __future__ import annotations

import os
import time

from celery import Celery

if os.environ.get("QUEUE_TRANSPORT") == "ours":
    from worker import transport

    transport.register()

app = Celery("queue", broker=os.environ["BROKER_URL"])
app.conf.task_default_queue = "bench"
app.conf.task_ignore_result = True
if os.environ.get("QUEUE_SETTINGS") == "ours":
    app.conf.worker_prefetch_multiplier = 1
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True


@app.task(name="bench.nothing")
def nothing(owed_id: str) -> None:
    """Do nothing."""


@app.task(name="bench.wait")
def wait(owed_id: str) -> None:  # noqa: ARG001  as every task of ours
    """Wait as long as a provider takes to answer."""
    time.sleep(0.02)
