"""Connections: what their sockets have to say, how they are kept alive, and how they end."""

from __future__ import annotations

import logging
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, ParamSpec, Protocol

import orjson

from web.relay import notices
from web.relay.client import Bounds, Client, Ending
from web.relay.codec import CLOSE, PING, PONG, TEXT, Arrival, Parser, Wrong, closing, frame
from web.relay.codes import CHANGED, NOT_UNDERSTOOD, SESSION_ENDED, TOO_MANY, TOO_SLOW
from web.relay.outbound import READS, Outbound
from worker.channels import Place

log = logging.getLogger(__name__)

RECEIVE_BYTES: Final = 4096
OF_SESSIONS: Final = frozenset({SESSION_ENDED.code, CHANGED.code})
# Who is no longer who came in is not waited for.
# A peer is gone if at the next ping it has answered none of so many. Counted, for a process that
# stood still for a minute has asked nobody.
UNHEARD_PINGS: Final = 2
HEARTBEAT: Final = frame(b"", PING)


P = ParamSpec("P")


class Owner(Protocol):
    """Who holds the channels, and is told what concerns them."""

    def took_all(self, client: Client, now: float) -> None:
        """Nothing waits to be sent to the client any more."""

    def asked(self, client: Client, since: Place, now: float) -> None:
        """The client wants to hear from there."""

    def gone(self, client: Client) -> None:
        """The client is not to be counted any more; told once."""


class Connections:
    """All connections of the process, by descriptor, in the reactor's thread."""

    def __init__(
        self, owner: Owner, epoll: select.epoll, outbound: Outbound, bounds: Bounds
    ) -> None:
        self._owner = owner
        self._epoll = epoll
        self._outbound = outbound
        self._bounds = bounds
        # Each tick of a heartbeat has its share of the pings, so that they do not go all at once.
        self._ticks = max(1, round(bounds.heartbeat_s / bounds.tick_s))
        self._ticked = 0
        self._ending: dict[int, Client] = {}
        # Serves every peer of whom nothing is half read.
        self._parser = Parser(bounds.inbound_bytes)
        self.by_fd: dict[int, Client] = {}

    def add(self, client: Client, now: float) -> None:
        """Hold the connection from now on."""
        client.allowed_at = now
        self.by_fd[client.fd] = client
        self._epoll.register(client.fd, READS)

    def safely(self, client: Client, act: Callable[P, None], *a: P.args, **k: P.kwargs) -> None:
        """Do something about one client: what fails costs nobody but it."""
        try:
            act(*a, **k)
        except OSError:
            self.drop(client)
        except Exception:
            log.exception("a client of the relay had to be dropped")
            self.drop(client)

    def attend(self, client: Client, events: int, now: float) -> None:
        """Act on what epoll says about the client's socket."""
        if events & select.EPOLLOUT:
            self._write(client, now)
        if self.by_fd.get(client.fd) is not client:
            return
        if events & select.EPOLLIN:
            self._read(client, now)
        elif events & (select.EPOLLHUP | select.EPOLLERR):
            self.drop(client)

    def end(self, client: Client, code: int, reason: str, now: float, **how: bool) -> None:
        """Close the connection: what waits is forgotten, the close frame is sent.

        Args:
            how: `is_deaf`, `is_answered`, as in `Ending`.
        """
        if client.ending is not None:
            return
        bounds = self._bounds
        within_s = bounds.ended_s if code in OF_SESSIONS else bounds.closing_s
        client.ending = Ending(now + within_s, **how)
        self._ending[client.fd] = client
        if not client.ending.is_answered:
            # Of those that peers make up there could be any number.
            self._outbound.stats.closed[code] += 1
        self._owner.gone(client)
        if client.behind is not None:
            client.behind.forget()
        self._outbound.push(client, [closing(code, reason)], now)
        if client.behind is None:
            self._said_goodbye(client, client.ending)

    def drop(self, client: Client) -> None:
        """Cut the connection."""
        if self.by_fd.get(client.fd) is not client:
            return
        del self.by_fd[client.fd]
        self._outbound.slow.pop(client.fd, None)
        self._ending.pop(client.fd, None)
        # Closing alone would leave it in the epoll if another process held the socket too.
        with suppress(OSError, ValueError):
            self._epoll.unregister(client.fd)
        client.sock.close()
        if client.ending is None:
            client.ending = Ending(0.0)
            self._owner.gone(client)

    def tick(self, now: float) -> None:
        """Send a share of the pings, and end what is silent, stuck or late."""
        self._ticked += 1
        turn = self._ticked % self._ticks
        for client in [c for fd, c in self.by_fd.items() if fd % self._ticks == turn]:
            self.safely(client, self._beat, client, now)
        for client in list(self._outbound.slow.values()):
            self.safely(client, self._judge, client, now)
        for client in list(self._ending.values()):
            if client.ending is not None and now > client.ending.deadline:
                self.drop(client)

    def _beat(self, client: Client, now: float) -> None:
        if client.ending is not None:
            return
        if client.unheard >= UNHEARD_PINGS:
            self.drop(client)
            return
        client.unheard += 1
        self._say(client, HEARTBEAT, now)

    def _judge(self, client: Client, now: float) -> None:
        """End the connection of who takes nothing of what waits for it."""
        self._outbound.look(client, now)
        behind = client.behind
        if behind is not None and now - behind.moved_at > self._bounds.stuck_s:
            self.end(client, TOO_SLOW.code, TOO_SLOW.reason, now)

    def _say(self, client: Client, frame: bytes, now: float) -> None:
        """Send what may be left out where too much waits already."""
        if client.behind is None or client.behind.has_room(frame):
            self._outbound.push(client, [frame], now)

    def _write(self, client: Client, now: float) -> None:
        if not self._outbound.flush(client, now):
            return
        if client.ending is not None:
            self._outbound.rest(client)
            self._said_goodbye(client, client.ending)
        else:
            self._owner.took_all(client, now)

    def _said_goodbye(self, client: Client, ending: Ending) -> None:
        """Go on with the closing handshake: the close frame is out."""
        if ending.is_answered:
            self.drop(client)
        elif ending.is_deaf:
            # Closed at once, the unread rest would have the kernel reset the connection, which
            # takes the close frame with it.
            client.sock.shutdown(socket.SHUT_WR)

    def _read(self, client: Client, now: float) -> None:
        try:
            data = client.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.drop(client)
            return
        client.unheard = 0
        ending = client.ending
        if ending is not None and ending.is_deaf:
            return
        parser = client.parser or self._parser
        try:
            arrived = parser.feed(data)
        except Exception:
            # Nobody else's words may follow what is left in it.
            self._parser = Parser(self._bounds.inbound_bytes)
            raise
        self._keep(client, parser)
        if ending is not None:
            if any(isinstance(a, Wrong) or a.opcode == CLOSE for a in arrived):
                self._hear_goodbye(client, ending)
        elif client.may_send(parser.frames, now, self._bounds):
            self._act_on(client, arrived, now)
        else:
            self.end(client, TOO_MANY.code, TOO_MANY.reason, now, is_deaf=True)

    def _keep(self, client: Client, parser: Parser) -> None:
        """Leave the parser with the client only while it holds something of it."""
        if parser.is_idle:
            client.parser = None
        elif parser is self._parser:
            client.parser, self._parser = parser, Parser(self._bounds.inbound_bytes)

    def _hear_goodbye(self, client: Client, ending: Ending) -> None:
        ending.is_answered = True
        if client.behind is None:
            self.drop(client)

    def _act_on(self, client: Client, arrived: list[Arrival | Wrong], now: float) -> None:
        for arrival in arrived:
            if client.ending is not None:
                return
            if isinstance(arrival, Wrong):
                self.end(client, arrival.code, arrival.reason, now, is_deaf=True)
            elif arrival.opcode == TEXT:
                self._understand(client, arrival.payload, now)
            elif arrival.opcode == PING:
                self._say(client, frame(arrival.payload, PONG), now)
            elif arrival.opcode == CLOSE:
                self.end(client, arrival.code, "", now, is_answered=True)

    def _understand(self, client: Client, text: bytes, now: float) -> None:
        match _read_json(text):
            case {"type": "ping"}:
                self._say(client, notices.PONG, now)
            case {"type": "resume", "since": str(since)} if place := _place_in(since):
                self._owner.asked(client, place, now)
            case _:
                self.end(client, NOT_UNDERSTOOD.code, NOT_UNDERSTOOD.reason, now)


def _read_json(text: bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _place_in(text: str) -> Place | None:
    try:
        return Place.parse(text)
    except ValueError:
        return None
