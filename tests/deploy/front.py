"""A real nginx with a copy of deploy/nginx.conf, and callers who come to it from any address.

The copy differs in what a machine decides: ports, paths, the certificate, and rates that a slow
machine could not reach.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import shutil
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.children import LOOPBACK, Child, free_port, last_lines
from tests.waiting import wait_for

CONF = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"
NAME = "paybeat.test"
TIMEOUT_S = 60
PROBLEM = "application/problem+json"
# All of 127.0.0.0/8 is this machine; only 127.0.0.1 is let through the fences.
_addresses = itertools.count(int(IPv4Address("127.1.0.1")))


def stranger() -> str:
    """Return an address from which nobody has called yet, so that no limit is used up."""
    return str(IPv4Address(next(_addresses)))


def nginx() -> str:
    """Return nginx's path; without one the test is skipped."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return found or pytest.skip("nginx is not installed (apt install nginx-light)")


class Front:
    """nginx on ports of its own.

    Args:
        web, relays, flower: the ports that it leads to.
        sockets: how many one address may hold.
    """

    def __init__(
        self, folder: Path, *, web: int, relays: Sequence[int], flower: int, sockets: int = 100
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.port, self.plain_port = free_port(), free_port()
        self.certificate = _self_signed(folder)
        self.conf = folder / "nginx.conf"
        text = CONF.read_text()
        for found, put in self._places(web, relays, flower, sockets):
            text, times = re.subn(found, put, text, flags=re.MULTILINE)
            assert times, f"deploy/nginx.conf has no {found}"
        self.conf.write_text(text)

    def _places(
        self, web: int, relays: Sequence[int], flower: int, sockets: int
    ) -> list[tuple[str, str]]:
        one, two = relays
        here = str(self.folder)
        temp = "".join(
            f"    {kind}_temp_path {here}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return [
            # As root nginx would become somebody who may not enter the folder of the test.
            (r"^user .*;", "user root;" if os.geteuid() == 0 else ""),
            (r"^worker_processes .*;", "worker_processes 1;"),
            (r"^worker_rlimit_nofile .*;", ""),
            (r"worker_connections \d+;", "worker_connections 1024;"),
            (r"/run/nginx\.pid", f"{here}/pid"),
            (r"/var/log/nginx", here),
            (r"/var/www/acme", f"{here}/acme"),
            (r"/etc/ssl/paybeat", here),
            (r"^http {\n", f"http {{\n{temp}"),
            (r".*listen \[::\]:.*\n", ""),
            (r"listen 80\b", f"listen {LOOPBACK}:{self.plain_port}"),
            (r"listen 443\b", f"listen {LOOPBACK}:{self.port}"),
            (r"paybeat\.example\.com", NAME),
            (r"127\.0\.0\.1:8000", f"{LOOPBACK}:{web}"),
            (r"127\.0\.0\.1:8001", f"{LOOPBACK}:{one}"),
            (r"127\.0\.0\.1:8002", f"{LOOPBACK}:{two}"),
            (r"127\.0\.0\.1:5555", f"{LOOPBACK}:{flower}"),
            (r"rate=\d+r/[sm]", "rate=1r/s"),
            (r"limit_conn sockets \d+", f"limit_conn sockets {sockets}"),
        ]

    def __enter__(self) -> Self:
        argv = [nginx(), "-c", self.conf, "-p", self.folder, "-g", "daemon off;"]
        with (self.folder / "nginx.log").open("wb") as output:
            self._child = Child([*argv, "-e", self.folder / "error.log"], output=output)
        wait_for(self._is_up)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()

    def _is_up(self) -> bool:
        said = last_lines(self.folder / "nginx.log", 20)
        assert self._child.exit_code() is None, f"nginx ended:\n{said}"
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, self.port)) == 0

    @property
    def visits(self) -> list[dict[str, str]]:
        """What the access log has, oldest first."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def connect(self, address: str, *, name: str | None = NAME) -> ssl.SSLSocket:
        """Open a connection from an address; `name` is the host that TLS asks for."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.check_hostname = name is not None
        plain = socket.create_connection(
            (LOOPBACK, self.port), TIMEOUT_S, source_address=(address, 0)
        )
        try:
            return context.wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def upgrade(self, address: str, *lines: str, host: str = NAME) -> ssl.SSLSocket:
        """Open a WebSocket; `lines` are headers beside those that every one has."""
        sock = self.connect(address)
        head = (
            *("GET /ws HTTP/1.1", f"Host: {host}", "Connection: Upgrade"),
            *("Upgrade: websocket", "Sec-WebSocket-Version: 13"),
            *("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *lines),
        )
        sock.sendall("".join(f"{line}\r\n" for line in (*head, "")).encode())
        answer = b""
        # By the byte, as what follows is for whoever reads the socket.
        while not answer.endswith(b"\r\n\r\n"):
            part = sock.recv(1)
            assert part, answer
            answer += part
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        return sock

    def caller(self, address: str | None = None) -> Caller:
        return Caller(self, address or stranger())


class Answer:
    """What came back."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.raw = response.read()

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    def __repr__(self) -> str:
        return f"{self.status} {self.raw[:1000]!r}"

    def check_problem(self, status: int, kind: str) -> None:
        """Fail unless it is this problem."""
        assert self.status == status, self
        assert self.headers["Content-Type"] == PROBLEM
        assert self.body["type"] == f"urn:paybeat:problem:{kind}"
        assert self.body["status"] == status
        assert set(self.body) == {"type", "title", "status", "detail", "instance", "request_id"}


class Caller:
    """Asks over HTTPS from one address, over one connection while the server keeps it."""

    def __init__(self, front: Front, address: str) -> None:
        self.address = address
        self._front = front
        self._connection = _Connection(front, address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        """`headers` by name with underscores; a body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(
            "POST", path, body=data, headers={"Content_Type": "application/json"} | headers
        )

    def send(
        self,
        method: str,
        path: str,
        *,
        host: str = NAME,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        self._connection.request(method, path, body, {"Host": host, **named})
        return Answer(self._connection.getresponse())


class _Connection(http.client.HTTPConnection):
    def __init__(self, front: Front, address: str) -> None:
        super().__init__(LOOPBACK, front.port, TIMEOUT_S)
        self._front, self._address = front, address

    def connect(self) -> None:
        self.sock = self._front.connect(self._address)


def _self_signed(folder: Path) -> Path:
    """Make a certificate and its key where the copy looks for them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    moment = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = folder / "fullchain.pem"
    made.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made
