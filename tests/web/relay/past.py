"""A feed by hand: channels whose messages a test says, and whose past is read when it lets it."""

from __future__ import annotations

import json
import socket
import time
from uuid import UUID, uuid4

from tests.waiting import wait_for
from tests.web.relay.peer import Peer
from web.relay.client import Bounds, Client, Member
from web.relay.reactor import Reactor
from worker.channels import Place


class Clock:
    """Stands still but for what a test adds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Past:
    """One channel `c` in Redis, as the reactor's feed tells of it."""

    def __init__(self) -> None:
        self.reactor: Reactor | None = None
        self.epoch = "a1"
        self.bodies: list[bytes] = []
        # How far back reading reaches, and why not further.
        self.kept_from = 0
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.asked: list[tuple[object, Place]] = []
        # While it holds, no read is answered, and no channel opened.
        self.holds_reads = self.holds_openings = False

    @property
    def place(self) -> Place:
        return Place(self.epoch, len(self.bodies))

    def open(self, channel: str) -> None:
        self.opened.append(channel)
        if not self.holds_openings:
            self.reactor.opened(channel, self.place)

    def close(self, channel: str) -> None:
        self.closed.append(channel)

    def read(self, channel: str, client_ref: object, since: Place) -> None:
        self.asked.append((client_ref, since))
        if not self.holds_reads:
            self.answer(client_ref, since)

    def answer(self, client_ref: object, since: Place) -> None:
        """Tell what there is now."""
        found, reason = self.after(since.seq), None
        if since.epoch != self.epoch:
            reason = "epoch"
        elif since.seq > len(self.bodies):
            reason = "ahead"
        elif since.seq < self.kept_from:
            reason = "trimmed"
        self.reactor.told(client_ref, since, None if reason else found, self.place, reason)

    def after(self, seq: int) -> list[tuple[int, bytes]]:
        return list(enumerate(self.bodies[seq:], seq + 1))

    def write(self, count: int = 1, *, size: int = 0) -> list[tuple[int, bytes]]:
        """Keep messages that nobody hears yet."""
        seq = len(self.bodies)
        for number in range(seq + 1, seq + 1 + count):
            body = {"id": f"{self.epoch}-{number}", "type": "payment.succeeded", "data": "x" * size}
            self.bodies.append(json.dumps(body).encode())
        return self.after(seq)

    def say(self, count: int = 1, *, size: int = 0) -> None:
        """Publish messages, which are heard at one go."""
        self.reactor.heard("c", self.write(count, size=size))

    def begin_anew(self, epoch: str) -> None:
        """Lose all, as a flush does."""
        self.epoch, self.bodies = epoch, []
        self.reactor.reset("c", self.place, "epoch")


class House:
    """A reactor that runs, its feed, and the peers that a test lets in."""

    def __init__(self, *, is_running: bool = True, **more) -> None:
        self.feed = Past()
        self.clock = Clock()
        self.deaths: list[str] = []
        self.joined: list[Client] = []
        self.left: list[Client] = []
        self.peers: list[Peer] = []
        self.reactor = Reactor(
            self.feed,
            [Register(self.joined, self.left)],
            bounds=Bounds(**more),
            clock=self.clock,
            died=lambda: self.deaths.append("died"),
        )
        self.feed.reactor = self.reactor
        if is_running:
            self.reactor.start()
            # Its first turn ticks: whoever came in it would be asked once more than the others.
            self.settle()

    def let_in(
        self,
        since: str | None = None,
        *,
        session_id: UUID | None = None,
        channel: str = "c",
        buffer: int | None = None,
    ) -> Peer:
        """Return a peer whose other end the reactor holds."""
        sock, other = socket.socketpair()
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        sock.settimeout(0)
        member = Member(channel, uuid4(), session_id or uuid4(), None, 0.0)
        self.reactor.adopt(sock, member, Place.parse(since) if since else None)
        self.peers.append(Peer(other))
        return self.peers[-1]

    def welcome(self, since: str | None = None, **more) -> Peer:
        """Let a peer in, and wait for its hello."""
        peer = self.let_in(since, **more)
        peer.until(lambda p: p.of("relay.hello"))
        return peer

    def pass_time(self, seconds: float, *, step: float = 1.0) -> None:
        """Let time pass, tick by tick."""
        for _ in range(round(seconds / step)):
            ticked = self.reactor._connections._ticked
            self.clock.now += step
            self.settle()
            wait_for(lambda before=ticked: self.reactor._connections._ticked > before)

    def settle(self) -> None:
        """Return once the reactor has done what it was told."""
        done: list[None] = []
        self.reactor._inbox.put(lambda: done.append(None))
        deadline = time.monotonic() + 60
        while not done:
            assert time.monotonic() < deadline
            assert not self.deaths
            time.sleep(0.001)

    def ready(self) -> list[tuple[int, int]]:
        """What epoll would wake the reactor for, over and over."""
        return self.reactor._epoll.poll(0)

    def end(self) -> None:
        if self.reactor.is_alive():
            self.reactor.drain(spread_s=0, within_s=0)
            self.reactor.join(60)
        for peer in self.peers:
            peer.sock.close()


class Register:
    """Who came and who went."""

    def __init__(self, joined: list[Client], left: list[Client]) -> None:
        self._joined, self._left = joined, left

    def joined(self, client: Client) -> None:
        self._joined.append(client)

    def left(self, client: Client) -> None:
        self._left.append(client)
