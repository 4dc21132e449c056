"""The stream that accepted events wait in: a Redis stream with one consumer group.

An entry is deleted once what it holds is committed, so that the stream's length is what waits. How
many events and bytes that is stands beside it, for the limit. Whatever is lost is lost as a whole:
who adds next begins the stream anew, and who reads next its group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import redis

from worker.cache import Cache, shared
from worker.channels import Script
from worker.collecting.entries import Entry, Unreadable, entry_of

T = TypeVar("T")

STREAM = "analytics:events"
GROUP = "collectors"
LOAD = "analytics:load"
RUNG = "analytics:rung"
REFUSED = "analytics:refused"
TRIES = "analytics:tries"
TRIES_LIFE_S = 24 * 3600
# What waits at most: an hour of a busy day, and what Redis has room for.
MOST_EVENTS = 500_000
MOST_BYTES = 256 * 1024 * 1024
# Refused entries that are kept for a person to look at.
MOST_REFUSED = 10_000
# A ring that nobody heard is repeated.
RUNG_FOR_S = 2.0
# A worker's name is its process's; those of processes that are gone are forgotten.
GONE_AFTER_S = 3600.0
DELETED, FULL = 1, 0

# ARGV: events and bytes at most, events that are a full batch, the life of a ring in ms, then of
# each entry producer, name, first number, count and payload. Returns whether it was taken, how many
# events wait, and whether the caller is to ring.
_ADD = Script(
    f"""
local S, L, call = '{STREAM}', '{LOAD}', redis.call
if call('EXISTS', S) == 0 then call('DEL', L) end
local load = call('HMGET', L, 'events', 'bytes')
local events, bytes = tonumber(load[1] or 0), tonumber(load[2] or 0)
if events >= tonumber(ARGV[1]) or bytes >= tonumber(ARGV[2]) then return {{0, events, 0}} end
for i = 5, #ARGV, 5 do
  call('XADD', S, '*', 'producer', ARGV[i], 'name', ARGV[i + 1], 'first', ARGV[i + 2],
    'count', ARGV[i + 3], 'events', ARGV[i + 4])
  events, bytes = events + ARGV[i + 3], bytes + #ARGV[i + 4]
end
call('HSET', L, 'events', events, 'bytes', bytes)
local ring = 0
if events >= tonumber(ARGV[3]) and call('SET', '{RUNG}', 1, 'NX', 'PX', ARGV[4]) then ring = 1 end
return {{1, events, ring}}
"""
)

# ARGV: of each entry its id, its count and its payload's length. Returns how many there were.
_DONE = Script(
    f"""
local S, L, call = '{STREAM}', '{LOAD}', redis.call
local events, bytes, number = 0, 0, 0
for i = 1, #ARGV, 3 do
  if call('EXISTS', S) == 1 then call('XACK', S, '{GROUP}', ARGV[i]) end
  if call('XDEL', S, ARGV[i]) == 1 then
    number = number + 1
    events, bytes = events + ARGV[i + 1], bytes + ARGV[i + 2]
  end
end
if call('XLEN', S) == 0 then call('DEL', L)
elseif number > 0 then
  call('HINCRBY', L, 'events', -events)
  call('HINCRBY', L, 'bytes', -bytes)
end
return number
"""
)


@dataclass(frozen=True)
class Added:
    """What became of entries: whether they were taken, and whether somebody is to be rung for."""

    is_taken: bool
    waiting: int
    rings: bool


@dataclass(frozen=True)
class Standing:
    """What waits: events, entries, those in a worker's hands, and how old the oldest is."""

    events: int = 0
    bytes: int = 0
    entries: int = 0
    held: int = 0
    refused: int = 0
    oldest_s: float | None = None


class Stream:
    """The stream in one Redis. Every call raises CacheAway if that cannot be asked."""

    def __init__(
        self, cache: Cache, *, most_events: int = MOST_EVENTS, most_bytes: int = MOST_BYTES
    ) -> None:
        self._cache = cache
        self._limits = most_events, most_bytes

    def add(self, entries: Sequence[Entry], *, batch: int) -> Added:
        """Put entries into the stream, all of them or, if it is full, none."""
        words: list[object] = [*self._limits, batch, int(RUNG_FOR_S * 1000)]
        for entry in entries:
            of = entry.numbers
            words += [of.producer_id.hex, of.name, of.first, entry.number, entry.payload]
        taken, waiting, rings = self._cache.do(lambda client: _ADD.run(client, *words))
        return Added(taken == 1, waiting, rings == 1)

    def heard(self) -> None:
        """Let the next full batch ring again."""
        self._cache.do(lambda client: client.delete(RUNG))

    def read(self, worker: str, number: int, *, after: str = ">") -> list[Entry | Strange]:
        """Return entries that nobody has, or, after `0`, those that this worker took before."""
        found = self._in_group(
            lambda client: client.xreadgroup(GROUP, worker, {STREAM: after}, count=number)
        )
        return [_entry(*each) for _, several in found or () for each in several if each[1]]

    def claim(self, worker: str, number: int, *, idle_s: float) -> list[Entry | Strange]:
        """Take over what a worker that is gone has held."""
        idle_ms = int(idle_s * 1000)
        answer = self._in_group(
            lambda client: client.xautoclaim(STREAM, GROUP, worker, idle_ms, count=number)
        )
        return [_entry(*each) for each in answer[1] if each[1]]

    def begin(self, entry_id: str) -> int:
        """Return how often somebody has begun with an entry and not come back, with this time."""

        def count(client: Any) -> int:
            number = client.hincrby(TRIES, entry_id, 1)
            client.expire(TRIES, TRIES_LIFE_S)
            return int(number)

        return self._cache.do(count)

    def end(self, entry_id: str) -> None:
        """Note that whoever began with an entry has come back."""
        self._cache.do(lambda client: client.hdel(TRIES, entry_id))

    def done(self, entries: Sequence[Entry | Strange]) -> None:
        """Acknowledge and delete entries, whose effect is committed."""
        words = [word for each in entries for word in (each.id, each.number, each.size)]
        self._cache.do(lambda client: _DONE.run(client, *words))

    def refuse(self, entry_id: str, payload: str, why: str) -> None:
        """Put aside what can't be stored, for a person to see."""
        fields = {"entry": entry_id, "events": payload, "why": why[:1000]}
        self._cache.do(
            lambda client: client.xadd(REFUSED, fields, maxlen=MOST_REFUSED, approximate=True)
        )

    def standing(self) -> Standing:
        """Return what waits."""
        return self._cache.do(_standing)

    def forget_workers(self, *, gone_s: float = GONE_AFTER_S) -> int:
        """Forget workers that hold nothing and have not come for long; return how many."""
        known = self._in_group(lambda client: client.xinfo_consumers(STREAM, GROUP))
        gone = [
            each["name"] for each in known if not each["pending"] and each["idle"] > gone_s * 1000
        ]
        for name in gone:
            self._in_group(partial(_forget, name))
        return len(gone)

    def _in_group(self, work: Any) -> Any:
        """Do it, with a group made first if Redis has lost it."""
        try:
            return self._cache.do(work)
        except redis.ResponseError as error:
            if "NOGROUP" not in str(error) and "no such key" not in str(error):
                raise
        self._cache.do(_begin)
        return self._cache.do(work)


@dataclass(frozen=True, slots=True)
class Strange:
    """An entry that is none of ours."""

    id: str
    payload: str
    why: str
    number: int = 0
    size: int = 0


def _entry(entry_id: str, fields: dict[str, str]) -> Entry | Strange:
    try:
        return entry_of(entry_id, fields)
    except Unreadable as error:
        return Strange(entry_id, str(fields), str(error))


def _begin(client: Any) -> None:
    try:
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


def _forget(name: str, client: Any) -> None:
    client.xgroup_delconsumer(STREAM, GROUP, name)


def _standing(client: Any) -> Standing:
    """Read all at one time: what is said to be the oldest was so at the Redis server's own time."""
    pipeline = client.pipeline(transaction=True)
    pipeline.hmget(LOAD, "events", "bytes")
    pipeline.xlen(STREAM)
    pipeline.xrange(STREAM, count=1)
    pipeline.xlen(REFUSED)
    pipeline.time()
    (events, size), entries, oldest, refused, (seconds, micros) = pipeline.execute()
    oldest_s = None
    if oldest:
        added_ms = int(oldest[0][0].partition("-")[0])
        oldest_s = max(0.0, seconds + micros / 1_000_000 - added_ms / 1000)
    return Standing(
        events=int(events or 0),
        bytes=int(size or 0),
        entries=entries,
        held=_held(client),
        refused=refused,
        oldest_s=oldest_s,
    )


def _held(client: Any) -> int:
    try:
        return int(client.xpending(STREAM, GROUP)["pending"])
    except redis.ResponseError:
        return 0  # no group: nobody has come yet


@cache
def stream() -> Stream:
    """Return this process's stream."""
    return Stream(shared())
