"""Sending: one frame to all, whole or in part, and what waits for those that are slow."""

from __future__ import annotations

import fcntl
import logging
import select
import socket
import sys
import termios
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from web.relay.channel import piece_of
from web.relay.client import Backlog, Bounds, Client

log = logging.getLogger(__name__)

READS: Final = select.EPOLLIN
BOTH: Final = select.EPOLLIN | select.EPOLLOUT


@dataclass(slots=True)
class Stats:
    """What the relay counts.

    Args:
        deliveries: messages handed to a client's socket or queue.
        refetches: clients told to fetch anew, by the reason.
        closed: connections that we closed, by the code.
        sends: calls of the kernel for live messages.
        lag_s: of the last second, the longest from hearing a message to having it sent to all.
    """

    deliveries: int = 0
    skipped: int = 0
    resumes: int = 0
    refetches: Counter[str] = field(default_factory=Counter)
    closed: Counter[int] = field(default_factory=Counter)
    sends: int = 0
    lag_s: float = 0.0


class Outbound:
    """Writes to clients, in the reactor's thread.

    Raises:
        OSError: from `push` and `flush`: the connection is gone.
    """

    def __init__(self, epoll: select.epoll, bounds: Bounds, stats: Stats) -> None:
        self._epoll = epoll
        self._bounds = bounds
        self.stats = stats
        # Whose socket is watched for room.
        self.slow: dict[int, Client] = {}

    def fan(
        self, clients: Iterable[Client], frames: Sequence[bytes], after: int, now: float
    ) -> list[Client]:
        """Send the frames, which follow the message `after`, to all; return whose sockets broke."""
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        size, reached, sends, skipped = len(data), 0, 0, 0
        broken: list[Client] = []
        fallen: list[tuple[Client, int]] = []
        for client in clients:
            reached += 1
            if client.behind is not None:
                skipped += client.behind.take(frames, after)
                continue
            sends += 1
            try:
                sent = client.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                broken.append(client)
                continue
            except Exception:
                log.exception("a client of the relay had to be dropped")
                broken.append(client)
                continue
            if sent != size:
                fallen.append((client, sent))
        for client, sent in fallen:
            behind = self.watch(client, now)
            first = behind.begin(frames, sent)
            skipped += behind.take(frames[first:], after + first)
        stats = self.stats
        stats.sends += sends
        stats.skipped += skipped
        stats.deliveries += (reached - len(broken)) * len(frames) - skipped
        return broken

    def push(self, client: Client, frames: Sequence[bytes], now: float) -> None:
        """Send the frames to one client; what does not go now waits, bounds or not."""
        first = 0
        if client.behind is None:
            data = b"".join(frames)
            sent = _send(client, data)
            if sent == len(data):
                return
            first = self.watch(client, now).begin(frames, sent)
        behind = self.watch(client, now)
        for frame in frames[first:]:
            behind.add(frame)

    def watch(self, client: Client, now: float) -> Backlog:
        """Have the client called as soon as its socket has room; return its backlog."""
        if client.behind is None:
            client.behind = Backlog(self._bounds, now)
            self.slow[client.fd] = client
            self._epoll.modify(client.fd, BOTH)
        return client.behind

    def rest(self, client: Client) -> None:
        """Let the client be: nothing waits for it."""
        if client.behind is not None:
            client.behind = None
            del self.slow[client.fd]
            self._epoll.modify(client.fd, READS)

    def flush(self, client: Client, now: float) -> bool:
        """Send what waits, and return whether all of it went."""
        behind = client.behind
        while behind is not None and behind.frames:
            data = b"".join(piece_of(behind.frames))
            sent = _send(client, data)
            if sent:
                behind.sent(sent)
                _moved(client, behind, now)
            if sent < len(data):
                return False
        return True

    def look(self, client: Client, now: float) -> None:
        """Note whether the client has taken some of what the kernel holds for it.

        A socket has room again, by its own account, once much of what it holds is gone: who takes
        little would until then seem to take nothing.
        """
        behind = client.behind
        if behind is None:
            return
        held = _held(client.sock)
        if held < behind.held:
            _moved(client, behind, now)
        behind.held = held


def _moved(client: Client, behind: Backlog, now: float) -> None:
    behind.moved_at = now
    client.unheard = 0


def _held(sock: socket.socket) -> int:
    """Return how many bytes were sent and not yet taken by the other side, as the kernel counts."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def _send(client: Client, data: bytes) -> int:
    try:
        return client.send(data)
    except BlockingIOError:
        return 0
