"""HTTP/1.1 over threads, one a connection, with the socket in reach.

A fault must be able to hang or cut a connection, which a WSGI server hides; and the whole stand-in
is one process, so that one kill ends it. Loopback only: no TLS, no chunked bodies, no limits
beyond a body's size.
"""

from __future__ import annotations

import select
import socket
import socketserver
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote

LOOPBACK = "127.0.0.1"
MAX_BODY_BYTES = 4 * 1024 * 1024
IDLE_S = 300
STACK_BYTES = 512 * 1024
# A thousand connections at once are a thousand stacks.


class HangUp(Exception):
    """Cut the connection without an answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    connection: socket.socket

    def wait_until_gone(self, at_most_s: float) -> None:
        """Return when the caller has closed its end, or after `at_most_s`."""
        until = time.monotonic() + at_most_s
        closing = select.poll()  # select() itself ends at 1,024 open files
        closing.register(self.connection, select.POLLRDHUP)
        while (left_s := until - time.monotonic()) > 0:
            if closing.poll(left_s * 1000):
                return


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


Application = Callable[[Request], Answer]


class _Conversation(socketserver.StreamRequestHandler):
    """The requests of one connection, one after another."""

    disable_nagle_algorithm = True
    timeout = IDLE_S
    server: Server

    def handle(self) -> None:
        with suppress(OSError, HangUp):
            while self._exchange():
                pass

    def _exchange(self) -> bool:
        request = self._read()
        if request is None:
            return False
        try:
            answer = self.server.application(request)
        except (HangUp, OSError):
            raise
        except Exception:  # noqa: BLE001  a bug here must not look like a lost connection
            traceback.print_exc()
            answer = Answer(500, b'{"error":{"type":"api_error","message":"The sandbox failed."}}')
        keep = request.headers.get("connection", "").lower() != "close"
        self.connection.sendall(_encoded(answer, keep=keep))
        return keep

    def _read(self) -> Request | None:
        first = self.rfile.readline(65_536).decode("latin-1").split()
        if len(first) != 3:  # noqa: PLR2004  method, target, version
            return None
        headers: dict[str, str] = {}
        while (line := self.rfile.readline(65_536)) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        length = headers.get("content-length") or "0"
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            return None
        path, _, query = first[1].partition("?")
        return Request(
            first[0], unquote(path), query, headers, self.rfile.read(int(length)), self.connection
        )


def _encoded(answer: Answer, *, keep: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + answer.body


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens on the loopback interface; `serve()` until `stop()`."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 2048

    def __init__(self, port: int, application: Application) -> None:
        threading.stack_size(STACK_BYTES)
        self.application = application
        super().__init__((LOOPBACK, port), _Conversation)

    @property
    def port(self) -> int:
        """The port that is really bound, also when 0 was asked for."""
        return int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Say nothing of callers that went away; tell everything else."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()
