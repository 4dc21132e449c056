"""A channel: the clients that hear one company, and its latest messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final, Protocol

from web.relay.client import Bounds, Catching, Client
from worker.channels import Place

# How much of the past is sent at a time: about what a socket takes at once.
PIECE_BYTES: Final = 64 << 10
PIECE_MESSAGES: Final = 256


class Feed(Protocol):
    """Where messages come from. It is called in the reactor's thread and must not block.

    For an open channel it calls the reactor's `heard` without a hole, or `reset` in between.
    """

    def open(self, channel: str) -> None:
        """Subscribe; the answer is `Reactor.opened`."""

    def close(self, channel: str) -> None:
        """Unsubscribe; there is no answer."""

    def read(self, channel: str, client_ref: object, since: Place) -> None:
        """Fetch the messages after `since`; the answer is `Reactor.told` with `client_ref`."""


class Ring:
    """The latest frames of a channel, without a hole; `last` is the number of the newest."""

    __slots__ = ("bounds", "frames", "last", "size")

    def __init__(self, bounds: Bounds, last: int) -> None:
        self.bounds = bounds
        self.frames: deque[bytes] = deque()
        self.size = 0
        self.last = last

    def append(self, frames: Sequence[bytes]) -> None:
        """Add the messages that follow; the oldest make room, the newest stays."""
        held, bounds = self.frames, self.bounds
        held.extend(frames)
        self.last += len(frames)
        self.size += sum(map(len, frames))
        while len(held) > bounds.ring_messages or (self.size > bounds.ring_bytes and len(held) > 1):
            self.size -= len(held.popleft())

    def after(self, seq: int) -> list[bytes] | None:
        """Return a piece of what follows the message `seq`, or None if that is not held."""
        start = len(self.frames) - (self.last - seq)
        if start < 0 or seq > self.last:
            return None
        return piece_of(self.frames, start)


class Channel:
    """One company's clients. They are live, or they catch up and stand in `catching`."""

    __slots__ = ("catching", "live", "name", "place", "reads", "ring")

    def __init__(self, name: str, bounds: Bounds) -> None:
        self.name = name
        # The last message that was handed out; None until the feed has opened the channel.
        self.place: Place | None = None
        self.ring = Ring(bounds, 0)
        self.live: dict[int, Client] = {}
        self.catching: dict[int, Client] = {}
        # What the feed was asked for, by the number after which: who waits, by descriptor.
        self.reads: dict[int, dict[int, tuple[Client, Catching]]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nobody hears it."""
        return not self.live and not self.catching

    def start(self, place: Place) -> None:
        """Go on from this place, with no past."""
        self.place = place
        self.ring = Ring(self.ring.bounds, place.seq)
        self.reads.clear()

    def forget(self, client: Client) -> None:
        """Let the client wait for nothing: what it asked the feed for may be long in coming."""
        catching = client.catching
        if catching is not None and catching.is_reading:
            self.reads.get(catching.next - 1, {}).pop(client.fd, None)

    def advance(self, frames: Sequence[bytes]) -> None:
        """Note the messages that follow."""
        self.ring.append(frames)
        if self.place is not None:
            self.place = Place(self.place.epoch, self.ring.last)


def piece_of(frames: deque[bytes], start: int = 0) -> list[bytes]:
    """Return some of the frames, at least one if there is one."""
    piece, size = [], 0
    for frame in islice(frames, start, start + PIECE_MESSAGES):
        piece.append(frame)
        size += len(frame)
        if size >= PIECE_BYTES:
            break
    return piece
