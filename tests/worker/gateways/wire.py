"""A wire that answers as it is told: for what only a wire can do (hang, drop, trickle, garble)."""

from __future__ import annotations

import json
import ssl
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Behaviour = Callable[["_Handler"], None]


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str]
    query: dict[str, str]
    body: str = ""


@dataclass
class Wire:
    """The script is played one behaviour a request; the last one is repeated for ever."""

    url: str
    seen: list[Seen] = field(default_factory=list)
    script: deque[Behaviour] = field(default_factory=deque)
    stopping: threading.Event = field(default_factory=threading.Event)
    connections: int = 0

    tls: ssl.SSLContext | None = None

    def use_tls(self, context: ssl.SSLContext) -> None:
        self.tls = context

    def says(self, *behaviours: Behaviour) -> None:
        self.script = deque(behaviours)

    def next(self) -> Behaviour:
        return self.script.popleft() if len(self.script) > 1 else self.script[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wire: Wire

    def handle_one(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        parts = urlsplit(self.path)
        self.wire.seen.append(
            Seen(
                self.command,
                parts.path,
                {k.lower(): v for k, v in self.headers.items()},
                dict(parse_qsl(body, keep_blank_values=True)),
                dict(parse_qsl(parts.query)),
                body,
            )
        )
        self.wire.next()(self)

    do_GET = do_POST = do_DELETE = handle_one  # noqa: N815  the names that http.server calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its own name
        pass


def answer(
    body: Any = None, *, status: int = 200, headers: dict[str, str] | None = None, raw: bytes = b""
) -> Behaviour:
    def play(handler: _Handler) -> None:
        sent = raw or json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Request-Id", "req_wire")
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(sent)))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(sent)

    return play


def failure(status: int, headers: dict[str, str] | None = None, **error: Any) -> Behaviour:
    return answer({"error": error}, status=status, headers=headers)


def hang(handler: _Handler) -> None:
    handler.wire.stopping.wait(10)
    handler.close_connection = True


def drop(handler: _Handler) -> None:
    handler.close_connection = True


def truncate(handler: _Handler) -> None:
    """Promise a long body, send its start, and hang up."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"id": "pi_1", "client_secret": "pi_1_secret_canary"')
    handler.close_connection = True


def truncate_chunks(handler: _Handler) -> None:
    """Hang up where the next chunk should begin, as a proxy does that lost its own server."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"10\r\n" + b" " * 16 + b"\r\n")
    handler.close_connection = True


def trickle(handler: _Handler) -> None:
    """Send a byte at a time, each well within a read timeout, without end."""
    _drip(handler, "Content-Length", "100000", b" ")


def trickle_chunks(handler: _Handler) -> None:
    _drip(handler, "Transfer-Encoding", "chunked", b"1\r\n \r\n")


def _drip(handler: _Handler, framing: str, value: str, drop: bytes) -> None:
    handler.send_response(200)
    handler.send_header(framing, value)
    handler.end_headers()
    with suppress(OSError):
        for _ in range(200):
            if handler.wire.stopping.wait(0.05):
                break
            handler.wfile.write(drop)
    handler.close_connection = True


class WireServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    wire: Wire

    def get_request(self) -> tuple[Any, Any]:
        self.wire.connections += 1
        taken, address = super().get_request()
        if self.wire.tls:
            # The handshake is the handler's, on its own thread, at its first read.
            taken = self.wire.tls.wrap_socket(
                taken, server_side=True, do_handshake_on_connect=False
            )
        return taken, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is what these tests are about."""


def own_certificate(folder: Path) -> ssl.SSLContext:
    """Return a server's context with a certificate that nobody but itself vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "own.pem"
    path.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def serve() -> WireServer:
    handler = type("Handler", (_Handler,), {})
    server = WireServer(("127.0.0.1", 0), handler)
    server.wire = Wire(url=f"http://127.0.0.1:{server.server_port}")
    handler.wire = server.wire
    return server
