"""Knocking at a real relay: the upgrade written by hand, then a `Peer`."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.client import Client
from tests.web.relay.peer import Peer

SUBPROTOCOL = "paybeat.v1"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@dataclass
class Answer:
    """What the relay answered; a `peer` if it was an upgrade."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    peer: Peer | None = field(default=None, repr=False)

    @property
    def subprotocol(self) -> str | None:
        return self.headers.get("sec-websocket-protocol")


# Every socket of the test, for `hang_up`.
_sockets: list[socket.socket] = []


def dial(url: str) -> socket.socket:
    """Connect and say nothing."""
    place = urlsplit(url)
    sock = socket.create_connection((place.hostname, place.port), timeout=60)
    _sockets.append(sock)
    return sock


def hang_up() -> None:
    """Close whatever the test has left open."""
    while _sockets:
        _sockets.pop().close()


def request(path: str, host: str, headers: dict[str, str]) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def ask(
    url: str,
    *,
    ticket: str | None = None,
    token: str | None = None,
    query: str | None = "",
    protocols: str | None = SUBPROTOCOL,
    **headers: str | None,
) -> socket.socket:
    """Ask the relay at `url` for an upgrade; a header that is None is left out."""
    place = urlsplit(url)
    offered = ", ".join(filter(None, [protocols, f"ticket.{ticket}" if ticket else None]))
    sent: dict[str, str | None] = {
        **UPGRADE,
        "Sec-WebSocket-Protocol": offered or None,
        "Authorization": f"Bearer {token}" if token else None,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    host = sent.pop("Host", None) or place.netloc
    sock = dial(url)
    given = {name: value for name, value in sent.items() if value is not None}
    sock.sendall(request(f"/ws{query or ''}", host, given))
    return sock


def knock(url: str, **asked: str | None) -> Answer:
    """Ask as `ask` does, and return what the relay answers."""
    return answer_of(ask(url, **asked))


def answer_of(sock: socket.socket) -> Answer:
    """Read the head of an answer, and the whole of one that is no upgrade."""
    head = b""
    # Byte by byte: what comes after it is the peer's.
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, f"the relay hung up after {head!r}"
        head += byte
    first, *lines = head.decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    found = Answer(int(first.split()[1]), headers)
    if found.status == 101:
        found.peer = Peer(sock)
    else:
        while data := sock.recv(4096):
            found.body += data
        sock.close()
    return found


def ticket_of(client: Client) -> str:
    answer = client.post("/api/v1/relay/tickets")
    assert answer.status == 201, answer
    ticket: str = answer.body["ticket"]
    return ticket


def enter(url: str, *, query: str = "", **who: str) -> Peer:
    """Connect, and return a peer that was greeted."""
    answer = knock(url, query=query, **who)
    assert answer.peer is not None, answer
    answer.peer.until(lambda peer: peer.of("relay.hello"))
    return answer.peer


def closed(answer: Answer) -> int:
    """Return the code with which the relay closes a connection that it has upgraded."""
    assert answer.peer is not None, answer
    found = answer.peer.end()
    answer.peer.sock.close()
    assert found is not None, "cut without a word"
    return found[0]
