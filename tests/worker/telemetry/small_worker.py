"""The smallest worker that has our telemetry: what the tests start as a Celery worker."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery

from tests.worker.telemetry.canaries import CANARIES, spill
from worker.settings import settings
from worker.telemetry import bind, timed
from worker.telemetry.celery_log import listen

log = logging.getLogger("small.worker")
app = Celery("small", broker=settings().queue_url)
app.conf.update(task_default_queue="small", worker_hijack_root_logger=True)
listen()


@app.task(name="small.work", bind=True)
def work(self: Any, request_id: str) -> None:
    with (
        bind(task_id=self.request.id, task="small.work", request_id=request_id),
        timed("task", task="small.work"),
    ):
        log.info("working with %s", CANARIES["stripe_key"], extra={"canaries": CANARIES})


@app.task(name="small.fail", bind=True)
def fail(self: Any, request_id: str, password: str) -> None:
    with bind(task_id=self.request.id, task="small.fail", request_id=request_id):
        spill()
