"""Channels that browsers hear: messages numbered without a hole, kept a while, published.

A channel is a company's, or a tenant's, whose operators hear it, and goes by its owner's id as
text. A message's id is `<epoch>-<seq>`; within an epoch the numbers of a channel run 1, 2, 3, …,
so that a reader sees a hole by arithmetic. All numbers stand in one hash beside the epoch and the
server that made it. Whatever takes numbers back takes the epoch with it:

- The hash is lost (a flush, a restart without data, an eviction): the next message finds the
  numbering of its channel begun again, looks for the epoch, and makes a new one.
- An older state comes back (a restart from a snapshot, a failover to a replica that lagged): every
  such server is another process, with a `run_id` of its own. Each new connection first compares
  it with the one that made the epoch, and makes a new epoch where they differ.

A stream that is lost or trimmed takes no numbers back: who needs what was in it is told so. So a
stream may expire, and that of a channel that has gone quiet does.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from typing import Any, Self, TypeVar
from uuid import UUID

import redis
from redis.exceptions import NoScriptError

from worker.cache import Cache, CacheAway, connect, raised_if_away
from worker.settings import settings

log = logging.getLogger(__name__)

T = TypeVar("T")

HISTORY = 1000
# How much of a channel's past a reader may resume from.
KEPT_S = 7 * 24 * 3600
# For how long: from when the stream began, and anew with every so many messages.
RENEWED_EVERY = 100
PREFIX = "channel:"
HEADS = "events:heads"
_PLACE = re.compile(r"([0-9a-f]{1,32})-(0|[1-9][0-9]{0,15})")
_ID_AT = len('{"id":"')

# `begin` makes a new epoch. `say` numbers, keeps and publishes: three commands for one message.
# One that begins a stream takes two more, and so no stream is without an end. A first number is
# rare and may mean that the numbering was lost: only then the epoch is looked for, as the field
# that was counted up has it in its name. A script that Redis stops in the middle would leave a
# hole, so the numbers that were not used are given back.
NUMBERING = f"""
local HEADS, call = '{HEADS}', redis.call
local function begin(fresh)
  local run = string.match(call('INFO', 'server'), 'run_id:(%x+)')
  call('DEL', HEADS)
  call('HSET', HEADS, 'run', run, 'epoch', fresh)
  return fresh
end
local function say(epoch, fresh, channel, bodies, first)
  local stream, count = 'events:' .. channel, #bodies - first + 1
  local field = epoch .. ':' .. channel
  local last = call('HINCRBY', HEADS, field, count)
  if last == count then
    local now = call('HGET', HEADS, 'epoch')
    if now ~= epoch then
      call('HDEL', HEADS, field)
      epoch = now or begin(fresh)
      field = epoch .. ':' .. channel
      last = call('HINCRBY', HEADS, field, count)
    end
    if last == count then call('DEL', stream) end
  end
  local seq = last - count
  for i = first, #bodies do
    seq = seq + 1
    local message = '{{"id":"' .. epoch .. '-' .. seq .. '",' .. bodies[i]
    local kept = redis.pcall(
      'XADD', stream, 'NOMKSTREAM', 'MAXLEN', '~', {HISTORY}, seq .. '-0', 'message', message)
    local is_new = not kept
    if is_new then kept = redis.pcall('XADD', stream, seq .. '-0', 'message', message) end
    if type(kept) == 'table' then
      call('HINCRBY', HEADS, field, seq - 1 - last)
      return kept
    end
    if is_new or seq % {RENEWED_EVERY} == 0 then call('EXPIRE', stream, {KEPT_S}) end
    call('PUBLISH', '{PREFIX}' .. channel, message)
  end
  return epoch
end
"""

# ARGV: the epoch that the caller knows, a fresh one, whose channel, then the bodies, each without
# its first brace.
_PUBLISH = NUMBERING + "return say(ARGV[1], ARGV[2], ARGV[3], ARGV, 4)"

# The first words on a new connection. ARGV: a fresh epoch.
_GREET = (
    NUMBERING
    + """
local run = string.match(call('INFO', 'server'), 'run_id:(%x+)')
local known = call('HMGET', HEADS, 'run', 'epoch')
if known[1] == run and known[2] then return known[2] end
return begin(ARGV[1])
"""
)

# ARGV: a fresh epoch, whose channel, the epoch and number of the last message that is known.
# Answers the head, and what came after if it is still to be had.
_READ = (
    NUMBERING
    + """
local epoch = call('HGET', HEADS, 'epoch') or begin(ARGV[1])
local head = tonumber(call('HGET', HEADS, epoch .. ':' .. ARGV[2]) or 0)
local known = tonumber(ARGV[4])
if ARGV[3] ~= epoch or known >= head then return {epoch, head, {}} end
local found = redis.pcall('XRANGE', 'events:' .. ARGV[2], (known + 1) .. '-0', '+')
if found.err then found = {} end
return {epoch, head, found}
"""
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader of a channel stands: the last message that it has, in which numbering."""

    epoch: str
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `<epoch>-<seq>`, as a message's `id` and `since` have it.

        Raises:
            ValueError: it is no place.
        """
        found = _PLACE.fullmatch(text)
        if found is None:
            raise ValueError("a place is <epoch>-<seq>")
        return cls(found[1], int(found[2]))

    @classmethod
    def of(cls, message: bytes) -> Self:
        """Return the place of a message as it was published."""
        return cls.parse(message[_ID_AT : message.index(b'"', _ID_AT)].decode())

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


@dataclass(frozen=True, slots=True)
class History:
    """What came after a place, or why that cannot be told.

    Args:
        head: the newest message there is.
        messages: numbers and bodies, from the place's next to the head.
        lost: `epoch` (numbered anew), `ahead` (the place was never reached), `trimmed`, or None.
    """

    head: Place
    messages: Sequence[tuple[int, bytes]] = ()
    lost: str | None = None


def stream_of(channel: UUID | str) -> str:
    """Return the key of the stream of a channel's past messages."""
    return f"events:{channel}"


def channel_of(channel: UUID | str) -> str:
    """Return what to subscribe to in Redis to hear a channel."""
    return f"{PREFIX}{channel}"


def fresh_epoch() -> str:
    """Return a name that no numbering has had."""
    return secrets.token_hex(5)


class Script:
    """A Lua script that the server keeps; one that it has forgotten is sent again."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = sha1(source.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: Any, *arguments: Any) -> Any:
        """Run it once.

        Raises:
            redis.RedisError: as the server, or the lack of one, has it.
        """
        try:
            return client.execute_command("EVALSHA", self.sha, 0, *arguments)
        except NoScriptError:
            return client.execute_command("EVAL", self.source, 0, *arguments)

    def run_all(self, client: Any, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """Run it once for each list of arguments; return answers and errors, in one round trip."""
        if len(calls) == 1:
            # A pipeline of one costs half as much again.
            try:
                return [self.run(client, *calls[0])]
            except redis.ResponseError as error:
                return raised_if_away([error])
        answers = _send(client, ("EVALSHA", self.sha, 0), calls)
        forgotten = [i for i, a in enumerate(answers) if isinstance(a, NoScriptError)]
        if forgotten:
            again = _send(client, ("EVAL", self.source, 0), [calls[i] for i in forgotten])
            for i, answer in zip(forgotten, again, strict=True):
                answers[i] = answer
        return raised_if_away(answers)


def _send(client: Any, verb: tuple[str, str, int], calls: Sequence[Sequence[Any]]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for arguments in calls:
        pipeline.execute_command(*verb, *arguments)
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    return answers


PUBLISH = Script(_PUBLISH)
READ = Script(_READ)


class Channels:
    """The channels of one Redis, bounded in time: every method may raise CacheAway."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._options: dict[str, Any] = {
            "decode_responses": False,
            "redis_connect_func": self._greet,
        }
        self.cache = Cache(url, **self._options)
        # Only to save the server a look: it is right or found to be wrong.
        self.epoch = ""

    def publish(self, messages: Mapping[str, Sequence[bytes]]) -> dict[str, Exception]:
        """Number, keep and publish these JSON objects, each channel's in order.

        Returns:
            The channels that Redis refuses to write, with why.

        Raises:
            CacheAway: some or all may have been published.
        """
        fresh = fresh_epoch()
        calls = [
            (self.epoch, fresh, channel, *(body[1:] for body in bodies))
            for channel, bodies in messages.items()
        ]
        answers = self.do(lambda client: PUBLISH.run_all(client, calls))
        refused = {}
        for channel, answer in zip(messages, answers, strict=True):
            if isinstance(answer, Exception):
                refused[channel] = answer
            else:
                self.epoch = answer.decode()
        return refused

    def position(self, channel: str) -> Place:
        """Return the place of the newest message."""
        return self.read({channel: None})[channel].head

    def since(self, channel: str, place: Place) -> History:
        """Return what came after `place`."""
        return self.read({channel: place})[channel]

    def read(self, places: Mapping[str, Place | None]) -> dict[str, History]:
        """Return what came after the place on each channel, or only the head where it is None."""
        fresh = fresh_epoch()
        calls = [
            (fresh, channel, *((place.epoch, place.seq) if place else ("", 0)))
            for channel, place in places.items()
        ]
        answers = self.do(lambda client: READ.run_all(client, calls))
        return {
            channel: _history(place, answer)
            for (channel, place), answer in zip(places.items(), answers, strict=True)
        }

    def connection(self, *, timeout_s: float) -> Any:
        """Return a connection of its own to subscribe with, not connected yet.

        Args:
            timeout_s: how long to wait for the rest of an answer that has begun.
        """
        pool = connect(self._url, timeout_s=timeout_s, protocol=2, **self._options).connection_pool
        return pool.connection_class(**pool.connection_kwargs)

    def do(self, work: Callable[[redis.Redis], T]) -> T:
        """Run `work(client)`.

        Raises:
            CacheAway: Redis is away, hangs or refuses to write.
        """
        try:
            return self.cache.do(work)
        except CacheAway:
            # A server that became a replica for a while keeps its connections and its run_id, and
            # comes back with what another one numbered: it is to be greeted again.
            self.cache.client.connection_pool.disconnect(inuse_connections=False)
            raise

    def _greet(self, connection: Any) -> None:
        connection.on_connect()
        connection.send_command("EVAL", _GREET, 0, fresh_epoch(), check_health=False)
        self.epoch = connection.read_response().decode()


def _history(place: Place | None, answer: Any) -> History:
    if isinstance(answer, Exception):
        raise answer
    epoch, seq, found = answer
    head = Place(epoch.decode(), seq)
    if place is None or place == head:
        return History(head)
    if place.epoch != head.epoch:
        return History(head, lost="epoch")
    if place.seq > head.seq:
        return History(head, lost="ahead")
    messages = [(int(key.partition(b"-")[0]), fields[1]) for key, fields in found]
    if [seq for seq, _ in messages] != list(range(place.seq + 1, head.seq + 1)):
        return History(head, lost="trimmed")
    return History(head, messages)


@cache
def _channels_at(url: str) -> Channels:
    return Channels(url)


def channels() -> Channels:
    """Return this process's channels."""
    return _channels_at(settings().cache_url)
