"""The breaker of a provider: while it is open, nothing that would call the provider is claimed.

Every call's outcome is told to Redis, which all processes share. Enough failures within a window
open the breaker; it stays open for pauses that grow, after each of which one caller probes; the
first success closes it. The payments of that provider wait meanwhile, those of others go on.

    if debt.waits_for(session, "stripe"):    # in a claim, before anything is written
        return None

A healthy provider costs next to nothing: successes are counted here and told once a second. With
Redis away the breaker counts as closed: it saves a provider and our threads trouble, and nothing
depends on it. Its seconds are the Redis server's, so machines need not agree on the time.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any

import redis
from sqlalchemy.orm import Session

from models import clock
from models.alerts import Severity
from worker import alerts, telemetry
from worker.cache import Cache, CacheAway, shared
from worker.database import in_transaction
from worker.settings import Settings, settings

log = logging.getLogger(__name__)

PROVIDERS = ("stripe", "paypal")
# What is called beside them and has no payment.
SOURCES = ("openexchangerates", "sendgrid", "smtp")
# How old a look at a closed breaker may be, and how long successes wait to be told.
KNOWN_S = 0.5
TOLD_EVERY_S = 1.0
# The window is counted in so many parts; the oldest falls out whole.
PARTS = 6

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: the breaker, its counts. ARGV: failures that open it, their share in %, a part of the window
# in ms, first and longest pause in ms, successes and failures to be counted, whether this call
# failed, how long ago it began in ms, how long the provider asks to be left alone in ms.
# Returns what became of the breaker, if anything did: opened, reopened, closed.
_TELL = (
    _NOW
    + """
local opened = tonumber(redis.call('HGET', KEYS[1], 'opened_at'))
local has_failed, ask = ARGV[8] == '1', tonumber(ARGV[10])
local longest = tonumber(ARGV[5])
if opened then
  -- What began before it opened tells nothing of how the provider is since.
  if now - tonumber(ARGV[9]) < opened then return '' end
  if not has_failed then
    redis.call('DEL', KEYS[1], KEYS[2])
    return 'closed'
  end
  redis.call('HINCRBY', KEYS[1], 'failures', ARGV[7])
  -- What began during the pause was no probe: a second try within the call that failed, say.
  if now - tonumber(ARGV[9]) < tonumber(redis.call('HGET', KEYS[1], 'next_at')) then return '' end
  local pause = math.min(math.max(redis.call('HGET', KEYS[1], 'pause_ms') * 2, ask), longest)
  redis.call('HDEL', KEYS[1], 'probe_by', 'probe_until')
  redis.call('HSET', KEYS[1], 'opened_at', now, 'pause_ms', pause, 'next_at', now + pause)
  return 'reopened'
end
local part = math.floor(now / ARGV[3])
redis.call('HINCRBY', KEYS[2], part .. ':ok', ARGV[6])
redis.call('HINCRBY', KEYS[2], part .. ':failed', ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[3] * (PARTS + 1))
if not has_failed then return '' end
local sums = {ok = 0, failed = 0}
local counts = redis.call('HGETALL', KEYS[2])
for i = 1, #counts, 2 do
  local of, kind = string.match(counts[i], '^(%d+):(%a+)$')
  if part - of < PARTS then sums[kind] = sums[kind] + counts[i + 1]
  else redis.call('HDEL', KEYS[2], counts[i]) end
end
if sums.failed < tonumber(ARGV[1])
  or sums.failed * 100 < ARGV[2] * (sums.ok + sums.failed) then return '' end
local pause = math.min(math.max(tonumber(ARGV[4]), ask), longest)
redis.call('HSET', KEYS[1], 'since', now, 'opened_at', now, 'pause_ms', pause,
  'next_at', now + pause, 'failures', sums.failed)
return 'opened'
"""
).replace("PARTS", str(PARTS))

# KEYS: the breaker. ARGV: who asks, how long a probe may take in ms.
# Returns how long to wait in ms and the pause that it is in; 0 when the caller may go on, as all
# may while it is closed and as the one may who is the probe.
_ASK = (
    _NOW
    + """
local next_at = tonumber(redis.call('HGET', KEYS[1], 'next_at'))
if not next_at then return {0, 0} end
local pause = tonumber(redis.call('HGET', KEYS[1], 'pause_ms'))
-- A server whose clock was set back must not keep it open for longer than it said.
if now < next_at and next_at - now <= pause then return {next_at - now, pause} end
local by = redis.call('HGET', KEYS[1], 'probe_by')
local lasts = tonumber(redis.call('HGET', KEYS[1], 'probe_until') or 0)
if by and by ~= ARGV[1] and now < lasts then return {pause, pause} end
redis.call('HSET', KEYS[1], 'probe_by', ARGV[1], 'probe_until', now + ARGV[2])
return {0, pause}
"""
)


class State(StrEnum):
    """How a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"  # one caller is probing
    UNKNOWN = "unknown"  # Redis is away: it counts as closed


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a provider's breaker stands, for people."""

    provider: str
    state: State
    since: datetime | None = None
    failures: int = 0
    next_probe_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What opens a breaker, and for how long."""

    failures: int
    share: float
    window_s: float
    pause_s: float
    longest_pause_s: float
    probe_s: float

    @classmethod
    def of(cls, given: Settings) -> Limits:
        """Read them from settings."""
        return cls(
            failures=given.breaker_failures,
            share=given.breaker_share,
            window_s=given.breaker_window_s,
            pause_s=given.breaker_pause_s,
            longest_pause_s=given.breaker_longest_pause_s,
            probe_s=given.claim_lease_s,
        )


class ProviderBreaker:
    """One provider's breaker, as a process sees it.

    Args:
        on_change: is called with the provider by the one caller who opened or closed it.
    """

    def __init__(
        self,
        provider: str,
        cache: Cache,
        limits: Limits,
        *,
        on_change: Callable[[str], None] | None = None,
    ) -> None:
        self.provider = provider
        self._cache = cache
        self._limits = limits
        self._on_change = on_change
        self._keys = (f"breaker:{provider}", f"breaker:{provider}:calls")
        self._lock = threading.Lock()
        self._successes = 0
        self._told_at = 0.0
        self._closed_until = 0.0

    def tell(self, *, has_failed: bool, took_s: float, retry_after_s: float = 0.0) -> None:
        """Tell what became of a call that ends now. Never raises."""
        with self._lock:
            moment = time.monotonic()
            if moment > self._told_at + self._limits.window_s / PARTS:
                self._successes = 0  # of another part of the window than what is told now
            self._successes += not has_failed
            is_soon = moment < self._told_at + TOLD_EVERY_S and moment < self._closed_until
            if not has_failed and is_soon:
                return
            successes, self._successes = self._successes, 0
            self._told_at = moment
        limits = self._limits
        became = self._eval(
            _TELL,
            *self._keys,
            limits.failures,
            round(limits.share * 100),
            round(limits.window_s * 1000 / PARTS),
            round(limits.pause_s * 1000),
            round(limits.longest_pause_s * 1000),
            successes,
            int(has_failed),
            int(has_failed),
            round(took_s * 1000),
            round(retry_after_s * 1000),
        )
        if became:
            self._follow(became)

    def wait_s(self, who: str) -> float:
        """Return how long the caller must leave the provider alone; 0 if it may be called now.

        Once a pause is over one caller gets 0, and the others wait for what it finds out. Asking
        again under the same name is the same caller's asking.
        """
        if time.monotonic() < self._closed_until:
            return 0.0
        answer = self._eval(_ASK, self._keys[0], who, round(self._limits.probe_s * 1000))
        if answer is None or answer[1] == 0:
            self._closed_until = time.monotonic() + KNOWN_S
            return 0.0
        wait_ms, pause_ms = map(float, answer)
        if wait_ms == 0:
            log.info("%s is probed", self.provider)
            return 0.0
        # Not all at once when it is over.
        return (wait_ms + random.uniform(0, pause_ms)) / 1000  # noqa: S311  jitter

    def is_open(self) -> bool:
        """Whether nobody may call now, without becoming the probe."""
        if time.monotonic() < self._closed_until:
            return False
        if self.standing().state in (State.OPEN, State.HALF_OPEN):
            return True
        self._closed_until = time.monotonic() + KNOWN_S
        return False

    def standing(self) -> Standing:
        """Return how it stands, from Redis."""
        try:
            found, (seconds, micros) = self._cache.do(
                lambda client: client.pipeline().hgetall(self._keys[0]).time().execute()
            )
        except (CacheAway, redis.RedisError):
            return Standing(provider=self.provider, state=State.UNKNOWN)
        if "opened_at" not in found:
            return Standing(provider=self.provider, state=State.CLOSED)
        now_ms = seconds * 1000 + micros // 1000
        is_probed = "probe_by" in found and now_ms < int(found["probe_until"])
        return Standing(
            provider=self.provider,
            state=State.HALF_OPEN if is_probed else State.OPEN,
            since=_moment(found["since"]),
            failures=int(found["failures"]),
            next_probe_at=_moment(found["next_at"]),
        )

    def _follow(self, became: str) -> None:
        """Remember here, and tell, what this caller has made of it."""
        self._closed_until = 0.0
        level = logging.INFO if became == "closed" else logging.WARNING
        log.log(level, "the breaker of %s is %s", self.provider, became)
        telemetry.count("breaker.moved", provider=self.provider, became=became)
        if self._on_change is None or became == "reopened":
            return
        try:
            self._on_change(self.provider)
        except Exception:
            # The call's own answer is worth more than word of the breaker.
            log.exception("nobody was told that the breaker of %s is %s", self.provider, became)

    def _eval(self, script: str, *words: Any) -> Any:
        keys = sum(1 for word in words if word in self._keys)
        try:
            return self._cache.do(lambda client: client.eval(script, keys, *words))
        except CacheAway:
            return None
        except redis.RedisError:
            log.exception("the breaker of %s cannot be asked", self.provider)
            return None


def _moment(ms: str) -> datetime:
    """Return a time of the Redis server's by our own clock, as all times that people see are."""
    return datetime.fromtimestamp(int(ms) / 1000, UTC) + clock.ahead()


def tell_people(session: Session, provider: str) -> None:
    """Have one alert open while the breaker is. Safe at any time and any number of times."""
    standing = breaker_of(provider).standing()
    key = f"breaker:{provider}"
    if standing.state in (State.OPEN, State.HALF_OPEN):
        alerts.alert(
            session,
            "provider_away",
            severity=Severity.CRITICAL,
            message=f"{provider} does not answer as it should: what needs it waits, "
            "and goes on by itself once it is well.",
            open_key=key,
        )
    elif standing.state is State.CLOSED:
        alerts.resolve(session, key, why=f"{provider} answers again.")


def _tell_people_now(provider: str) -> None:
    in_transaction(tell_people, None, provider)


@cache
def breaker_of(provider: str) -> ProviderBreaker:
    """Return this process's view of a provider's breaker."""
    limits = Limits.of(settings())
    return ProviderBreaker(provider, shared(), limits, on_change=_tell_people_now)


def standings() -> list[Standing]:
    """Return how each provider's breaker stands."""
    return [breaker_of(provider).standing() for provider in (*PROVIDERS, *SOURCES)]
