"""Catching up: from where a client left off until it is live, without a hole."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from web.relay import notices
from web.relay.channel import Channel, Feed, piece_of
from web.relay.client import Catching, Client
from web.relay.codec import frame
from web.relay.outbound import Outbound, Stats
from worker.channels import Place

Messages = Sequence[tuple[int, bytes]]
Waiting = tuple[Client, Catching]


class Answer(NamedTuple):
    """What the feed found: frames, or None and why the client must fetch all again."""

    frames: list[bytes] | None
    reason: str = ""


class CatchUp:
    """Leads clients from a place in the past to the live group, in the reactor's thread.

    A client is sent what is missing piece by piece, as fast as its socket takes it, from the
    channel's ring or, where that does not reach back, from what the feed reads. It is live once it
    has had all that the channel handed out.

    Raises:
        OSError: the connection is gone.
    """

    def __init__(self, feed: Feed, outbound: Outbound, stats: Stats, heartbeat_s: float) -> None:
        self._feed = feed
        self._outbound = outbound
        self._stats = stats
        self._heartbeat_s = heartbeat_s
        self._references = itertools.count()
        # What the feed was asked for and still owes: a channel and the number after which.
        self._asked: dict[object, tuple[Channel, int]] = {}

    def start(self, channel: Channel, client: Client, catching: Catching, now: float) -> None:
        """Take the client out of the live group until it has what it lacks."""
        channel.live.pop(client.fd, None)
        channel.forget(client)
        channel.catching[client.fd] = client
        client.catching = catching
        if catching.since is not None:
            self._stats.resumes += 1
        if client.behind is not None:
            # What was skipped is sent again: there is no gap to tell.
            client.behind.gap_after = None
        if client.behind is None or not client.behind.frames:
            self.proceed(channel, client, now)

    def proceed(self, channel: Channel, client: Client, now: float) -> None:
        """Go on with a client to which nothing waits to be sent."""
        catching, place = client.catching, channel.place
        if catching is None or place is None or catching.is_reading:
            self._rest(client)
        elif catching.is_begun:
            self._send_piece(channel, client, catching, now)
        else:
            self._begin(channel, client, catching, now)

    def refetch(
        self, channel: Channel, client: Client, reason: str, now: float, spread_ms: int = 0
    ) -> None:
        """Tell the client that what it lacks cannot be told, and make it live.

        Args:
            spread_ms: over how long all who are told so now shall fetch anew.
        """
        place = channel.place
        if place is None:
            return
        self._stats.refetches[reason] += 1
        if client.behind is not None:
            client.behind.forget()
        if client.catching is not None:
            client.catching.is_begun = False
            self._outbound.push(client, self._greeting(client.catching, place), now)
            self._join(channel, client)
        self._outbound.push(client, [notices.refetch(place, reason, spread_ms)], now)

    def reset(self, channel: Channel) -> None:
        """Expect no answer any more to what was asked about the channel."""
        for reference in [ref for ref, (asked, _) in self._asked.items() if asked is channel]:
            del self._asked[reference]
        channel.reads.clear()

    def answered(self, reference: object) -> tuple[Channel, int, list[Waiting]] | None:
        """Return what was asked, of which channel after which message, and who waits for it."""
        asked = self._asked.pop(reference, None)
        if asked is None:
            return None
        channel, seq = asked
        waiting = channel.reads.pop(seq, {}).values()
        return channel, seq, [(c, catching) for c, catching in waiting if c.catching is catching]

    def resolve(self, channel: Channel, waiting: Waiting, answer: Answer, now: float) -> None:
        """Give a client what the feed found for it."""
        client, catching = waiting
        catching.is_reading = False
        if answer.frames is None:
            self.refetch(channel, client, answer.reason, now)
            return
        catching.is_known = True
        catching.past = deque(answer.frames)
        if client.behind is None or not client.behind.frames:
            self.proceed(channel, client, now)

    def _begin(self, channel: Channel, client: Client, catching: Catching, now: float) -> None:
        since, place = catching.since, channel.place
        if place is None:
            return
        if since is None:
            self._outbound.push(client, self._greeting(catching, place), now)
            self._join(channel, client)
        elif since.epoch != place.epoch:
            self.refetch(channel, client, "epoch", now)
        else:
            catching.is_begun = True
            catching.next = since.seq + 1
            self._send_piece(channel, client, catching, now)

    def _send_piece(self, channel: Channel, client: Client, catching: Catching, now: float) -> None:
        head = channel.ring.last
        frames = self._missing(channel, catching)
        if frames is None or (catching.next > head + 1 and not catching.is_known):
            self._ask(channel, client, catching)
            self._rest(client)
            return
        greeting = self._greeting(catching, catching.since)
        if frames or greeting:
            self._outbound.push(client, [*greeting, *frames], now)
        catching.next += len(frames)
        self._stats.deliveries += len(frames)
        if catching.next == head + 1:
            self._join(channel, client)
        elif frames:
            self._outbound.watch(client, now)
        else:
            # It is ahead of this relay, which will hear what the client has.
            self._rest(client)

    def _missing(self, channel: Channel, catching: Catching) -> list[bytes] | None:
        """Return a piece of what the client lacks, or None if the feed must be asked."""
        if catching.past:
            piece = piece_of(catching.past)
            for _ in piece:
                catching.past.popleft()
            return piece
        if catching.next > channel.ring.last:
            return []
        return channel.ring.after(catching.next - 1)

    def _ask(self, channel: Channel, client: Client, catching: Catching) -> None:
        if not catching.is_known:
            # A few who ask for all the past again and again would keep the process busy.
            client.allowance -= channel.ring.bounds.inbound_read
        catching.is_reading = True
        seq, place = catching.next - 1, channel.place
        if seq not in channel.reads and place is not None:
            reference = next(self._references)
            self._feed.read(channel.name, reference, Place(place.epoch, seq))
            self._asked[reference] = channel, seq
        channel.reads.setdefault(seq, {})[client.fd] = (client, catching)

    def _greeting(self, catching: Catching, position: Place | None) -> list[bytes]:
        if catching.is_greeted or position is None:
            return []
        catching.is_greeted = True
        is_resumed = catching.is_begun
        return [notices.hello(position, is_resumed=is_resumed, heartbeat_s=self._heartbeat_s)]

    def _join(self, channel: Channel, client: Client) -> None:
        client.catching = None
        del channel.catching[client.fd]
        channel.live[client.fd] = client
        self._rest(client)

    def _rest(self, client: Client) -> None:
        if client.behind is not None and not client.behind.frames:
            self._outbound.rest(client)


def answer_of(
    channel: Channel, seq: int, messages: Messages | None, place: Place, reason: str | None
) -> Answer:
    """Return what the feed said about what follows `seq` as frames, if it is of use.

    What a client may hold is bounded: of more it gets a part, and asks again.
    """
    if messages is None:
        return Answer(None, reason or "lost")
    if channel.place is None or place.epoch != channel.place.epoch:
        return Answer(None, "epoch")
    if place.seq > seq if not messages else messages[0][0] != seq + 1:
        return Answer(None, "lost")
    bounds = channel.ring.bounds
    frames, size = [], 0
    for _, body in messages:
        frames.append(frame(body))
        size += len(body)
        if size >= bounds.queue_bytes:
            break
    return Answer(frames)
