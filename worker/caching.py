"""Values that are costly to make, kept in Redis for a while: made once, however many ask.

    get_or_fetch("module_meta:...", life_s=6 * 3600, kind=ModuleMeta, fetch=read_it)
    invalidate_after_commit(session, "module_meta:...:*")

Redis only saves work. Away, hung or flushed, each value is fetched where it is asked for.

- One fetch: who finds nothing puts a lease in the value's place and fetches; the others wait for
  what comes of that, in the same process on a future, elsewhere by looking again. A lease ends by
  itself, so a holder that died keeps nobody longer. Who has waited long enough fetches for itself.
- Never stale: what is removed takes the lease along, and only who still holds their lease may
  store. So a fetch that began before an invalidation leaves nothing, and who asks after it joins no
  fetch from before it.
- All keys that begin with the same two words, `company_metrics:<company>:`, are of one generation.
  Forgetting that one key makes all of them stale at once, without a search for them.
- A value carries the hash of its type's JSON schema: of another release it is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import re
import secrets
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Impatient
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Generic, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from worker import telemetry
from worker.cache import Cache, CacheAway, shared
from worker.channels import Script

log = logging.getLogger(__name__)

T = TypeVar("T")

# Longer than any fetch that is well; a holder that died is waited for so long at most.
LEASE_S = 5.0
# Then a reader fetches for itself and stores nothing.
PATIENCE_S = 10.0
# That there is nothing is remembered for a moment: who makes it forgets this, but a flood of
# questions for what never was must not fill Redis.
NEGATIVE_LIFE_S = 60.0
# Values stored at once end one after the other.
JITTER = 0.1
GENERATION_LIFE_S = 24 * 3600
BATCH = 1000
_POLL_S, _SLOWEST_POLL_S = 0.005, 0.05

_VALUE, _NOTHING, _LEASE = "V", "N", "L"
_GLOB = re.compile(r"[*?\[\]\\]")
_SCOPE = re.compile(r"([^*?\[\]\\:]+:[^*?\[\]\\:]+):\*")

# ARGV: key, key of its generation, a new generation, the schema, a token, then in ms the lives of
# a lease and of a generation. Answers what there is, a lease with the token if that is taken now.
_ASK = Script("""
local generation = redis.call('GET', ARGV[2])
if not generation then
  generation = ARGV[3]
  redis.call('SET', ARGV[2], generation, 'PX', ARGV[7])
end
local head = generation .. ARGV[4]
local found = redis.call('GET', ARGV[1])
if found and string.sub(found, 2, 1 + #head) == head then return found end
local lease = 'L' .. head .. ARGV[5]
redis.call('SET', ARGV[1], lease, 'PX', ARGV[6])
return lease
""")

# ARGV: key, the lease, the value, its life in ms; without a value the lease is given up.
_STORE = Script("""
if redis.call('GET', ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == '' then return redis.call('DEL', ARGV[1]) end
redis.call('SET', ARGV[1], ARGV[3], 'PX', ARGV[4])
return 1
""")

_WORD = 12  # hex digits of a generation, a schema's hash and a token


@dataclass(frozen=True)
class _Shape(Generic[T]):
    """How a type is written, and what its schema is known by."""

    adapter: TypeAdapter[T]
    schema: str


@cache
def _shape_of(kind: Any) -> _Shape[Any]:
    adapter = TypeAdapter(kind)
    schema = json.dumps(adapter.json_schema(mode="serialization"), sort_keys=True)
    return _Shape(adapter, hashlib.sha256(schema.encode()).hexdigest()[:_WORD])


# What a fetch came to, in a tuple; None: look again.
_Flight = Future[tuple[Any] | None]


class Caching:
    """The cached values of one Redis, as one process reads them."""

    def __init__(
        self,
        redis: Callable[[], Cache] = shared,
        *,
        lease_s: float = LEASE_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._redis = redis
        self._lease_s = lease_s
        self._patience_s = patience_s
        self._lock = threading.Lock()
        # By the token of the lease, which whoever asks makes up beforehand.
        self._flights: dict[str, _Flight] = {}

    def get_or_fetch(
        self,
        key: str,
        *,
        life_s: float,
        kind: type[T],
        fetch: Callable[[], T | None],
        negative_life_s: float = NEGATIVE_LIFE_S,
    ) -> T | None:
        """Return the value of `key`, fetched once if there is none; it may be shared: read only.

        No transaction may be open: it would be held while others fetch.

        Args:
            key: two words or more between colons; the first two are its scope.
            kind: what `fetch` returns, as pydantic knows types.
            fetch: None says that there is nothing.
            negative_life_s: how long that there is nothing is remembered; 0 for not at all.
        """
        shape: _Shape[T] = _shape_of(cast("Hashable", kind))
        give_up_at = time.monotonic() + self._patience_s
        while time.monotonic() < give_up_at:
            token = secrets.token_hex(_WORD // 2)
            flight = self._flights[token] = Future()
            try:
                found = self._ask(key, shape.schema, token)
                if found == _LEASE + found[1 : 1 + 2 * _WORD] + token:
                    lead = _Lead(key, found, life_s, negative_life_s, shape)
                    return self._fetch(lead, fetch, flight)
            except CacheAway:
                break
            finally:
                del self._flights[token]
            if found[0] != _LEASE:
                with suppress(ValidationError):
                    return _read(key, found, shape)
                self.invalidate(key)
            elif (come := self._await(key, found, give_up_at)) is not None:
                _count(key, "waited")
                return come[0]  # type: ignore[no-any-return]
        _count(key, "direct")
        return fetch()

    def invalidate(self, pattern: str) -> None:
        """Remove what has this key, or all keys that fit a pattern as Redis knows them.

        With Redis away what is there ends with its life.
        """
        try:
            self._invalidate(pattern)
        except CacheAway:
            log.warning("Redis is away: %s is not forgotten before its time", pattern)

    def outdate(self, patterns: Iterable[str]) -> None:
        """Make stale what fits: all `<word>:<word>:*` together by one command, others one by one.

        Raises:
            CacheAway: what is there stays until its life ends.
        """
        exact, others = [], []
        for pattern in patterns:
            if (scope := _SCOPE.fullmatch(pattern)) is not None:
                exact.append(_generation_of(scope[1]))
            else:
                others.append(pattern)
        if exact:
            self._redis().do(lambda redis: redis.unlink(*exact))
        for pattern in others:
            self._invalidate(pattern)

    def _invalidate(self, pattern: str) -> None:
        if _GLOB.search(pattern) is None:
            self._redis().do(lambda redis: redis.unlink(pattern))
            return
        if _SCOPE.fullmatch(pattern) is not None:
            self.outdate([pattern])
        cursor = 0
        while (cursor := self._redis().do(partial(_sweep, pattern, cursor))) != 0:
            pass

    def _ask(self, key: str, schema: str, token: str) -> str:
        fresh = secrets.token_hex(_WORD // 2)
        of = _generation_of(_scope_of(key))
        lives_ms = int(self._lease_s * 1000), GENERATION_LIFE_S * 1000
        found: str = self._redis().do(
            lambda redis: _ASK.run(redis, key, of, fresh, schema, token, *lives_ms)
        )
        return found

    def _fetch(self, lead: _Lead[T], fetch: Callable[[], T | None], flight: _Flight) -> T | None:
        """Fetch as the one who holds the lease, and hand the value or the error to who waits."""
        _count(lead.key, "fetched")
        try:
            value = fetch()
        except BaseException as error:
            self._store(lead, "", 0)
            if isinstance(error, Exception):
                flight.set_exception(error)
            else:
                flight.set_result(None)
            raise
        self._store(lead, *lead.written(value))
        flight.set_result((value,))
        return value

    def _store(self, lead: _Lead[Any], text: str, life_s: float) -> None:
        # Longer than it says nothing may live, so it is shortened at random and never lengthened.
        life_ms = max(1, int(life_s * 1000 * (1 - JITTER * random.random())))  # noqa: S311
        with suppress(CacheAway):
            self._redis().do(lambda redis: _STORE.run(redis, lead.key, lead.lease, text, life_ms))

    def _await(self, key: str, lease: str, give_up_at: float) -> tuple[Any] | None:
        """Wait for what comes of another's lease; None if it is to be asked for again."""
        token = lease[1 + 2 * _WORD :]
        with self._lock:
            flight = self._flights.get(token)
            if watched := flight is None:
                flight = self._flights[token] = Future()
        if not watched:
            with suppress(Impatient):
                return flight.result(max(0.0, give_up_at - time.monotonic()))
            return None
        try:
            self._watch(key, lease, give_up_at)
        finally:
            del self._flights[token]
            flight.set_result(None)
        return None

    def _watch(self, key: str, lease: str, give_up_at: float) -> None:
        """Return when the lease is over: one thread of a process looks for all."""
        pause_s = _POLL_S
        with suppress(CacheAway):
            while time.monotonic() < give_up_at:
                if self._redis().do(lambda redis: redis.get(key)) != lease:
                    return
                time.sleep(pause_s)
                pause_s = min(pause_s * 1.5, _SLOWEST_POLL_S)


@dataclass(frozen=True)
class _Lead(Generic[T]):
    """The right to store a key's value."""

    key: str
    lease: str
    life_s: float
    negative_life_s: float
    shape: _Shape[T]

    def written(self, value: T | None) -> tuple[str, float]:
        """Return what to store for a value, and for how long; no text gives the lease up."""
        head = self.lease[1 : 1 + 2 * _WORD]
        if value is None:
            return (_NOTHING + head, self.negative_life_s) if self.negative_life_s else ("", 0)
        return _VALUE + head + self.shape.adapter.dump_json(value).decode(), self.life_s


def _sweep(pattern: str, cursor: int, redis: Any) -> int:
    """Remove what fits among the next keys; return where to go on, 0 at the end."""
    following, keys = redis.scan(cursor, match=pattern, count=BATCH)
    if keys:
        redis.unlink(*keys)
    return int(following)


def _read(key: str, found: str, shape: _Shape[T]) -> T | None:
    if found[0] == _NOTHING:
        _count(key, "nothing")
        return None
    value = shape.adapter.validate_json(found[1 + 2 * _WORD :])
    _count(key, "found")
    return value


def _scope_of(key: str) -> str:
    words = key.split(":")
    return ":".join(words[: min(2, len(words) - 1)])


def _generation_of(scope: str) -> str:
    return f"{scope}:generation"


def _count(key: str, outcome: str) -> None:
    telemetry.count("cache.reads", prefix=key.partition(":")[0], outcome=outcome)


@cache
def caching() -> Caching:
    """Return this process's cached values."""
    return Caching()


def get_or_fetch(
    key: str,
    *,
    life_s: float,
    kind: type[T],
    fetch: Callable[[], T | None],
    negative_life_s: float = NEGATIVE_LIFE_S,
) -> T | None:
    """Return the value of `key`, fetched once if there is none. See `Caching.get_or_fetch`."""
    return caching().get_or_fetch(
        key, life_s=life_s, kind=kind, fetch=fetch, negative_life_s=negative_life_s
    )


def invalidate(pattern: str) -> None:
    """Remove what fits a key or a pattern. See `Caching.invalidate`."""
    caching().invalidate(pattern)


# In a session's info: what its commit makes stale.
_STALE = "stale_patterns"


def invalidate_after_commit(session: Session, *patterns: str) -> None:
    """Make stale what fits, as soon as the transaction has committed and before that is told.

    With Redis away, or when the process dies in between, it is stale until its life ends.
    """
    stale: set[str] = session.info.setdefault(_STALE, set())
    stale.update(patterns)


def forget_stale(session: Session) -> None:
    """Make stale what a transaction has changed; to be called after its commit. Never raises."""
    patterns = session.info.pop(_STALE, None)
    if not patterns:
        return
    try:
        caching().outdate(patterns)
    except CacheAway:
        log.warning("Redis is away: %d patterns are stale until their time", len(patterns))
    except Exception:
        log.exception("%d patterns are stale until their time", len(patterns))
