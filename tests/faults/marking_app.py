"""A Celery app whose task leaves a mark of its number, to count what ran."""

import os
import time
from functools import cache

import redis
from celery import Celery

from worker import stopping, transport

transport.register()
stopping.listen()
QUEUES = ("one", "two", "three")

# Not shared and not current: the tests that import this have the real app too.
app = Celery("marking", broker=os.environ.get("BROKER_URL"), set_as_current=False)
app.conf.update(
    task_default_queue="one",
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    # It ends as soon as nothing runs.
    worker_soft_shutdown_timeout=20.0,
    broker_transport_options={
        # Short only where a worker is killed: a slow one must not lose what it holds.
        "visibility_timeout": float(os.environ.get("VISIBLE_AFTER_S", "600")),
        "unacked_restore_interval": 0.5,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
    },
)


@cache
def client() -> redis.Redis:
    return redis.Redis.from_url(os.environ["BROKER_URL"])


@app.task(name="mark", shared=False)
def mark(number: int, wait_s: float = 0.0, times: int = 1) -> None:
    """Mark, after a wait in steps that a soft shutdown can end between."""
    client().incr("started")
    for _ in range(times):
        time.sleep(wait_s)
    client().rpush("marks", number)


@app.task(name="mark_redelivered", bind=True, shared=False)
def mark_redelivered(self) -> None:
    """Mark whether the message had been taken before."""
    again = bool(self.request.delivery_info.get("redelivered"))
    client().rpush("marks", int(again))
    while not again:
        time.sleep(0.1)
