"""Relays as processes: their limits, who comes slowly, who leaves, and servers that are away."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest
import requests

from sandbox.children import LOOPBACK, free_port
from tests.system import Part, System
from tests.waiting import wait_for
from tests.web.relay.knocking import answer_of, ask, closed, dial, enter, knock, ticket_of
from worker.channels import Channels

pytestmark = pytest.mark.xdist_group("tests/web/relay")


@pytest.fixture
def other(system):
    """Another relay, of which a test says how it is set."""
    started: list[Part] = []

    def start(**environ: str) -> tuple[str, Part]:
        url = f"http://{LOOPBACK}:{free_port()}"
        part = Part(
            "other",
            system.relay.argv,
            {**system.relay.environ, "RELAY_PORT": url.rpartition(":")[2], **environ},
            log=system.folder / "other.log",
            is_ready=lambda _: System._is_answering(f"{url}/healthz"),
        )
        started.append(part.start())
        return url, part

    yield start
    for part in started:
        part.stop()


def worker_of(part: Part) -> int:
    """The process that holds the connections."""
    [child] = Path(f"/proc/{part.pid}/task/{part.pid}/children").read_text().split()
    return int(child)


def sockets(part: Part) -> int:
    """How many sockets it has open; of other things it opens a few as it goes along."""
    names = [str(each.readlink()) for each in Path(f"/proc/{worker_of(part)}/fd").iterdir()]
    return sum(name.startswith("socket:") for name in names)


def test_limits_hold_for_all_for_a_company_and_for_a_user(system, other):
    limits = {"WS_MAX_CONNECTIONS": "5", "WS_MAX_PER_COMPANY": "3", "WS_MAX_PER_USER": "2"}
    url, _ = other(**limits)
    ada = system.member()
    bob = system.member(company_id=ada.company_id)
    eve = system.member()
    held = [enter(url, token=ada.token) for _ in range(2)]
    assert closed(knock(url, token=ada.token)) == 4102
    held.append(enter(url, token=bob.token))
    assert closed(knock(url, token=bob.token)) == 4101
    held += [enter(url, token=eve.token) for _ in range(2)]
    assert closed(knock(url, token=system.member().token)) == 4100
    # Whoever leaves makes room, at once or cut off.
    held[0].sock.close()

    def comes_in() -> bool:
        answer = knock(url, token=ada.token)
        answer.peer.read()
        return answer.peer.closed is None

    wait_for(comes_in)


def test_nothing_is_left_of_200_who_came_and_went(system, owner, other):
    url, part = other(WS_MAX_PER_USER="1000")
    enter(url, token=owner.token).sock.close()
    assert knock(url, token="nonsense").status == 401
    wait_for(lambda: "GET /ws 401" in part.said)
    with requests.get(f"{url}/healthz", timeout=30) as answer:
        assert answer.ok

    before = sockets(part)
    for number in range(200):
        answer = knock(url, token=owner.token if number % 4 else "nonsense")
        if answer.peer is not None:
            if number % 2:
                answer.peer.sock.sendall(b"\x88\x80\x00\x00\x00\x00")
                answer.peer.end()
            answer.peer.sock.close()
    # Connections to servers may come and go; of those who came none is left.
    wait_for(lambda: sockets(part) <= before + 20)
    part.stop()
    assert "handshakes were cut off" not in part.said


def is_hung_up(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_who_says_nothing_holds_up_nobody(url, owner):
    # More than there are threads for handshakes.
    silent = [dial(url) for _ in range(60)]
    half = [dial(url) for _ in range(60)]
    for sock in half:
        sock.sendall(b"GET /ws HTTP/1.1\r\nHost: relay\r\n")
    deaf = [dial(url) for _ in range(60)]
    for sock in deaf:
        # Answered with 400, and it never hangs up.
        sock.sendall(b"GET /ws HTTP/1.1\r\nHost: relay\r\n\r\n")
    enter(url, token=owner.token)
    for sock in deaf:
        assert answer_of(sock).status == 400
    for sock in silent + half:
        assert is_hung_up(sock)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /ws HTTP/1.1\r\nHost: r\r\n\r\nearly", 400),
        (b"POST /healthz HTTP/1.1\r\nHost: r\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"GET /ws HTTP/1.1\r\nX: " + b"x" * 20_000, 431),
        (b"nonsense\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /nowhere HTTP/1.1\r\nHost: r\r\n\r\n", 404),
        (b"PUT /ws HTTP/1.1\r\nHost: r\r\n\r\n", 405),
    ],
)
def test_what_is_no_request_for_a_socket_is_answered_and_closed(url, sent, status):
    sock = dial(url)
    sock.sendall(sent)
    assert answer_of(sock).status == status


def test_a_relay_that_stops_tells_all_to_come_back_and_another_takes_them(system, url, other):
    leaving_url, leaving = other()
    owners = [system.member() for _ in range(3)]
    peers = [enter(leaving_url, token=who.token) for who in owners for _ in range(10)]
    pid = worker_of(leaving)
    dial(leaving_url)  # and somebody who has not asked for anything
    leaving.signal(signal.SIGTERM)
    ends = [peer.end() for peer in peers]
    assert {end[0] for end in ends} == {4200}
    waits_ms = [int(re.fullmatch(r"retry_ms=(\d+)", end[1])[1]) for end in ends]
    assert len(set(waits_ms)) > len(waits_ms) / 2
    assert max(waits_ms) > 2 * min(waits_ms) + 100
    for who in owners:
        for _ in range(10):
            enter(url, token=who.token)
    leaving.wait_dead()
    assert not Path(f"/proc/{pid}").exists()
    assert "Traceback" not in leaving.said


def test_events_that_were_missed_meanwhile_come_by_since(system, url, owner):
    channels = Channels(system.valkey.url)

    def say(*words: bytes) -> None:
        channels.publish({str(owner.company_id): [b'{"type":"%s"}' % word for word in words]})

    peer = enter(url, token=owner.token)
    say(b"one", b"two")
    # That the owner is there is told as well, sooner or later.
    peer.until(lambda peer: peer.of("two"))
    peer.sock.close()
    last = peer.heard[-1]["id"]
    say(b"three", b"four")
    again = enter(url, ticket=ticket_of(owner), query=f"?since={last}")
    assert again.of("relay.hello")[0]["resumed"] is True
    say(b"five")
    again.until(lambda peer: peer.of("five"))
    assert again.seqs == list(range(peer.seqs[-1] + 1, again.seqs[-1] + 1))
    told = [message["type"] for message in again.heard if "id" in message]
    assert [kind for kind in told if kind in {"three", "four", "five"}] == ["three", "four", "five"]


def test_with_redis_away_who_has_a_token_comes_in_and_a_logout_ends_it(system, url, owner):
    ticket = ticket_of(owner)
    enter(url, token=owner.token)
    system.valkey.stop()
    try:
        wait_for(lambda: owner.post("/api/v1/relay/tickets").status == 503)
        assert closed(knock(url, ticket=ticket)) == 4105
        answer = knock(url, token=owner.token)
        assert answer.peer is not None
        assert owner.post("/api/v1/auth/logout").status == 204
        assert closed(answer) == 4001
    finally:
        system.valkey.start()
    # The new one is heard as soon as it is there.
    enter(url, token=system.member().token)


def test_while_the_database_hangs_who_is_in_stays_and_others_are_told_to_wait(system, url, owner):
    leaver = system.member()
    stays, ends = enter(url, token=owner.token), enter(url, token=leaver.token)
    ticket = ticket_of(owner)

    def unanswered() -> int:
        return system.relay.said.count("cannot ask who is still signed in")

    before = unanswered()
    os.kill(system.mariadb.pid, signal.SIGSTOP)
    try:
        # What was answered before may be written to Redis a moment later; from now on nothing is.
        wait_for(lambda: unanswered() > before)
        system.redis.delete(*system.redis.keys("session:*"))
        assert closed(knock(url, ticket=ticket)) == 4105
        assert closed(knock(url, token=owner.token)) == 4105
        stays.say(type="ping")
        stays.until(lambda peer: any(message["type"] == "relay.pong" for message in peer.heard))
    finally:
        os.kill(system.mariadb.pid, signal.SIGCONT)
    # 401: it had ended, though the answer was lost.
    wait_for(lambda: leaver.post("/api/v1/auth/logout").status in {204, 401})
    assert ends.end()[0] == 4001


def test_who_is_in_is_told_to_come_back_however_long_handshakes_take(system, owner, other):
    url, leaving = other(GUNICORN_CMD_ARGS="--threads 1")
    peer = enter(url, token=owner.token)
    os.kill(system.mariadb.pid, signal.SIGSTOP)
    try:
        system.redis.delete(*system.redis.keys("session:*"))
        # One after the other each takes two seconds: longer than gunicorn waits.
        knocking = [ask(url, token=owner.token) for _ in range(9)]
        assert answer_of(knocking[0]).status == 101
        leaving.signal(signal.SIGTERM)
        told = peer.end()
    finally:
        os.kill(system.mariadb.pid, signal.SIGCONT)
    assert told is not None, "cut without a word"
    assert told[0] == 4200


def test_what_the_relay_did_stands_in_its_metrics(system, owner, other):
    folder = {"METRICS_ENABLED": "true", "METRICS_DIR": str(system.folder / "metrics")}
    url, part = other(**folder)
    enter(url, token=owner.token)
    assert closed(knock(url, ticket="nobody's")) == 4106

    def page() -> str:
        try:
            return requests.get(f"{url}/metrics", timeout=30).text
        except requests.RequestException:
            return ""

    wait_for(lambda: "paybeat_relay_connections 1.0" in page())
    assert 'paybeat_relay_connects_total{outcome="101"} 1.0' in page()
    assert 'paybeat_relay_connects_total{outcome="4106"} 1.0' in page()
    os.kill(worker_of(part), signal.SIGKILL)
    wait_for(lambda: "paybeat_relay_connections 0.0" in page())
