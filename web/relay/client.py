"""A client: one upgraded socket, and what the reactor knows of it.

A connection that is live and keeps up costs this and nothing more: what is needed only while it is
behind, catching up or ending stands in objects that it then has.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from web.relay.codec import Parser
from worker.channels import Place


@dataclass(frozen=True, slots=True)
class Member:
    """Who is at the other end, as the door found out.

    Args:
        channel: whose messages are heard: a company's or a tenant's id, as text.
        expires_at: when the session ends, in seconds since 1970.
    """

    channel: str
    user_id: UUID
    session_id: UUID
    company_id: UUID | None
    expires_at: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a client, or a channel, may take.

    Args:
        heartbeat_s: how often each client is pinged.
        stuck_s: how long a client may take nothing of what waits for it.
        inbound_burst: frames that a client may send at once; `inbound_per_s` come back a second.
        inbound_read: as how many frames it counts to resume from where the stream must be read.
        closing_s: how long a client may take over the closing handshake; `ended_s` if its session
            has ended: with the two seconds in which that is seen, all is over within five.
        ring_messages: how many past messages of a channel are held, of at most `ring_bytes`.
        empty_s: how long a channel that nobody hears is kept.
    """

    heartbeat_s: float = 25.0
    queue_messages: int = 256
    queue_bytes: int = 1 << 20
    stuck_s: float = 30.0
    inbound_bytes: int = 16 << 10
    inbound_burst: int = 40
    inbound_per_s: float = 10.0
    inbound_read: int = 10
    closing_s: float = 5.0
    ended_s: float = 1.5
    ring_messages: int = 256
    ring_bytes: int = 256 << 10
    empty_s: float = 30.0

    @property
    def tick_s(self) -> float:
        """How often it is looked what is due: some times a heartbeat, however short that is."""
        return min(1.0, self.heartbeat_s / 5)


class Backlog:
    """What a client was not yet able to take: whole frames, but perhaps for the first.

    Args:
        now: when it began, on the monotonic clock.
    """

    __slots__ = ("bounds", "frames", "gap_after", "held", "is_cut", "moved_at", "size")

    def __init__(self, bounds: Bounds, now: float) -> None:
        self.bounds = bounds
        self.frames: deque[bytes] = deque()
        self.size = 0
        # The first frame was sent in part: its rest must follow, come what may.
        self.is_cut = False
        self.moved_at = now
        # What the kernel held besides, when it was last looked at.
        self.held = 0
        # The last message before those that were skipped, until the client is told.
        self.gap_after: int | None = None

    def has_room(self, frame: bytes) -> bool:
        """Return whether the bounds allow it; one message may be larger than all of them."""
        bounds = self.bounds
        return not self.frames or (
            len(self.frames) < bounds.queue_messages
            and self.size + len(frame) <= bounds.queue_bytes
        )

    def begin(self, frames: Sequence[bytes], sent: int) -> int:
        """Queue the rest of the frame at which sending stopped; return the index of the next.

        Args:
            sent: how many bytes went, fewer than the frames have.
        """
        index = 0
        while sent >= len(frames[index]):
            sent -= len(frames[index])
            index += 1
        if not sent:
            return index
        self.add(frames[index][sent:])
        self.is_cut = True
        return index + 1

    def add(self, frame: bytes) -> None:
        """Queue the frame, room or not."""
        self.frames.append(frame)
        self.size += len(frame)

    def take(self, frames: Sequence[bytes], after: int) -> int:
        """Queue what there is room for, and return how many messages were skipped.

        From the first that is skipped, all are, until the client has taken what waits.

        Args:
            after: the number of the message before the first.
        """
        if self.gap_after is not None:
            return len(frames)
        for index, frame in enumerate(frames):
            if not self.has_room(frame):
                self.gap_after = after + index
                return len(frames) - index
            self.add(frame)
        return 0

    def sent(self, count: int) -> None:
        """Forget this many bytes, which were sent."""
        self.size -= count
        frames = self.frames
        while frames and count >= len(frames[0]):
            count -= len(frames.popleft())
            self.is_cut = False
        if count:
            frames[0] = frames[0][count:]
            self.is_cut = True

    def forget(self) -> None:
        """Forget all that can be: not the rest of a frame that was begun."""
        keep = self.frames[0] if self.is_cut else b""
        self.frames.clear()
        self.size = len(keep)
        self.gap_after = None
        if keep:
            self.frames.append(keep)


class Catching:
    """Where a client stands that is not live yet: it has what was before `next`.

    Args:
        since: from where it wants to hear, None for from now on.
        is_greeted: it was told hello.
    """

    __slots__ = ("is_begun", "is_greeted", "is_known", "is_reading", "next", "past", "since")

    def __init__(self, since: Place | None, *, is_greeted: bool = False) -> None:
        self.since = since
        self.is_greeted = is_greeted
        self.is_begun = False
        # The feed was asked and has not answered; it has answered that `since` exists.
        self.is_reading = self.is_known = False
        self.next = 0
        # What the feed answered; the frames are shared with who asked for the same.
        self.past: deque[bytes] = deque()


class Ending:
    """How a connection ends: the close frame is out or waits, and until when.

    Args:
        is_deaf: what the peer sends is not read any more: it broke the protocol.
        is_answered: the peer sent its close frame.
    """

    __slots__ = ("deadline", "is_answered", "is_deaf")

    def __init__(
        self, deadline: float, *, is_deaf: bool = False, is_answered: bool = False
    ) -> None:
        self.deadline = deadline
        self.is_deaf = is_deaf
        self.is_answered = is_answered


class Client:
    """One connection. All of it belongs to the reactor's thread."""

    __slots__ = (
        "allowance",
        "allowed_at",
        "behind",
        "catching",
        "ending",
        "fd",
        "member",
        "parser",
        "send",
        "sock",
        "unheard",
    )

    def __init__(self, sock: socket.socket, member: Member, allowance: float) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        # Looked up once: it is called for each message.
        self.send = sock.send
        self.member = member
        # Pings since it last sent something, or took something that waited.
        self.unheard = 0
        self.allowed_at = 0.0
        # How many frames it may send at once.
        self.allowance = allowance
        self.behind: Backlog | None = None
        self.catching: Catching | None = None
        self.ending: Ending | None = None
        self.parser: Parser | None = None

    def may_send(self, frames: int, now: float, bounds: Bounds) -> bool:
        """Charge the client for the frames that came from it; return whether it had them free."""
        regained = (now - self.allowed_at) * bounds.inbound_per_s
        self.allowance = min(bounds.inbound_burst, self.allowance + regained) - frames
        self.allowed_at = now
        return self.allowance >= 0


class Watcher(Protocol):
    """Who is told of clients, in the reactor's thread: it must not block."""

    def joined(self, client: Client) -> None:
        """A client was adopted."""

    def left(self, client: Client) -> None:
        """A client that had joined is gone, or on its way out; told once."""
