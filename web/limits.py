"""Rate limits: a moving window in Redis, behind the cache's breaker.

With Redis away or hung each process counts for itself: a limit is then up to as many times higher
as there are processes, and no request is lost for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from hashlib import sha256
from typing import TypeVar
from uuid import UUID

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter

from web.problems import Problem
from worker import telemetry
from worker.cache import CacheAway, shared
from worker.settings import settings

T = TypeVar("T")


class Limits:
    """Counts in Redis, or in this process while Redis is away."""

    def __init__(self) -> None:
        pool = shared().client.connection_pool
        storage = RedisStorage(settings().cache_url, connection_pool=pool, key_prefix="limit")
        self._far = MovingWindowRateLimiter(storage)
        self._near = MovingWindowRateLimiter(MemoryStorage())

    def hit(self, name: str, rate: str, who: str) -> None:
        """Count one request of `who` against each limit of `rate`.

        Raises:
            Problem: 429 with Retry-After when one is reached.
        """
        for item in _parse(rate):
            if not self._do(partial(_hit, item, name, who)):
                reset_at = self._do(partial(_reset_at, item, name, who))
                telemetry.count("rate_limit.hits", limit=name)
                raise too_many(reset_at - time.time())

    def _do(self, work: Callable[[RateLimiter], T]) -> T:
        try:
            return shared().breaker.call(lambda: work(self._far))
        except CacheAway:
            return work(self._near)


def _hit(item: RateLimitItem, name: str, who: str, limiter: RateLimiter) -> bool:
    return limiter.hit(item, name, who)


def _reset_at(item: RateLimitItem, name: str, who: str, limiter: RateLimiter) -> float:
    return limiter.get_window_stats(item, name, who).reset_time


def too_many(wait_s: float) -> Problem:
    """Return a 429 that says in how many seconds to come back."""
    after_s = max(1, round(wait_s + 0.5))
    return Problem(
        "too-many-requests",
        f"The limit is reached; try again in {after_s} s.",
        headers={"Retry-After": str(after_s)},
    )


@cache
def _parse(rate: str) -> list[RateLimitItem]:
    return parse_many(rate)


@cache
def limits() -> Limits:
    """Return this process's limits."""
    return Limits()


def hit_company_limit(who: UUID) -> None:
    """Count one request of a company's programs, or of a user's."""
    limits().hit("company", settings().rate_limit, str(who))


def hit_login_limits(*, email: str, address: str) -> None:
    """Count one attempt to sign in, for the email and for the address that it comes from."""
    limits().hit("address", settings().login_rate_limit, address)
    # Hashed: an email has no place in Redis, and may hold anything.
    limits().hit("email", settings().login_rate_limit, sha256(email.encode()).hexdigest())
