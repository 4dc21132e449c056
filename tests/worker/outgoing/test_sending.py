"""What is sent goes to the address that was checked, in bounded time, and never elsewhere."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from models.clock import now
from tests.worker.gateways.authority import DAY, Authority, build
from worker.outgoing.addresses import Rules, networks
from worker.outgoing.sending import MOST_EXCERPT, Sender

LOOPBACK = Rules(is_http_allowed=True, allowed=networks("127.0.0.0/8"))
PATIENT_S = 100.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Talk = Callable[[socket.socket], None]


class Peer:
    """A server that speaks bytes: it reads one request and then does what it is told."""

    def __init__(self, talk: Talk, context: ssl.SSLContext | None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._talk, self._context = talk, context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def url(self, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}/in?key=1"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                with suppress(OSError), connection:
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        with connection:
            connection.settimeout(PATIENT_S)
            read = b""
            # All of it: closing with something unread would cut the answer off.
            while not read.endswith(b"\r\n\r\n{}"):
                if not (more := connection.recv(65536)):
                    return
                read += more
            self.requests.append(read)
            self._talk(connection)

    def stop(self) -> None:
        # Closing alone would leave whoever waits in accept().
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@contextmanager
def peer(talk: Talk | bytes = OK, context: ssl.SSLContext | None = None) -> Iterator[Peer]:
    said = talk
    made = Peer(said if callable(said) else lambda to: to.sendall(said), context)
    try:
        yield made
    finally:
        made.stop()


class Names:
    """A resolver that answers as it is told, each time the next; it counts who asks."""

    def __init__(self, *answers: Sequence[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def post(url: str, *, names: Names | None = None, rules: Rules = LOOPBACK, **more: object):
    sender = Sender(rules, **{"timeout_s": PATIENT_S, "resolver": names or Names([]), **more})
    return sender.post(url, {"webhook-id": "msg_1"}, b"{}")


def test_the_request_names_its_host_and_holds_the_body():
    with peer() as server:
        reply = post(server.url("hooks.example.com"), names=Names(["127.0.0.1"]))
    assert (reply.status_code, reply.error, reply.excerpt) == (200, None, "ok")
    assert reply.is_good
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /in?key=1 HTTP/1.1"
    assert f"Host: hooks.example.com:{server.port}" in lines
    assert "webhook-id: msg_1" in lines
    assert "Content-Length: 2" in lines
    assert body == b"{}"


@pytest.mark.parametrize(
    "resolved",
    [
        ["10.0.0.1"],
        ["127.0.0.2", "169.254.169.254"],
        ["127.0.0.1", "::1"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%lo"],
    ],
)
def test_a_name_with_one_bad_address_is_not_called_at_all(resolved):
    with peer() as server:
        reply = post(server.url("hooks.example.com"), names=Names(resolved))
        assert server.connections == 0
    assert reply.status_code is None
    assert reply.error is not None
    assert reply.error.startswith("refused: ")
    assert "public" in reply.error


def test_loopback_is_not_called_unless_it_is_named():
    with peer() as server:
        url = server.url("hooks.example.com")
        strict = Rules(is_http_allowed=True)
        reply = post(url, names=Names(["127.0.0.1"]), rules=strict)
        direct = post(server.url(), rules=strict)
        assert server.connections == 0
    assert reply.error == direct.error
    assert reply.error == "refused: 127.0.0.1 is not an address of the public internet"


def test_a_name_is_asked_once_and_what_was_checked_is_called():
    # Bound to one address, asked a second time it would be another: a rebinding.
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    with peer() as server:
        assert post(server.url("hooks.example.com"), names=names).is_good
        assert names.asked == ["hooks.example.com"]
        again = post(server.url("hooks.example.com"), names=names)
        assert again.error == "refused: 10.0.0.1 is not an address of the public internet"
        assert server.connections == 1


def test_another_address_of_the_name_is_tried_when_the_first_cannot_be_reached():
    with peer() as server:
        # Nobody listens at the port there.
        names, both = Names(["::1", "127.0.0.1"]), networks("127.0.0.0/8 ::1/128")
        rules = Rules(is_http_allowed=True, allowed=both)
        assert post(server.url("hooks.example.com"), names=names, rules=rules).is_good


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nobody_is_redirected(status):
    with peer() as target:
        said = f"HTTP/1.1 {status} Moved\r\nLocation: {target.url()}\r\nContent-Length: 0\r\n\r\n"
        with peer(said.encode()) as server:
            reply = post(server.url())
        assert target.connections == 0
    assert not reply.is_good
    assert reply.error == f"answered {status}: redirects are not followed"


def test_no_proxy_of_the_environment_is_asked(monkeypatch):
    with peer() as server, peer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        assert post(server.url()).is_good
        assert proxy.connections == 0


@pytest.mark.parametrize("status", [100, 199, 304, 400, 404, 410, 429, 500, 503])
def test_only_2xx_is_good(status):
    with peer(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()) as server:
        reply = post(server.url(), timeout_s=5.0 if status == 100 else PATIENT_S)
    assert not reply.is_good
    assert reply.error


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", "closed without an answer"),
        (b"no http at all\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "no HTTP|too long"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, "no HTTP|too long"),
    ],
)
def test_an_answer_that_is_none_is_an_error_in_words(said, told):
    with peer(said) as server:
        reply = post(server.url())
    assert reply.status_code is None
    assert reply.error is not None
    assert any(each in reply.error for each in told.split("|"))


def test_an_answer_that_comes_drop_by_drop_takes_no_longer_than_any_other():
    stop = threading.Event()

    def drip(to: socket.socket) -> None:
        to.sendall(b"HTTP/1.1 200 OK\r\n")
        while not stop.wait(0.01):
            to.sendall(b"X: y\r\n")

    try:
        with peer(drip) as server:
            reply = post(server.url(), timeout_s=0.3)
            stop.set()
    finally:
        stop.set()
    assert reply.error == "it did not answer in time"


def test_a_body_without_end_changes_nothing_and_is_not_read():
    def flood(to: socket.socket) -> None:
        to.sendall(b"HTTP/1.1 204 Fine\r\n\r\n")

    def endless(to: socket.socket) -> None:
        to.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(OSError):
            while True:
                to.sendall(b"caf\xc3\xa9\x00\x1b[31m" * 1000)

    with peer(endless) as server:
        reply = post(server.url())
    assert reply.is_good
    assert len(reply.excerpt) <= MOST_EXCERPT
    assert reply.excerpt.startswith("caf\u00e9\ufffd\ufffd[31m")
    with peer(flood) as server:
        assert post(server.url()).status_code == 204


def test_a_secret_in_an_answer_is_not_kept():
    body = b"you sent whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
    said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with peer(said) as server:
        assert "c2VjcmV0" not in post(server.url()).excerpt


def test_who_cannot_be_reached_is_told_in_words():
    with peer() as server:
        url = server.url()
    assert post(url).error == "the connection was refused"
    names = Names(socket.gaierror(-2, "Name or service not known"))
    assert post("http://nowhere.example.com/", names=names).error == (
        "the name could not be resolved"
    )
    assert post("http://nothing.example.com/").error == "the name has no address"


def test_a_resolver_that_hangs_is_not_waited_for():
    release = threading.Event()

    def hang(_host: str, _port: int) -> list[str]:
        release.wait(PATIENT_S)
        return []

    try:
        reply = post("http://slow.example.com/", resolver=hang, timeout_s=0.1)
    finally:
        release.set()
    assert reply.error == "the name could not be resolved in time"


@pytest.mark.parametrize(
    ("status", "header", "asked_s"),
    [
        (429, "120", 120.0),
        (503, "7", 7.0),
        (500, "7", None),
        (503, "soon", None),
        (503, "-5", None),
        (503, "1.5", None),
        (503, "Mon, 05 Jan 2026 10:00:00 +0000", 0.0),
    ],
)
def test_when_to_come_back_is_read_where_it_may_be_said(status, header, asked_s):
    said = f"HTTP/1.1 {status} X\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n"
    with peer(said.encode()) as server:
        assert post(server.url()).retry_after_s == asked_s


def test_a_date_to_come_back_at_is_read():
    at = format_datetime(now() + timedelta(hours=1))
    with peer(f"HTTP/1.1 503 X\r\nRetry-After: {at}\r\n\r\n".encode()) as server:
        asked_s = post(server.url()).retry_after_s
    assert asked_s is not None
    assert 3600 - PATIENT_S < asked_s <= 3600


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def serving(authority: Authority, folder: Path, *names: x509.GeneralName) -> ssl.SSLContext:
    leaf = (
        build("a leaf", authority.name, authority.signer.public_key(), now() - DAY, now() + DAY)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    key = authority.signer.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    chain = folder / "chain.pem"
    chain.write_bytes(key + leaf.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


def trusting(authority: Authority) -> ssl.SSLContext:
    root = authority.root.public_bytes(Encoding.PEM).decode()
    return ssl.create_default_context(cadata=root)


def test_a_certificate_is_checked_against_the_name_and_not_the_address(authority, tmp_path):
    context = serving(authority, tmp_path, x509.DNSName("hooks.example.com"))
    hello: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: hello.append(name)
    with peer(context=context) as server:
        names, trusted = Names(["127.0.0.1"]), trusting(authority)
        url = server.url("hooks.example.com", "https")
        assert post(url, names=names, context=trusted).is_good
        assert hello == ["hooks.example.com"]
        other = post(server.url("other.example.com", "https"), names=names, context=trusted)
        assert "certificate was refused" in (other.error or "")
        by_address = post(server.url(scheme="https"), context=trusted)
        assert "certificate was refused" in (by_address.error or "")
        unknown = post(url, names=names)
        assert "certificate was refused" in (unknown.error or "")
        assert len(server.requests) == 1


def test_an_address_may_have_a_certificate_of_its_own(authority, tmp_path):
    named = x509.IPAddress(ip_address("127.0.0.1"))
    with peer(context=serving(authority, tmp_path, named)) as server:
        assert post(server.url(scheme="https"), context=trusting(authority)).is_good


def test_a_server_that_never_shakes_hands_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        began = time.monotonic()
        reply = post(url, timeout_s=0.2)
    assert reply.error == "it did not answer in time"
    assert time.monotonic() - began < PATIENT_S
