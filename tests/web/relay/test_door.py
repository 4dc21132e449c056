"""Who comes in at a real relay, to which channel, and what the others are told."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import update

from models.tenants import Company, Role, Tenant, User
from tests.client import Client
from tests.system import PASSWORD, System
from tests.waiting import wait_for
from tests.web.relay.knocking import closed, enter, knock, ticket_of
from tests.web.relay.peer import by_hand
from worker.channels import Channels
from worker.shared_clock import SharedClock

pytestmark = pytest.mark.xdist_group("tests/web/relay")


def problem(answer, status: int) -> str:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    told = json.loads(answer.body)
    assert told["status"] == status
    assert told["request_id"]
    detail: str = told["detail"]
    return detail


def say(system: System, channel, kind: str = "payment.succeeded") -> None:
    Channels(system.valkey.url).publish({str(channel): [json.dumps({"type": kind}).encode()]})


def pongs(peer) -> bool:
    peer.say(type="ping")
    peer.until(lambda peer: any(message["type"] == "relay.pong" for message in peer.heard))
    return True


def hears(peer, kind: str) -> bool:
    peer.until(lambda peer: peer.of(kind))
    return True


def user_is(system, client, **values) -> None:
    with system.session() as session:
        session.execute(update(User).where(User.id == UUID(client.user["id"])).values(**values))


def test_a_ticket_opens_a_connection_to_the_companys_events(system, url, owner):
    answer = owner.post("/api/v1/relay/tickets", {})
    assert answer.status == 201
    assert answer.body["url"] == f"{url.replace('http', 'ws')}/ws"
    assert answer.headers["Cache-Control"] == "no-store"
    upgraded = knock(url, ticket=answer.body["ticket"])
    assert upgraded.subprotocol == "paybeat.v1"
    peer = upgraded.peer
    peer.until(lambda peer: peer.of("relay.hello"))
    say(system, system.company(), "of.another")
    say(system, owner.company_id, "of.ours")
    assert hears(peer, "of.ours")
    assert not peer.of("of.another")


def test_a_ticket_is_good_once(url, owner):
    ticket = ticket_of(owner)
    enter(url, ticket=ticket)
    assert closed(knock(url, ticket=ticket)) == 4106


def test_a_ticket_is_over_after_30_seconds(system, url, owner):
    clock = SharedClock(Path(system.environ["SANDBOX_CLOCK"]))
    ticket = ticket_of(owner)
    clock.advance(30)
    assert closed(knock(url, ticket=ticket)) == 4106


@pytest.mark.parametrize("ticket", ["", "x", "x" * 2000, "ab.cd"])
def test_a_ticket_that_nobody_sold_opens_nothing(url, ticket):
    if not ticket:
        problem(knock(url), 401)
    else:
        assert closed(knock(url, ticket=ticket)) == 4106


def test_a_ticket_goes_with_nothing_else_that_says_who_comes(system, url, owner):
    other = system.member()
    problem(knock(url, ticket=ticket_of(owner), token=other.token), 400)
    company = str(other.company_id)
    problem(knock(url, ticket=ticket_of(owner), X_Company_Id=company), 400)
    two = f"paybeat.v1, ticket.{ticket_of(owner)}, ticket.{ticket_of(other)}"
    problem(knock(url, protocols=two), 400)


def test_the_ticket_of_a_company_hears_no_other(system, url, owner):
    other = system.member()
    enter_as_other = enter(url, ticket=ticket_of(other))
    peer = enter(url, ticket=ticket_of(owner))
    say(system, other.company_id, "of.theirs")
    say(system, owner.company_id, "of.ours")
    assert hears(enter_as_other, "of.theirs")
    assert hears(peer, "of.ours")
    assert not peer.of("of.theirs")
    assert not enter_as_other.of("of.ours")


def test_a_ticket_whose_user_became_another_is_not_let_in(system, url):
    operator = system.member(Role.OPERATOR)
    ticket = ticket_of(operator)
    user_is(system, operator, role=Role.MEMBER)
    system.redis.delete(*system.redis.keys("session:*"))
    assert closed(knock(url, ticket=ticket)) == 4003
    assert operator.post("/api/v1/relay/tickets").status == 403


@pytest.mark.parametrize("header", ["Bearer x.y.z", "Basic abc", "Bearer", "Bearer " + "x" * 5000])
def test_a_wrong_token_is_answered_with_401(url, header):
    answer = knock(url, Authorization=header)
    problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_in_the_address_is_refused_wherever_else_it_may_be_good(system, url, owner):
    for name in ("token", "access_token", "ticket"):
        problem(knock(url, token=owner.token, query=f"?{name}={owner.token}"), 400)
    assert owner.token not in system.relay.log.read_text()


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://{web}", 101),
        ("http://{relay}", 101),
        ("https://app.example.com", 101),
        ("https://app.example.com.evil.example", 403),
        ("http://app.example.com", 403),
        ("http://127.0.0.1", 403),
        ("http://127.0.0.1:1", 403),
        ("http://evil.example", 403),
        ("file://{relay}", 403),
        ("http://[", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_pages_of_few_origins_may_connect(system, url, owner, origin, status):
    places = {"web": system.web_url, "relay": url}
    named = origin.format(**{name: place.removeprefix("http://") for name, place in places.items()})
    answer = knock(url, token=owner.token, Origin=named)
    assert answer.status == status, answer
    if status == 403:
        problem(answer, 403)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"protocols": None}, 400),
        ({"protocols": "paybeat.v2"}, 400),
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Version": None}, 426),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Upgrade": None}, 400),
        ({"query": "?since=a-1&since=a-2"}, 400),
        ({"protocols": "paybeat.v1, ticket.\x80"}, 400),
        ({"Host": "m\xfcnchen"}, 400),
        ({"Host": "[", "Origin": "http://"}, 400),
    ],
)
def test_what_is_no_handshake_of_ours_is_answered_as_http(url, owner, headers, status):
    problem(knock(url, token=owner.token, **headers), status)


def test_a_place_that_is_none_is_not_understood(url, owner):
    assert closed(knock(url, token=owner.token, query="?since=yesterday")) == 4000


def test_no_compression_is_agreed_on(url, owner):
    deflate = "permessage-deflate; client_max_window_bits"
    answer = knock(url, token=owner.token, Sec_WebSocket_Extensions=deflate)
    assert answer.status == 101
    assert "sec-websocket-extensions" not in answer.headers


def test_an_operator_hears_the_tenant_or_a_company_of_it(system, url):
    operator = system.member(Role.OPERATOR)
    ours = system.company()
    with system.session() as session:
        other = Tenant(name="Another")
        session.add(other)
        session.flush()
        other_id = other.id
    theirs = system.company()
    with system.session() as session:
        session.execute(update(Company).where(Company.id == theirs).values(tenant_id=other_id))
    tenants = [enter(url, token=operator.token), enter(url, ticket=ticket_of(operator))]
    operator.headers["X-Company-Id"] = str(ours)
    companys = [
        enter(url, token=operator.token, X_Company_Id=str(ours)),
        enter(url, ticket=ticket_of(operator)),
    ]
    say(system, ours, "of.the.company")
    say(system, system.tenant_id, "of.the.tenant")
    for peer in tenants:
        assert hears(peer, "of.the.tenant")
        assert not peer.of("of.the.company")
    for peer in companys:
        assert hears(peer, "of.the.company")
        assert not peer.of("of.the.tenant")
    problem(knock(url, token=operator.token, X_Company_Id=str(theirs)), 404)
    operator.headers["X-Company-Id"] = str(theirs)
    assert operator.post("/api/v1/relay/tickets").status == 404


def test_nobody_else_may_name_another_company(system, url, owner):
    problem(knock(url, token=owner.token, X_Company_Id=str(system.company())), 404)


@pytest.mark.parametrize("way", ["logout", "deactivated"])
def test_a_session_that_has_ended_opens_nothing(system, url, owner, way):
    ticket, token = ticket_of(owner), owner.token
    if way == "logout":
        owner.post("/api/v1/auth/logout")
    else:
        user_is(system, owner, is_active=False)
        system.redis.delete(*system.redis.keys("session:*"))
    assert closed(knock(url, ticket=ticket)) == 4001
    assert closed(knock(url, token=token)) == 4001


def log_out(system, client) -> None:
    assert client.post("/api/v1/auth/logout").status == 204


def change_password(system, client) -> None:
    change = {"current_password": PASSWORD, "new_password": "another battery altogether"}
    assert client.post("/api/v1/auth/password", change).status == 204


def deactivate(system, client) -> None:
    user_is(system, client, is_active=False)


def change_role(system, client) -> None:
    user_is(system, client, role=Role.MEMBER)


def wait_a_day(system, _client) -> None:
    SharedClock(Path(system.environ["SANDBOX_CLOCK"])).advance(24 * 3600)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (log_out, 4001),
        (change_password, 4001),
        (deactivate, 4001),
        (change_role, 4106),
        (wait_a_day, 4001),
    ],
)
def test_connections_end_with_their_session(system, url, owner, end, code):
    peers = [enter(url, token=owner.token), enter(url, ticket=ticket_of(owner))]
    end(system, owner)
    for peer in peers:
        assert peer.end()[0] == code


def test_a_logout_ends_no_other_session_of_the_user(system, url, owner):
    again = Client.signed_in(system.web_url, owner.user["email"], PASSWORD)
    ends, stays = enter(url, token=owner.token), enter(url, token=again.token)
    log_out(system, owner)
    assert ends.end()[0] == 4001
    assert pongs(stays)


WRONG = {
    "too large": (by_hand(b"x" * (16 * 1024 + 1)), 1009),
    "not masked": (by_hand(b"hello", key=None), 1002),
    "a reserved bit": (by_hand(b"hello", reserved=0x40), 1002),
    "binary": (by_hand(b"\x00\x01", opcode=2), 1003),
    "not UTF-8": (by_hand(b"\xff\xfe"), 1007),
    "no message of ours": (by_hand(b"[]"), 4000),
    "not JSON": (by_hand(b"{"), 4000),
}


@pytest.mark.parametrize(("frame", "code"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_understood_ends_the_connection_with_its_code(url, owner, frame, code):
    peer = enter(url, token=owner.token)
    peer.sock.sendall(frame)
    assert peer.end()[0] == code


def test_a_message_in_pieces_is_one(url, owner):
    peer = enter(url, token=owner.token)
    peer.sock.sendall(by_hand(b'{"type":', final=False) + by_hand(b"", 9))
    peer.sock.sendall(by_hand(b'"ping"}', opcode=0))
    peer.until(lambda peer: any(m["type"] == "relay.pong" for m in peer.heard))


def test_neither_log_nor_answer_shows_a_token_or_a_ticket(system, url, owner):
    ticket = ticket_of(owner)
    enter(url, ticket=ticket)
    enter(url, token=owner.token)
    assert closed(knock(url, ticket=ticket)) == 4106
    wait_for(lambda: "GET /ws closed 4106" in system.relay.said)
    said = system.relay.said + system.web.said
    assert "GET /ws 101" in said
    assert ticket not in said
    assert owner.token not in said
