"""A plain Celery app on Redis, as its documentation has it: what ours is measured against."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

import redis
from celery import Celery

from worker import replies

FLOOR = "benchmark:floor"

app = Celery("peer", broker=os.environ["BROKER_URL"], backend=os.environ["REDIS_URL"])
app.conf.task_default_queue = "peer"
app.conf.worker_prefetch_multiplier = 1
app.conf.task_acks_late = True


@cache
def client() -> redis.Redis:
    return redis.Redis.from_url(os.environ["REDIS_URL"])


@app.task(name="peer.nothing", ignore_result=True)
def nothing(owed_id: str) -> None:
    """Do nothing."""


@app.task(name="peer.publish", ignore_result=True)
def publish(sent_at: float) -> None:
    """Publish when it was sent: the least that any task can do to be heard of."""
    client().publish(FLOOR, str(sent_at))


@app.task(name="peer.answer_by_result")
def answer_by_result(sent_at: float) -> dict[str, Any]:
    """Answer by Celery's result backend."""
    return {"sent_at": sent_at, "done_at": time.time()}


@app.task(name="peer.answer_by_key", ignore_result=True)
def answer_by_key(key: str) -> None:
    """Answer by a reply key."""
    replies.send(key, {"done_at": time.time()})
