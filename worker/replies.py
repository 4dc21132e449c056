"""Answers to a request that waits: a random key in Redis that lives half a minute.

The only way for what must not be stored. Whoever reads first takes it.
"""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import Any

import orjson

from worker.cache import CacheAway, connect, shared
from worker.settings import settings

LIFE_S = 30
PREFIX = "reply:"


def new_key() -> str:
    """Return a key that nobody can guess."""
    return secrets.token_urlsafe(24)


def send(key: str, answer: dict[str, Any]) -> None:
    """Give `answer` to whoever waits on `key`. With Redis away it is lost: the row answers."""
    try:
        shared().do(
            lambda redis: (
                redis.pipeline()
                .lpush(PREFIX + key, orjson.dumps(answer))
                .expire(PREFIX + key, LIFE_S)
                .execute()
            )
        )
    except CacheAway:
        return


def wait(key: str, *, timeout_s: float) -> dict[str, Any] | None:
    """Wait for an answer; None when none came in time or Redis is away.

    Each wait holds a connection of its own from a pool whose socket outlives the wait by half a
    second: a hung Redis ends the wait, not the request.
    """
    deadline = time.monotonic() + timeout_s
    while (left_s := deadline - time.monotonic()) > 0:
        # Short waits bound what a Redis that hangs in the middle can cost.
        turn_s = min(left_s, 1.0)
        try:
            found = shared().breaker.call(partial(_waiting().blpop, [PREFIX + key], timeout=turn_s))
        except CacheAway:
            return None
        if found is not None:
            answer: dict[str, Any] = orjson.loads(found[1])
            return answer
    return None


def _waiting() -> Any:
    global _client  # noqa: PLW0603  one pool a process
    if _client is None:
        _client = connect(settings().cache_url, timeout_s=1.5, max_connections=1024)
    return _client


_client: Any = None
