"""The real web and two real relays behind a real nginx."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from models.tenants import User
from sandbox.children import LOOPBACK, free_port
from tests.deploy.front import NAME, Caller, Front, nginx, stranger
from tests.system import PASSWORD, WEBHOOK_SECRET, Part, System
from tests.web.relay.peer import Peer
from tests.web.webhooks.door import signature
from worker.channels import Channels

LOGIN = "/api/v1/auth/login"
RELAY_LEAVES = 4200
# As a browser names the same host at a port that is not its own.
ELSEWHERE = f"{NAME}:8443"


@dataclass
class House:
    """All that stands behind the front, and the front."""

    system: System
    front: Front
    relays: tuple[Part, Part]
    company_id: UUID
    token: str

    def publish(self, number: int) -> None:
        event = {"type": "payment.succeeded", "data": {"number": number}}
        channels = Channels(self.system.valkey.url)
        with closing(channels.cache.client):
            assert not channels.publish({str(self.company_id): [json.dumps(event).encode()]})

    @contextmanager
    def browser(self) -> Iterator[Peer]:
        """A page that has bought a ticket and heard hello; one that is sent away comes again."""
        with ExitStack() as held:
            peer = held.enter_context(self._knock())
            while not peer.of("relay.hello"):
                if not peer.read():
                    peer = held.enter_context(self._knock())
            yield peer

    @contextmanager
    def _knock(self) -> Iterator[Peer]:
        address = stranger()
        with self.front.caller(address) as caller:
            answer = caller.post("/api/v1/relay/tickets", {}, Authorization=f"Bearer {self.token}")
        assert answer.status == 201, answer
        assert answer.body["url"] == f"wss://{NAME}/ws"
        shown = f"Sec-WebSocket-Protocol: paybeat.v1, ticket.{answer.body['ticket']}"
        with self.front.upgrade(address, f"Origin: https://{NAME}", shown) as socket:
            yield Peer(socket)


def hears(peer: Peer, number: int) -> None:
    """Wait until what was published with this number has come."""
    peer.until(lambda it: {"number": number} in it.of("payment.succeeded"))


@pytest.fixture(scope="module")
def house(tmp_path_factory, database_url) -> Iterator[House]:
    nginx()  # all else would be started for nothing
    folder = tmp_path_factory.mktemp("behind")
    environ = {
        "TRUSTED_PROXIES": "1",
        "METRICS_ENABLED": "true",
        "METRICS_DIR": str(folder / "metrics"),
        "RELAY_URL": f"wss://{NAME}/ws",
        "LOGIN_RATE_LIMIT": "4 per hour",
    }
    with ExitStack() as held:
        system = held.enter_context(
            System(folder / "system", database_url=database_url, environ=environ, parts=[])
        )
        port = free_port()
        url = f"http://{LOOPBACK}:{port}"
        other = Part(
            "other relay",
            system.relay.argv,
            {**system.environ, "RELAY_PORT": str(port)},
            log=system.folder / "other-relay.log",
            is_ready=lambda _: system._is_answering(f"{url}/healthz"),
        )
        system.parts["other relay"] = other
        parts = (system.web, system.relay, other)
        for part in parts:
            part.launch()
        for part in parts:
            part.wait_ready()
        front = held.enter_context(
            Front(
                folder / "nginx",
                web=int(system.environ["PORT"]),
                relays=(int(system.environ["RELAY_PORT"]), port),
                flower=free_port(),
            )
        )
        member = system.member()
        assert member.token
        yield House(system, front, (system.relay, other), member.company_id, member.token)


@pytest.fixture
def caller(house) -> Iterator[Caller]:
    with house.front.caller() as one:
        yield one


def test_a_request_is_answered_and_keeps_its_id(caller):
    answer = caller.get("/healthz", X_Request_Id="their-own-id-7")
    assert (answer.status, answer.headers["X-Request-Id"]) == (200, "their-own-id-7")


def test_the_application_knows_a_caller_by_its_own_address(house, caller):
    """Whatever it claims: four logins an hour from one address, and no more."""
    for n in range(4):
        lie = {"X_Forwarded_For": f"8.8.8.{n}"}
        wrong = {"email": f"{uuid4()}@example.com", "password": "a wrong password"}
        caller.post(LOGIN, wrong, **lie).check_problem(401, "wrong-credentials")
    caller.post(LOGIN, wrong, X_Forwarded_For="8.8.8.8").check_problem(429, "too-many-requests")
    with house.front.caller() as other:
        other.post(LOGIN, wrong).check_problem(401, "wrong-credentials")


def test_the_console_takes_a_login_from_its_own_page_alone(house, caller):
    """It sees the host and the scheme that the browser sees."""
    with house.system.session() as session:
        email = session.scalars(select(User.email)).first()
    login = {"email": email, "password": PASSWORD}
    for host in (NAME, ELSEWHERE):
        for origin in ("https://evil.example", f"https://{host}:444", f"https://{host}"):
            answer = caller.post("/console/session", login, Host=host, Origin=origin)
            assert answer.status == (200 if origin.endswith(host) else 403), answer
    assert "Secure" in answer.headers["Set-Cookie"]


def test_a_signed_webhook_is_taken(house, caller):
    event = {"id": f"evt_{uuid4().hex}", "object": "event", "type": "price.created"}
    body = json.dumps({**event, "data": {"object": {"id": "price_1"}}}).encode()
    signed = signature(body, key=WEBHOOK_SECRET)
    answer = caller.post("/api/v1/webhooks/stripe", body, Stripe_Signature=signed)
    assert (answer.status, answer.body) == (200, {"received": True})
    refused = caller.post("/api/v1/webhooks/stripe", body, Stripe_Signature="t=1,v1=0")
    refused.check_problem(400, "bad-request")


def test_metrics_are_for_those_within(house, caller):
    caller.get("/metrics").check_problem(403, "forbidden")
    with house.front.caller(LOOPBACK) as trusted:
        assert b"paybeat_http_requests_total" in trusted.get("/metrics").raw


def test_a_page_hears_what_is_published(house):
    with house.browser() as peer:
        house.publish(1)
        hears(peer, 1)


def test_no_ticket_and_no_page_of_others_gets_in(house):
    with house.front.caller() as caller:
        answer = caller.get(
            "/ws",
            Upgrade="websocket",
            Connection="Upgrade",
            Sec_WebSocket_Version="13",
            Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
            Origin="https://evil.example",
        )
    assert answer.status == 403
    shown = "Sec-WebSocket-Protocol: paybeat.v1, ticket.forged"
    for host in (NAME, ELSEWHERE):
        own = f"Origin: https://{host}"
        with house.front.upgrade(stranger(), own, shown, host=host) as socket:
            closed = Peer(socket).end()
            assert closed is not None
            assert closed[0] == 4106


def test_relays_are_restarted_in_turns_and_nobody_is_lost(house):
    with ExitStack() as held:
        peers = [held.enter_context(house.browser()) for _ in range(6)]
        for number, leaving in enumerate(house.relays, start=10):
            leaving.signal(signal.SIGTERM)
            # Whoever comes while it leaves is let in by the other.
            peers.append(held.enter_context(house.browser()))
            leaving.stop()
            house.publish(number)
            staying = [peer for peer in peers if stays(peer, number)]
            told = [peer for peer in peers if peer not in staying]
            assert {peer.closed[0] for peer in told} == {RELAY_LEAVES}
            back = [held.enter_context(house.browser()) for _ in told]
            house.publish(number + 10)
            peers = staying + back
            for peer in peers:
                hears(peer, number + 10)
            if leaving is house.relays[0]:
                leaving.start()


def stays(peer: Peer, number: int) -> bool:
    """Return whether it hears what was published with this number; else it was told to leave."""
    while {"number": number} not in peer.of("payment.succeeded"):
        if peer.closed or not peer.read():
            return False
    return True
