"""The door behind a real gunicorn with two processes: what only a real server can show."""

from __future__ import annotations

import http.client
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy

from sandbox.children import Child
from tests.waiting import PATIENCE_S, wait_for
from tests.web.webhooks.door import KEY, PATH, Door, event, signature


class Server:
    """gunicorn with the production worker class on a free port."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as probe:
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "web.app:create_app()", "-k", "gthread"]
        command += ["-w", "2", "--threads", "12", "-b", f"127.0.0.1:{self.port}"]
        command += ["--worker-tmp-dir", str(folder)]
        with (folder / "gunicorn.log").open("wb") as log:
            self.process = Child(command, env={**os.environ, **environ}, output=log)

    def wait_until_ready(self) -> None:
        wait_for(lambda: self.raw(b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1."))

    def raw(self, request: bytes) -> bytes:
        """Send bytes, say that there will be no more, and return all that comes back."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: connection.recv(65536), b""))
        except (ConnectionError, TimeoutError):
            return b""

    def post(self, body: bytes, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with closing(connection):
            headers = {"Stripe-Signature": signature(body)} | headers
            connection.request("POST", PATH, body=body, headers=headers)
            return connection.getresponse().status

    def post_chunked(self, body: bytes) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with closing(connection):
            headers = {"Stripe-Signature": signature(body)}
            chunks = iter([body[:100], body[100:]])
            connection.request("POST", PATH, body=chunks, headers=headers, encode_chunked=True)
            return connection.getresponse().status

    def stop(self) -> None:
        self.process.stop()


@pytest.fixture(scope="module")
def environ(migrated_engine: sqlalchemy.Engine, broker_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": migrated_engine.url.render_as_string(hide_password=False),
        "REDIS_URL": broker_url,
        "BROKER_URL": broker_url,
        "STRIPE_WEBHOOK_KEY": KEY,
    }


@contextmanager
def running(folder: Path, environ: dict[str, str]) -> Iterator[Server]:
    server = Server(folder, environ)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def server(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("gunicorn"), environ) as started:
        yield started


def request(body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"POST {PATH} HTTP/1.1", "Host: door", "Connection: close", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def status(answer: bytes) -> int:
    return int(answer.split()[1])


def test_copies_at_two_processes_at_once_are_one_event(door: Door, server: Server) -> None:
    statuses: list[int] = []
    start = threading.Barrier(20)

    def post() -> None:
        start.wait(PATIENCE_S)
        statuses.append(server.post(event("evt_1")))

    threads = [threading.Thread(target=post) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert statuses == [200] * 20
    assert len(door.stored()) == len(door.owed()) == len(door.rung()) == 1


def test_what_only_raw_requests_can_be_is_refused(door: Door, server: Server) -> None:
    body = event("evt_1")
    good = f"Stripe-Signature: {signature(body)}"
    other = f"Stripe-Signature: {signature(body, key='whsec_of_somebody_else')}"
    answers = {
        "two headers": server.raw(request(body, good, good)),
        "a good header and a bad one": server.raw(request(body, good, other)),
        "a header that is not ASCII": server.raw(request(body, good + "\xe9")),
        "a header of bytes": server.raw(request(body, "Stripe-Signature: \xff\xfe\x80")),
        "no body": server.raw(request(b"", good)),
        "a body longer than its length": server.raw(request(body, good, length=len(body) - 9)),
        "a body cut short": server.raw(request(body[:-9], good, length=len(body))),
    }
    assert {name: status(answer) for name, answer in answers.items()} == dict.fromkeys(answers, 400)
    assert server.post_chunked(event("evt_1", padding="a" * (1 << 20))) == 413
    assert server.post(event("evt_1", padding="a" * (1 << 20))) == 413
    assert door.stored() == []


def test_a_chunked_body_is_taken(door: Door, server: Server) -> None:
    assert server.post_chunked(event("evt_1")) == 200
    assert len(door.stored()) == 1


def test_a_crash_between_commit_and_bell_leaves_the_debt(
    door: Door, environ: dict[str, str], tmp_path: Path
) -> None:
    mark = tmp_path / "outbox.committed"
    mark.touch()
    body = event("evt_1")
    with running(tmp_path, {**environ, "CRASH_MARKS": str(tmp_path)}) as server:
        answer = server.raw(request(body, f"Stripe-Signature: {signature(body)}"))
        assert answer == b""
        assert not mark.exists()
        (stored,), (owed,) = door.stored(), door.owed()
        assert owed.arguments == {"event_id": str(stored.id)}
        assert (owed.status, door.rung()) == ("owed", [])

        # The provider, left without an answer, sends it again.
        assert server.post(body) == 200
        assert [row.id for row in door.owed()] == [owed.id]
