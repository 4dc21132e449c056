"""The reactor: one thread that holds every connection of the process."""

from __future__ import annotations

import logging
import os
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from web.relay import notices
from web.relay.catching import CatchUp, Messages, answer_of
from web.relay.channel import Channel, Feed
from web.relay.client import Bounds, Catching, Client, Member, Watcher
from web.relay.codec import frame
from web.relay.codes import LEAVING
from web.relay.connections import Connections
from web.relay.inbox import Inbox
from web.relay.outbound import READS, Outbound, Stats
from worker.channels import Place

log = logging.getLogger(__name__)

# How many sockets one turn handles: the rest has its turn, after the inbox.
MOST_EVENTS: Final = 1024
# What the relay makes many do at once, it spreads so that so many do it a second.
RETURNS_PER_S: Final = 500
LONGEST_SPREAD_S: Final = 10.0
# Of sysexits: an internal software error.
SOFTWARE: Final = 70


def end_process() -> None:
    """End the process at once: without its reactor it would only look alive."""
    os._exit(SOFTWARE)


class Reactor(threading.Thread):
    """Holds the connections and hands them what the feed hears.

    All that concerns clients happens in its thread. The public methods are for other threads; but
    for `drain` they return at once.

    Args:
        clock: seconds that only go up.
        died: called in the reactor's thread when it cannot go on.
    """

    def __init__(
        self,
        feed: Feed,
        watchers: Sequence[Watcher] = (),
        *,
        heartbeat_s: float = 25.0,
        bounds: Bounds | None = None,
        clock: Callable[[], float] = time.monotonic,
        died: Callable[[], None] = end_process,
    ) -> None:
        super().__init__(name="relay-reactor", daemon=True)
        self.bounds = replace(bounds or Bounds(), heartbeat_s=heartbeat_s)
        self.stats = Stats()
        self._feed = feed
        self._watchers = watchers
        self._clock = clock
        self._died = died
        self._epoll = select.epoll()
        self._inbox = Inbox()
        self._epoll.register(self._inbox.fd, READS)
        self._outbound = Outbound(self._epoll, self.bounds, self.stats)
        self._connections = Connections(self, self._epoll, self._outbound, self.bounds)
        self._catch_up = CatchUp(feed, self._outbound, self.stats, heartbeat_s)
        self._channels: dict[str, Channel] = {}
        # Until when a channel that nobody hears is kept.
        self._empty: dict[str, float] = {}
        self._now = self._clock()
        self._next_tick = self._now
        self._worst_lag_s = 0.0
        self._spread_ms: int | None = None
        self._leaves_by = float("inf")
        self._has_left = threading.Event()

    # What other threads call.

    def adopt(self, sock: socket.socket, member: Member, since: Place | None) -> None:
        """Take over an upgraded socket that does not block."""
        self._inbox.put(self._adopt, sock, member, since)
        if self._has_left.is_set():
            self._close_late()

    def opened(self, channel: str, place: Place) -> None:
        """The channel is subscribed to, and goes on after `place`."""
        self._inbox.put(self._opened, channel, place)

    def heard(self, channel: str, messages: Messages) -> None:
        """These messages follow on the channel: numbers and JSON bodies."""
        self._inbox.put(self._heard, channel, messages, self._clock())

    def reset(self, channel: str, place: Place, reason: str) -> None:
        """The channel goes on after `place`; what was in between cannot be told."""
        self._inbox.put(self._reset, channel, place, reason)

    def told(
        self,
        client_ref: object,
        since: Place,  # noqa: ARG002  the reference says it too
        messages: Messages | None,
        place: Place,
        reason: str | None,
    ) -> None:
        """What `Feed.read` found: None with a reason if all must be fetched again."""
        self._inbox.put(self._told, client_ref, messages, place, reason)

    def end_sessions(self, session_ids: Collection[UUID], code: int, reason: str) -> None:
        """Close the connections of these sessions."""
        self._inbox.put(self._end_sessions, frozenset(session_ids), code, reason)

    def drain(self, *, spread_s: float, within_s: float) -> None:
        """Tell all to come back, each at its moment of the next `spread_s`; return when all left.

        Whoever has not left `within_s` is cut. Who is adopted from now on is told the same.
        """
        self._inbox.put(self._leave_all, spread_s, within_s)
        self._has_left.wait(within_s + self.bounds.tick_s * 2)

    # The loop.

    def run(self) -> None:
        """Turn until drained. What fails here, and not for one client, ends the process."""
        try:
            while self._spread_ms is None or (
                self._connections.by_fd and self._now < self._leaves_by
            ):
                self._turn()
            self._leave()
        except BaseException:
            log.critical("the relay's reactor died", exc_info=True)
            self._died()

    def _turn(self) -> None:
        connections, bell, is_rung = self._connections, self._inbox.fd, False
        ready = self._epoll.poll(max(0.0, self._next_tick - self._clock()), MOST_EVENTS)
        now = self._now = self._clock()
        for fd, events in ready:
            if fd == bell:
                is_rung = True
                continue
            client = connections.by_fd.get(fd)
            if client is not None:
                connections.safely(client, connections.attend, client, events, now)
        if is_rung:
            # Last: what it adopts may have the number of a descriptor that was closed above.
            self._take_calls()
        if now >= self._next_tick:
            self._next_tick = now + self.bounds.tick_s
            self._tick(now)

    def _take_calls(self) -> None:
        """Do what other threads want; what is heard on a channel at one go is sent at one go."""
        heard: dict[str, list[tuple[int, bytes]]] = {}
        since = self._now
        for function, arguments in self._inbox.take():
            if function == self._heard:
                channel, messages, at = arguments
                heard.setdefault(channel, []).extend(messages)
                since = min(since, at)
                continue
            if heard:
                self._hand_out(heard, since)
            function(*arguments)
        if heard:
            self._hand_out(heard, since)

    def _hand_out(self, heard: dict[str, list[tuple[int, bytes]]], since: float) -> None:
        for channel, messages in heard.items():
            self._heard(channel, messages, since)
        heard.clear()
        self._worst_lag_s = max(self._worst_lag_s, self._clock() - since)

    def _tick(self, now: float) -> None:
        self._connections.tick(now)
        self.stats.lag_s, self._worst_lag_s = self._worst_lag_s, 0.0
        for name in [name for name, until in self._empty.items() if now > until]:
            del self._empty[name]
            self._catch_up.reset(self._channels.pop(name))
            self._feed.close(name)

    def _leave(self) -> None:
        for client in list(self._connections.by_fd.values()):
            self._connections.drop(client)
        self._has_left.set()
        self._close_late()

    def _close_late(self) -> None:
        for function, arguments in self._inbox.take():
            if function == self._adopt:
                arguments[0].close()

    # What the inbox brings.

    def _adopt(self, sock: socket.socket, member: Member, since: Place | None) -> None:
        client = Client(sock, member, self.bounds.inbound_burst)
        self._connections.safely(client, self._join, client, since)

    def _join(self, client: Client, since: Place | None) -> None:
        # First: whatever becomes of the client from here on, who was told of it hears that it left.
        self._tell((watcher.joined for watcher in self._watchers), client)
        self._connections.add(client, self._now)
        if self._spread_ms is not None:
            self._send_away(client, random.randrange(self._spread_ms + 1))  # noqa: S311
            return
        channel = self._channel(client.member.channel)
        self._catch_up.start(channel, client, Catching(since), self._now)

    def _channel(self, name: str) -> Channel:
        channel = self._channels.get(name)
        if channel is None:
            self._feed.open(name)
            channel = self._channels[name] = Channel(name, self.bounds)
        self._empty.pop(name, None)
        return channel

    def _opened(self, name: str, place: Place) -> None:
        channel = self._channels.get(name)
        if channel is None or channel.place == place:
            return
        if channel.place is not None:
            self._reset(name, place, "lost")
            return
        channel.start(place)
        for client in list(channel.catching.values()):
            self._connections.safely(client, self._proceed, channel, client)

    def _heard(self, name: str, messages: Messages, _: float) -> None:
        channel = self._channels.get(name)
        if channel is None or channel.place is None:
            return
        after = channel.ring.last
        if messages[0][0] != after + 1 or messages[-1][0] != after + len(messages):
            messages = [message for message in messages if message[0] > after]
            if [seq for seq, _ in messages] != list(range(after + 1, after + 1 + len(messages))):
                log.error("the feed left a hole")
                self._reset(name, Place(channel.place.epoch, messages[-1][0]), "lost")
                return
            if not messages:
                return
        frames = [frame(body) for _, body in messages]
        channel.advance(frames)
        for client in self._outbound.fan(channel.live.values(), frames, after, self._now):
            self._connections.drop(client)
        for client in list(channel.catching.values()):
            if client.behind is None:
                self._connections.safely(client, self._proceed, channel, client)

    def _reset(self, name: str, place: Place, reason: str) -> None:
        channel = self._channels.get(name)
        if channel is None:
            return
        if channel.place is None:
            self._opened(name, place)
            return
        self._catch_up.reset(channel)
        channel.start(place)
        # By all who are here: what happened to this channel happens to the others in this second.
        together = min(len(self._connections.by_fd) / RETURNS_PER_S, LONGEST_SPREAD_S)
        spread_ms = round(together * 1000)
        for client in [*channel.live.values(), *channel.catching.values()]:
            self._connections.safely(
                client, self._catch_up.refetch, channel, client, reason, self._now, spread_ms
            )

    def _told(
        self, reference: object, messages: Messages | None, place: Place, reason: str | None
    ) -> None:
        asked = self._catch_up.answered(reference)
        if asked is None:
            return
        channel, seq, waiting = asked
        answer = answer_of(channel, seq, messages, place, reason)
        for client, catching in waiting:
            self._connections.safely(
                client, self._catch_up.resolve, channel, (client, catching), answer, self._now
            )

    def _end_sessions(self, session_ids: frozenset[UUID], code: int, reason: str) -> None:
        for client in list(self._connections.by_fd.values()):
            if client.member.session_id in session_ids:
                self._connections.safely(
                    client, self._connections.end, client, code, reason, self._now
                )

    def _leave_all(self, spread_s: float, within_s: float) -> None:
        self._spread_ms = round(spread_s * 1000)
        self._leaves_by = self._now + within_s
        clients = list(self._connections.by_fd.values())
        random.shuffle(clients)
        for turn, client in enumerate(clients):
            self._connections.safely(
                client, self._send_away, client, self._spread_ms * turn // len(clients)
            )

    def _send_away(self, client: Client, retry_ms: int) -> None:
        self._connections.end(client, LEAVING, f"retry_ms={retry_ms}", self._now)

    def _proceed(self, channel: Channel, client: Client) -> None:
        self._catch_up.proceed(channel, client, self._now)

    # What its connections tell it.

    def took_all(self, client: Client, now: float) -> None:
        """Tell of what was skipped, or go on with who catches up."""
        channel, behind = self._channels[client.member.channel], client.behind
        if client.catching is not None:
            self._catch_up.proceed(channel, client, now)
            return
        if behind is None or channel.place is None or behind.gap_after is None:
            self._outbound.rest(client)
            return
        place, after, behind.gap_after = channel.place, behind.gap_after, None
        behind.add(notices.gap(place.epoch, after, place.seq))
        if self._outbound.flush(client, now):
            self._outbound.rest(client)

    def asked(self, client: Client, since: Place, now: float) -> None:
        """Let the client hear from there."""
        channel, catching = self._channels[client.member.channel], client.catching
        is_greeted = catching is None or catching.is_greeted
        self._catch_up.start(channel, client, Catching(since, is_greeted=is_greeted), now)

    def gone(self, client: Client) -> None:
        """Take the client out of its channel."""
        channel = self._channels.get(client.member.channel)
        if channel is not None:
            channel.forget(client)
            channel.live.pop(client.fd, None)
            channel.catching.pop(client.fd, None)
            if channel.is_empty:
                self._empty[channel.name] = self._now + self.bounds.empty_s
        client.catching = None
        self._tell((watcher.left for watcher in self._watchers), client)

    def _tell(self, watching: Iterable[Callable[[Client], None]], client: Client) -> None:
        """Tell watchers of a client: one that fails harms neither the client nor the others."""
        for tell in watching:
            try:
                tell(client)
            except Exception:
                log.exception("a watcher of the relay failed")
