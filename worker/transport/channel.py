"""A channel: takes messages by script, waits queue by queue, acknowledges in passing."""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any
from uuid import uuid4

import orjson
import redis
from kombu.transport import redis as stock
from kombu.transport import virtual
from kombu.utils.json import dumps, loads

from worker.transport.scripts import PUT_BACK, TAKE, TAKE_SHA
from worker.transport.unacked import QoS
from worker.transport.wire import ChannelClosed, Herald, Wire

log = logging.getLogger(__name__)

WAIT_S = 5
# How long a BLMOVE waits before it is sent again; a connection that died unheard shows by then.
MOST_ACKS = 1000
# Told in one round trip; a script's arguments have to fit on Lua's stack.
CHUNK = 100
# Messages put back in one round trip.
UNREADABLE = "unreadable"
# The list where messages end that are no messages.


@dataclass(frozen=True)
class Asked:
    """What Redis was asked for and has not answered."""

    queues: list[str]
    tags: list[str]
    # Under which messages may be taken.
    acks: list[str]
    arguments: list[Any]


class Channel(stock.Channel):  # type: ignore[misc]
    """A channel that takes messages by script and waits for them queue by queue."""

    QoS = QoS
    priority_steps = (0,)
    _in_poll: Any
    _listened: Sequence[str] = ()

    def __init__(self, connection: Any, **options: Any) -> None:
        self._shared: Any = None
        self._herald: Herald | None = None
        self._acks: deque[str] = deque()
        self._prefix = f"{uuid4().hex}."
        self._sent = itertools.count()
        self._number = 0
        # Queues that may hold messages, the next to be served first.
        self._ripe: OrderedDict[str, None] = OrderedDict()
        self._unacknowledged: set[str] = set()
        self._waits: dict[str, Any] = {}
        self._waits_since: dict[str, float] = {}
        # Taken, but not delivered yet: queue, tag, message.
        self._taken: deque[tuple[str, str, bytes]] = deque()
        # Tags under which messages may have been taken whose answer never came.
        self._unheard: list[str] = []
        self._asked: Asked | None = None
        super().__init__(connection, **options)

    # Connections

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002  kombu's
        if self.connection is None or self.connection.client is None:
            # Kombu would fail on None here, which Celery takes for a bug of the worker's.
            raise ChannelClosed("the connection of this channel was given up")
        params = super()._connparams(asynchronous=asynchronous)
        kind = params["connection_class"]
        params["connection_class"] = type("Wire", (Wire, kind), {})
        return params

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Give the channel's client; kombu makes a new one for each command."""
        if client is None:
            client = self._shared
            if client is None or client.connection_pool is not self._pool:
                client = self._shared = self._create_client()
        yield client

    def _next_delivery_tag(self) -> str:
        # As unique as kombu's random ones, without asking the system for each.
        return f"{self._prefix}sent.{next(self._sent)}"

    def _put_fanout(self, exchange: str, message: Any, routing_key: str, **options: Any) -> None:
        if options.get("_publish_batch") is not None:
            super()._put_fanout(exchange, message, routing_key, **options)
            return
        if self._herald is None or self._herald.pool is not self._pool:
            self._herald = Herald(self.pool)
        for topic in self._get_publish_topics(exchange, routing_key):
            self._herald.send("PUBLISH", topic, dumps(message))

    def _on_connection_disconnect(self, connection: Any) -> None:
        if self._in_poll is connection:
            self._give_up_answer()
        for queue, client in list(self._waits.items()):
            if client.connection is connection:
                self._waits_since.pop(queue, None)
                self._ripe[queue] = None
        super()._on_connection_disconnect(connection)

    def _give_up_answer(self) -> None:
        asked, self._asked, self._in_poll = self._asked, None, None
        if asked is not None:
            self._acks.extendleft(asked.acks)
            self._unheard += asked.tags

    # Consumers

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **options: Any) -> Any:  # noqa: FBT001, FBT002  kombu's
        """Start to consume; the queue is looked into once before it is waited on."""
        if no_ack:
            self._unacknowledged.add(queue)
        consumed = super().basic_consume(queue, no_ack, *args, **options)
        if queue not in self.active_fanout_queues:
            self._ripe[queue] = None
            self.handlers["WAIT", queue] = partial(self._read_wait, queue)
        return consumed

    def _basic_cancel(self, consumer_tag: str) -> Any:
        queue = self._tag_to_queue.get(consumer_tag)
        cancelled = super()._basic_cancel(consumer_tag)
        if queue is not None and queue not in self._active_queues:
            self._unacknowledged.discard(queue)
            client = self._waits.pop(queue, None)
            self._waits_since.pop(queue, None)
            self._ripe.pop(queue, None)
            if client is not None and client.connection is not None:
                # A connection that still blocks cannot go back to the pool.
                client.connection.disconnect()
                client.connection_pool.release(client.connection)
        return cancelled

    def basic_get(self, queue: str, no_ack: bool = False, **_options: Any) -> Any:  # noqa: FBT001, FBT002  kombu's
        """Take one message now, or None."""
        asked = self._ask_for([queue], 1, [], unacknowledged={queue} if no_ack else set())
        with self.conn_or_acquire() as client:
            _, taken = client.eval(TAKE, *asked.arguments)
        if not taken:
            return None
        [tag] = asked.tags
        payload = self._readable(queue, tag, taken[1])
        if payload is None:
            return None
        message = self.Message(payload, channel=self)
        if not no_ack:
            self.qos.append(message, tag)
        return message

    # Acknowledging and putting back

    def ack(self, tag: str) -> None:
        """Acknowledge: with the next round trip if an event loop will make one, else now."""
        if self.closed:
            log.warning("a message was done after its connection was lost; it may come again")
            return
        self._acks.append(tag)
        if not self.connection.cycle.is_evented:
            self.tell_acks()

    def tell_acks(self) -> None:
        """Tell Redis what was acknowledged and not told yet."""
        while self._acks:
            tags = list(self._acks)[:MOST_ACKS]
            with self.conn_or_acquire() as client:
                pipe = client.pipeline(transaction=False)
                pipe.zrem(self.unacked_index_key, *tags)
                pipe.hdel(self.unacked_key, *tags)
                pipe.execute()
            for _ in tags:
                self._acks.popleft()

    def put_back(self, tags: Sequence[str], *, side: str = "RPUSH") -> None:
        """Put messages that are still unacknowledged back on their queues.

        Args:
            tags: in the order in which they were taken; they will be taken so again.
            side: RPUSH to be taken next, LPUSH to be taken last.
        """
        for end in range(len(tags), 0, -CHUNK):
            chunk = list(tags[max(0, end - CHUNK) : end])[::-1]
            with self.conn_or_acquire() as client:
                found = client.hmget(self.unacked_key, chunk)
                pipe = client.pipeline(transaction=False)
                for tag, raw in zip(chunk, found, strict=True):
                    queues, message = self._returning(raw)
                    keys = [self.unacked_index_key, self.unacked_key, *queues]
                    pipe.eval(PUT_BACK, len(keys), *keys, tag, message, side)
                pipe.execute()

    def _returning(self, raw: bytes | None) -> tuple[list[str], str | bytes]:
        if raw is None:
            return [], ""
        try:
            payload, exchange, routing_key = loads(raw)
            payload["headers"]["redelivered"] = True
            payload["properties"]["delivery_info"]["redelivered"] = True
        except (ValueError, TypeError, LookupError):
            log.critical("an unreadable message was set aside: %r", raw[:200])
            return [UNREADABLE], raw
        return self._lookup(exchange, routing_key) or [routing_key], dumps(payload)

    def close(self) -> None:
        """Put back what was taken and not acknowledged, then close, also without a Redis."""
        if self.closed:
            return
        lost = (*self.connection_errors, redis.ResponseError)
        # Each by itself: one connection may be lost and another not.
        for step in (self._hear_last, self._put_back_all):
            try:
                step()
            except lost as error:
                log.warning("a channel closes with a connection lost: %s", error)
        self._in_poll = None
        self._acks.clear()
        cycle = self.connection.cycle
        try:
            super().close()
        except lost:
            # Kombu stops at the first thing that it cannot tell Redis.
            self._disconnect_pools()
            self._close_clients()
            virtual.Channel.close(self)
        finally:
            cycle.forget(self)

    def _hear_last(self) -> None:
        try:
            if self._in_poll:
                self._read_answer()
        finally:
            if self._herald is not None:
                self._herald.close()

    def _put_back_all(self) -> None:
        # Undelivered, but ours: they go back with the rest.
        undelivered = [*(tag for _, tag, _ in self._taken), *self._unheard]
        self._taken.clear()
        self._unheard.clear()
        for tag in undelivered:
            self.qos.append(None, tag)
        if self._qos is not None:
            self._qos.restore_unacked_once()

    # Taking

    def work(self) -> None:
        """Send what there is to send: what the event loop does before it sleeps."""
        cycle = self.connection.cycle
        if self._unheard:
            self.put_back(self._unheard)
            self._unheard.clear()
        if not self._in_poll and (self._acks or (self._ripe and self.qos.can_consume())):
            cycle._register_BRPOP(self)  # noqa: SLF001  ends in _brpop_start
        for queue in self._listened:
            if queue not in self._ripe and queue not in self._waits_since:
                self._wait(queue)

    def _update_queue_cycle(self) -> None:
        self._listened = self.active_queues

    def _brpop_start(self, timeout: float | None = None) -> None:  # noqa: ARG002  kombu's
        room = self.qos.can_consume_max_estimate()
        queues = list(self._ripe) if room != 0 else []
        acks = [self._acks.popleft() for _ in range(min(len(self._acks), MOST_ACKS))]
        if not queues and not acks:
            return
        room = min(CHUNK if room is None else room, CHUNK) if queues else 0
        self._asked = self._ask_for(queues, room, acks, unacknowledged=self._unacknowledged)
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self.client.connection.send_command("EVALSHA", TAKE_SHA, *self._asked.arguments)

    def _ask_for(
        self, queues: list[str], room: int, acks: list[str], *, unacknowledged: set[str]
    ) -> Asked:
        kinds = "".join("n" if queue in unacknowledged else "a" for queue in queues)
        keys = [self.unacked_index_key, self.unacked_key, *queues]
        first, self._number = self._number, self._number + room
        tags = [f"{self._prefix}{first + i}" for i in range(room)]
        return Asked(
            queues, tags, acks, [len(keys), *keys, room, self._prefix, first, kinds, *acks]
        )

    def _brpop_read(self, **_options: Any) -> bool:
        if not self._in_poll:
            # Nothing was asked: Redis has closed an idle connection.
            self.client.connection.disconnect()
            return False
        self._read_answer()
        delivered = False
        while self._taken:
            queue, tag, raw = self._taken.popleft()
            payload = self._readable(queue, tag, raw)
            if payload is not None:
                self.connection._deliver(payload, queue)  # noqa: SLF001  as kombu's own
                delivered = True
        return delivered

    def _read_answer(self) -> None:
        connection, asked = self._in_poll, self._asked
        if asked is None:
            raise ChannelClosed("nothing was asked on this connection")
        try:
            try:
                empty, taken = connection.read_response()
            except redis.exceptions.NoScriptError:
                # A new Redis, or one whose scripts were flushed.
                connection.send_command("EVAL", TAKE, *asked.arguments)
                empty, taken = connection.read_response()
        except BaseException:
            # Whatever comes on it later is no answer to what is asked next.
            connection.disconnect()
            raise
        self._in_poll = self._asked = None
        for position, raw, tag in zip(taken[::2], taken[1::2], asked.tags, strict=False):
            queue = asked.queues[position]
            self._taken.append((queue, tag, raw))
            if queue in self._ripe:
                self._ripe.move_to_end(queue)
        for position in empty:
            self._ripe.pop(asked.queues[position], None)

    def _readable(self, queue: str, tag: str, raw: bytes) -> dict[str, Any] | None:
        try:
            # Kombu's own reader knows marked types, and takes longer.
            payload = loads(raw) if b'"__type__"' in raw else orjson.loads(raw)
            payload["properties"]["delivery_tag"] = tag
            payload["properties"]["delivery_info"]["routing_key"]
        except (ValueError, TypeError, LookupError):
            log.critical("an unreadable message in %s was set aside: %r", queue, raw[:200])
            with self.conn_or_acquire() as client:
                pipe = client.pipeline()
                pipe.lpush(UNREADABLE, raw)
                pipe.zrem(self.unacked_index_key, tag)
                pipe.hdel(self.unacked_key, tag)
                pipe.execute()
            return None
        return payload  # type: ignore[no-any-return]

    # Waiting

    def _wait(self, queue: str) -> None:
        client = self._waits.get(queue)
        if client is None:
            client = self._waits[queue] = self._create_client(asynchronous=True)
        cycle, kind = self.connection.cycle, ("WAIT", queue)
        if not cycle._client_registered(self, client, kind):  # noqa: SLF001  as kombu's own
            cycle._register(self, client, kind)  # noqa: SLF001
        client.connection.send_command("BLMOVE", queue, queue, "RIGHT", "RIGHT", WAIT_S)
        self._waits_since[queue] = monotonic()

    def _read_wait(self, queue: str) -> None:
        client = self._waits.get(queue)
        if client is None:
            return
        if self._waits_since.pop(queue, None) is None:
            client.connection.disconnect()
            return
        try:
            found = client.connection.read_response()
        except self.connection_errors:
            client.connection.disconnect()
            raise
        if found is not None:
            self._ripe[queue] = None
            self.work()

    def overdue(self, moment: float) -> Iterable[Any]:
        """Return connections on which an answer should have come long ago."""
        if self._in_poll and moment - self._brpop_sent_at > self.health_check_interval:
            yield self._in_poll
        for queue, since in list(self._waits_since.items()):
            if moment - since > WAIT_S + self.health_check_interval:
                yield self._waits[queue].connection
