"""Answers to a request that waits: a random key in Redis that lives half a minute.

The only way for what must not be stored. Whoever reads first takes it.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import orjson

from worker.cache import CacheAway, connect, shared
from worker.settings import settings

LIFE_S = 30
PREFIX = "reply:"
JOINED = "joined:"
ASKED = "asked:"
# How long who joined later relies on the one who joined first to have the question asked.
ASKED_MS = 1000

# KEYS: who joined, that somebody asked. ARGV: the prefix of reply keys, the answer, its life in s.
_TELL = """
for _, key in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  redis.call('LPUSH', ARGV[1] .. key, ARGV[2])
  redis.call('EXPIRE', ARGV[1] .. key, ARGV[3])
end
redis.call('DEL', KEYS[1], KEYS[2])
"""


@dataclass(frozen=True)
class Joined:
    """A key to wait on; who is first among those who wait has to ask."""

    key: str
    is_first: bool


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


def join(subject: UUID) -> Joined:
    """Wait with others for what is told about `subject` from now on.

    Join first, then read the row: what is not in it yet will be told. Of those who join at once
    one is the first, so that fifty who ask the same thing cost one question.
    """
    key, joined = new_key(), f"{JOINED}{subject}"
    try:
        done = shared().do(
            lambda redis: (
                redis.pipeline()
                .sadd(joined, key)
                .expire(joined, LIFE_S)
                .set(f"{ASKED}{subject}", "1", nx=True, px=ASKED_MS)
                .execute()
            )
        )
    except CacheAway:
        return Joined(key, is_first=True)
    return Joined(key, is_first=bool(done[-1]))


def tell(subject: UUID, answer: dict[str, Any], *, key: str | None = None) -> None:
    """Give `answer` to who waits on `key` and to everybody who joined to hear of `subject`."""
    if key is not None:
        send(key, answer)
    with suppress(CacheAway):
        shared().do(
            lambda redis: redis.eval(
                _TELL,
                2,
                f"{JOINED}{subject}",
                f"{ASKED}{subject}",
                PREFIX,
                orjson.dumps(answer),
                LIFE_S,
            )
        )


def wait(key: str, *, timeout_s: float) -> dict[str, Any] | None:
    """Wait for an answer; None when none came in time or Redis is away.

    Each wait holds a connection of its own from a pool whose socket outlives the wait by half a
    second: a hung Redis ends the wait, not the request. It is no probe of a Redis that was away,
    for it would be the slowest: whoever looks up the session is.
    """
    breaker = shared().breaker
    deadline = time.monotonic() + timeout_s
    while (left_s := deadline - time.monotonic()) > 0:
        # Short waits bound what a Redis that hangs in the middle can cost.
        turn_s = min(left_s, 1.0)
        if breaker.is_tripped:
            return None
        try:
            found = breaker.call(partial(_waiting().blpop, [PREFIX + key], timeout=turn_s))
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
