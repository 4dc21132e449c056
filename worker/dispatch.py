"""Ringing the doorbell: sends a message for what is owed, ready-made, in one round trip.

A message is Celery's own form (protocol 2) as kombu's Redis transport would store it, made by hand
because `apply_async` costs many times as much. It carries ids only. It is bounded to about a
second and never retried: the row is there and the sweeper rings again.
"""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from uuid import UUID

import orjson

from models.ids import new_id
from models.outbox import Owed, queue_of
from worker.cache import Breaker, connect
from worker.settings import settings

TIMEOUT_S = 1.0
SENTINEL = "paybeat:sentinel"
ORIGIN = f"{os.getpid()}@{socket.gethostname()}"
_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class Doorbell:
    """Sends messages to the broker, behind a breaker."""

    def __init__(self, url: str) -> None:
        self.client = connect(url, timeout_s=TIMEOUT_S)
        self.breaker = Breaker()

    def ring(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Put `(queue, message)` pairs on their queues.

        Raises:
            CacheAway: the broker is away or hangs; some messages may have been sent.
        """
        waiting: dict[str, list[bytes]] = {}
        for queue, message in messages:
            waiting.setdefault(queue, []).append(message)
        pipeline = self.client.pipeline(transaction=False)
        for queue, several in waiting.items():
            # One command with many messages: redis-py's cost is by the command.
            pipeline.lpush(queue, *several)
        self.breaker.call(pipeline.execute)


def _is_id(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        UUID(value)
    except ValueError:
        return False
    return True


def message_for(owed: Owed) -> tuple[str, bytes]:
    """Return the queue and the message of what is owed: the ids and nothing else."""
    ids = {name: value for name, value in owed.arguments.items() if _is_id(value)}
    return owed.queue, message(
        owed.id,
        owed.task,
        owed.queue,
        ids=ids,
        request_id=owed.request_id,
        sent_at=owed.sent_at,
        sends=owed.sends,
    )


def ring_for(task: str) -> tuple[str, bytes]:
    """Return the queue and a message that rings a periodic task, as beat does."""
    queue = queue_of(task)
    return queue, message(new_id(), task, queue, is_ring=True)


def message(  # noqa: PLR0913  one name for each thing that a message carries
    owed_id: UUID,
    task: str,
    queue: str,
    *,
    ids: dict[str, str] | None = None,
    request_id: str | None = None,
    sent_at: datetime | None = None,
    sends: int = 1,
    is_ring: bool = False,
) -> bytes:
    """Return one message as kombu's Redis transport keeps it.

    Args:
        is_ring: it is for a periodic task, which takes no id: the same as beat's own rings.
        sent_at: tells the sweeper how far the queue has been read.
        sends: how many messages there were for this row, with this one.
        ids: shown to whoever looks at the task in Flower; the row is what is worked from.
    """
    task_id = str(owed_id)
    arguments = [] if is_ring else [task_id]
    body = base64.b64encode(orjson.dumps([arguments, ids or {}, _EMBED])).decode()
    shown = ", ".join(f"{name}={value}" for name, value in (ids or {}).items())
    return orjson.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": task,
                "id": task_id,
                "shadow": None,
                "eta": None,
                "expires": None,
                "group": None,
                "group_index": None,
                "retries": 0,
                "timelimit": [None, None],
                "root_id": task_id,
                "parent_id": None,
                "argsrepr": repr(tuple(arguments)),
                "kwargsrepr": "{" + shown + "}",
                "origin": ORIGIN,
                "ignore_result": True,
                "replaced_task_nesting": 0,
                "stamped_headers": None,
                "stamps": {},
                "request_id": request_id,
                "sent_at": sent_at.timestamp() if sent_at else None,
                "sends": sends,
            },
            "properties": {
                "correlation_id": task_id,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": f"{task_id}.{os.urandom(4).hex()}",
            },
        }
    )


@cache
def doorbell() -> Doorbell:
    """Return this process's doorbell."""
    return Doorbell(settings().queue_url)


def waiting(queues: Sequence[str]) -> dict[str, int]:
    """Return how many messages wait on each of these queues, in one round trip.

    Raises:
        CacheAway: the broker is away or hangs.
    """
    bell = doorbell()
    pipeline = bell.client.pipeline(transaction=False)
    for queue in queues:
        pipeline.llen(queue)
    return dict(zip(queues, bell.breaker.call(pipeline.execute), strict=True))


def oldest_waiting(queue: str) -> float | None:
    """Return when the oldest message that waits on `queue` was sent, in seconds of the epoch.

    None if nothing waits. Queues are read in order, so whatever was sent later waits too.

    Raises:
        CacheAway: the broker is away or hangs.
    """
    bell = doorbell()
    # Beat's own rings carry no time; a few of them may stand first.
    tail = bell.breaker.call(lambda: bell.client.lrange(queue, -20, -1))
    for raw in reversed(tail):
        sent_at = orjson.loads(raw)["headers"].get("sent_at")
        if isinstance(sent_at, float):
            return sent_at
    return None


def lost_everything() -> bool:
    """Whether the broker has lost its data since `remember` was last called.

    Raises:
        CacheAway: the broker is away or hangs.
    """
    bell = doorbell()
    return bell.breaker.call(lambda: bell.client.get(SENTINEL)) is None


def remember() -> None:
    """Leave the sentinel in the broker; a flush or a failover takes it away.

    Raises:
        CacheAway: the broker is away or hangs.
    """
    bell = doorbell()
    bell.breaker.call(lambda: bell.client.set(SENTINEL, ORIGIN))
