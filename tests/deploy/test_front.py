"""deploy/nginx.conf under a real nginx, before a server that tells what reached it."""

from __future__ import annotations

import http.client
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sandbox.children import LOOPBACK
from tests.deploy.echo import CODE, Echo, echoing, nobody, port_of
from tests.deploy.front import CONF, NAME, TIMEOUT_S, Answer, Front, stranger
from tests.waiting import wait_for
from web import gunicorn, waiting
from web.bodies import MAX_BYTES
from web.console import FOLDER
from web.relay.client import Bounds

LOGIN = "/api/v1/auth/login"
SOCKETS = 3


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with echoing() as server:
        yield server


@pytest.fixture(scope="module")
def front(tmp_path_factory, echo) -> Iterator[Front]:
    """Flower and one of the two relays are away."""
    folder = tmp_path_factory.mktemp("front") / "nginx"
    port = port_of(echo)
    with Front(
        folder, web=port, relays=(nobody(), port), flower=nobody(), sockets=SOCKETS
    ) as running:
        yield running


@pytest.fixture
def caller(front):
    with front.caller() as one:
        yield one


def test_plain_http_is_led_to_https(front):
    answer = ask_plainly(front, NAME, "/api/v1/invoices?page=2")
    assert answer.status == 308
    assert answer.headers["Location"] == f"https://{NAME}/api/v1/invoices?page=2"


def test_the_issuer_of_certificates_is_answered_plainly(front):
    path = "/.well-known/acme-challenge/token"
    file = Path(f"{front.folder}/acme{path}")
    file.parent.mkdir(parents=True)
    file.write_text("proof")
    answer = ask_plainly(front, NAME, path)
    assert (answer.status, answer.raw) == (200, b"proof")


def ask_plainly(front: Front, host: str, path: str) -> Answer:
    connection = http.client.HTTPConnection(LOOPBACK, front.plain_port, timeout=TIMEOUT_S)
    with closing(connection):
        connection.request("GET", path, headers={"Host": host})
        return Answer(connection.getresponse())


def test_no_other_host_is_served(front, caller, echo):
    assert ask_plainly(front, "evil.example", "/").status == 421
    assert caller.send("GET", "/stolen", host="evil.example").status == 421
    for name in ("evil.example", None):
        with pytest.raises(ssl.SSLError):
            front.connect(stranger(), name=name)
    assert "/stolen" not in echo.paths


def test_what_a_caller_claims_of_itself_is_not_passed_on(caller):
    lies = {
        "X_Forwarded_For": "6.6.6.6",
        "X_Forwarded_Proto": "http",
        "X_Forwarded_Host": "evil.example",
        "X_Forwarded_Port": "1",
        "X_Real_IP": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
        "Proxy": "http://evil.example",
        "Upgrade": "h2c",
        "X_Request_Id": "no \x1b[31m id",
    }
    seen = caller.get("/api/v1/auth/me", **lies).body["headers"]
    assert seen["X-Forwarded-For"] == [caller.address]
    assert seen["X-Forwarded-Proto"] == ["https"]
    assert seen["Host"] == [NAME]
    assert re.fullmatch("[0-9a-f]{32}", seen["X-Request-Id"][0])
    gone = {"X-Forwarded-Host", "X-Forwarded-Port", "X-Real-IP", "Forwarded", "Proxy", "Upgrade"}
    assert not gone & set(seen)
    own_id = caller.get("/", X_Request_Id="their-own-id-1").body["headers"]["X-Request-Id"]
    assert own_id == ["their-own-id-1"]


def test_the_port_at_which_a_caller_sees_it_is_passed_on_and_no_host_of_its_own(caller):
    for host in (f"{NAME}:8443", NAME):
        assert caller.send("GET", "/console", host=host).body["headers"]["Host"] == [host]
    whole = caller.send("GET", f"https://{NAME}/console", host="evil.example:99")
    assert whole.body["headers"]["Host"] == [f"{NAME}:99"]


def test_a_body_may_be_as_large_as_the_application_takes(caller, echo):
    assert caller.post("/api/v1/large", b"x" * MAX_BYTES).body["length"] == MAX_BYTES
    answer = caller.post("/api/v1/too%20large", b"x" * (MAX_BYTES + 1))
    answer.check_problem(413, "too-large")
    assert answer.body["instance"] == "/api/v1/too%20large"
    assert "/api/v1/too%20large" not in echo.paths


@pytest.mark.parametrize(
    ("path", "burst"),
    [("/", 200), (LOGIN, 20), (f"{LOGIN}/", 20), ("/console/session", 20), ("/ws", 100)],
)
def test_an_address_that_asks_too_often_is_told_when_to_come_back(front, path, burst):
    with front.caller() as hasty:
        began = time.monotonic()
        answers = [hasty.get(path) for _ in range(burst + 1)]
        # A slow machine gives one more each second.
        while answers[-1].status == 200:
            answers.append(hasty.get(path))
        assert {answer.status for answer in answers[:-1]} == {200}
        assert len(answers) <= burst + 3 + (time.monotonic() - began)
        answers[-1].check_problem(429, "too-many-requests")
        assert answers[-1].headers["Retry-After"] == "10"
        # A provider that catches up is no such caller.
        assert hasty.post("/api/v1/webhooks/stripe", {}).status == 200
    with front.caller() as other:
        assert other.get(path).status == 200


def test_five_tabs_at_once_get_all_of_their_files_and_the_api_besides(front):
    files = [path.relative_to(FOLDER) for path in FOLDER.rglob("*.*")]
    with front.caller() as busy:
        for path in files * 5:
            assert busy.get(f"/console/static/{path}").status == 200, path
        for _ in range(100):
            assert busy.get("/api/v1/overview").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/metrics/",
        "/%6detrics",
        "//metrics",
        "/console/../metrics",
        '/metrics"',
        "/flower/",
        "/flower/api/tasks",
    ],
)
def test_metrics_and_flower_are_fenced(front, caller, echo, path):
    echo.paths.clear()
    caller.get(path).check_problem(403, "forbidden")
    assert not echo.paths
    with front.caller(LOOPBACK) as trusted:
        assert trusted.get(path).status == (503 if "flower" in path else 200)


def test_whoever_is_away_is_told_as_a_problem(front):
    with front.caller(LOOPBACK) as trusted:
        answer = trusted.get("/flower/")
    answer.check_problem(503, "unavailable")
    assert answer.headers["Retry-After"] == "2"


def test_only_what_holds_no_secret_is_compressed(caller):
    script = caller.get("/console/static/js/main.js", Accept_Encoding="gzip")
    assert script.headers["Content-Encoding"] == "gzip"
    assert len(script.raw) < len(CODE) / 10
    assert caller.get("/api/v1/auth/me", Accept_Encoding="gzip").headers["Content-Encoding"] is None


def test_the_log_has_no_query_and_the_answer_no_version(front, caller):
    answer = caller.get("/return?token=EC-SECRET", Referer="https://x.example/?code=SECRET")
    assert answer.headers["Server"] == "nginx"
    wait_for(lambda: any(visit["path"] == "/return" for visit in front.visits))
    log = (front.folder / "access.log").read_text()
    assert "SECRET" not in log
    visit = next(visit for visit in front.visits if visit["path"] == "/return")
    assert (visit["address"], visit["status"]) == (caller.address, "200")


def test_a_socket_passes_while_one_relay_is_away(front):
    for _ in range(4):
        with front.upgrade(stranger()) as socket:
            for part in (b"first", b"\x00second\xff"):
                assert told(socket, part) == part


def test_an_address_holds_so_many_sockets(front):
    address = stranger()
    held = [front.upgrade(address) for _ in range(SOCKETS)]
    with front.caller(address) as caller:
        answer = caller.get("/ws", Upgrade="websocket", Connection="Upgrade")
        answer.check_problem(429, "too-many-requests")
        with front.upgrade(stranger()) as other:
            assert told(other, b"x") == b"x"
        held.pop().close()
        wait_for(lambda: caller.get("/ws").status == 200)
    for socket in held:
        assert told(socket, b"still") == b"still"
        socket.close()


def told(socket: ssl.SSLSocket, part: bytes) -> bytes:
    """Send a part and return what came back of it."""
    socket.sendall(part)
    heard = b""
    while len(heard) < len(part):
        heard += socket.recv(len(part) - len(heard)) or pytest.fail("it was closed")
    return heard


def test_times_and_sizes_go_with_those_of_the_application():
    text = CONF.read_text()

    def seconds(directive: str) -> list[int]:
        return [int(found) for found in re.findall(rf"\b{directive} (\d+)s;", text)]

    at_http, at_sockets = seconds("proxy_read_timeout")
    assert waiting.MAX_WAIT_S < at_http < gunicorn.timeout
    assert at_sockets > 2 * Bounds().heartbeat_s
    assert seconds("keepalive_timeout")[0] < gunicorn.keepalive
    assert "client_max_body_size 1m;" in text
