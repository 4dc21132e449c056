"""Redis as a process holds it: bounded in time, with a breaker, so that a hung Redis costs once.

Redis holds nothing that cannot be lost. Whoever uses it must go on without it: `CacheAway` says
that it cannot be asked now, at once while the breaker is open.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.settings import settings

log = logging.getLogger(__name__)

T = TypeVar("T")

# A healthy Redis answers in under a millisecond; half a second is a hung one.
TIMEOUT_S = 0.5
# How long nobody asks again after a failure; then one caller probes.
OPEN_S = 1.0


# Full, read-only or without its master is as good as away; a wrong command of ours is a bug.
AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.MasterDownError,
    redis.ReadOnlyError,
)


# Refusals that redis-py has no class for: too few replicas, a disk that is full.
REFUSALS = ("NOREPLICAS", "MISCONF")


class CacheAway(Exception):
    """Redis cannot be asked now."""


class Breaker:
    """Lets nobody through for a while after a failure, then one probe at a time."""

    def __init__(
        self, *, open_s: float = OPEN_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._open_s = open_s
        self._clock = clock
        self._lock = threading.Lock()
        self._closed_from = 0.0
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether a call would be refused now."""
        return self._is_open and self._clock() < self._closed_from

    @property
    def is_tripped(self) -> bool:
        """Whether the last call failed, also when a probe may go through by now."""
        return self._is_open

    def call(self, work: Callable[[], T]) -> T:
        """Run `work`, or raise CacheAway: at once while open, else when Redis does not do it."""
        if self._is_open and not self._may_probe():
            raise CacheAway("Redis is away")
        try:
            answer = work()
        except (*AWAY, redis.ResponseError) as error:
            if not _is_away(error):
                raise
            if isinstance(error, redis.ResponseError):
                log.warning("Redis refuses: %s", error)
            self._trip()
            raise CacheAway(str(error)) from error
        if self._is_open:
            self._is_open = False
        return answer

    def _may_probe(self) -> bool:
        with self._lock:
            moment = self._clock()
            if moment < self._closed_from:
                return False
            self._closed_from = moment + self._open_s
            return True

    def _trip(self) -> None:
        with self._lock:
            self._is_open = True
            self._closed_from = self._clock() + self._open_s


def _is_away(error: redis.RedisError) -> bool:
    # Anywhere in it: a pipeline and a script put words of their own before Redis's.
    return isinstance(error, AWAY) or any(word in str(error) for word in REFUSALS)


def raised_if_away(results: list[Any]) -> list[Any]:
    """Return a pipeline's results, or raise the first error that means that Redis is away."""
    for result in results:
        if isinstance(result, redis.RedisError) and _is_away(result):
            raise result
    return results


def connect(
    url: str, *, timeout_s: float = TIMEOUT_S, max_connections: int = 256, **options: Any
) -> redis.Redis:
    """Return a client that never waits longer than `timeout_s` and never retries by itself."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        max_connections=max_connections,
        health_check_interval=0,
        **{"decode_responses": True, **options},
    )


class Cache:
    """A client behind a breaker: `cache().do(lambda r: r.get("key"))`."""

    def __init__(self, url: str, **options: Any) -> None:
        self.client = connect(url, **options)
        self.breaker = Breaker()

    def do(self, work: Callable[[Any], T]) -> T:
        """Run `work(client)`.

        Raises:
            CacheAway: Redis is away or hangs; nothing may be concluded from that.
        """
        return self.breaker.call(lambda: work(self.client))


@cache
def shared() -> Cache:
    """Return this process's cache."""
    return Cache(settings().cache_url)
