"""A payment as a browser sees it: each event once, in order, also those that it was away for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from tests.system import PASSWORD, ROOT
from tests.waiting import PATIENCE_S
from tests.web.relay.knocking import enter, hang_up, ticket_of
from tests.web.relay.peer import Peer


@pytest.fixture(autouse=True)
def _hang_up():
    yield
    hang_up()


@pytest.fixture
def owner(system, shared_relay):
    return system.member()


@pytest.fixture
def card(system, owner) -> str:
    body = {"type": "card", "token": "pm_card_visa"}
    made = owner.post("/api/v1/payment-methods", body, prefer="wait=20").body["id"]
    system.wait_until(lambda: owner.get("/api/v1/payment-methods").body[0]["status"] == "active")
    return made


def pay(owner, card: str) -> str:
    """Pay an invoice and return its id."""
    lines = [{"description": "A seat", "quantity": 1, "unit_amount": "10.00"}]
    invoice = owner.post("/api/v1/invoices", {"lines": lines}).body
    paid = owner.post(
        "/api/v1/payments/create-intent",
        {"invoice_id": invoice["id"], "payment_method_id": card, "amount": "10.00"},
        prefer="wait=20",
    )
    assert paid.status in {200, 202}, paid
    invoice_id: str = invoice["id"]
    return invoice_id


def heard(peer: Peer, kind: str, invoice_id: str) -> bool:
    return any(told.get("invoice_id") == invoice_id for told in peer.of(kind))


def test_a_payment_is_heard_and_what_was_missed_comes_after_a_reconnect(system, owner, card):
    url = system.relay_url
    peer = enter(url, ticket=ticket_of(owner))
    first = pay(owner, card)
    peer.until(lambda peer: heard(peer, "invoice.paid", first))
    assert heard(peer, "payment.succeeded", first)
    events = [message for message in peer.heard if "id" in message]
    assert {event["company_id"] for event in events} == {str(owner.company_id)}
    assert all({"type", "timestamp", "data"} <= event.keys() for event in events)

    peer.sock.close()
    second = pay(owner, card)
    system.wait_until(lambda: owner.get(f"/api/v1/invoices/{second}").body["status"] == "paid")
    again = enter(url, ticket=ticket_of(owner), query=f"?since={events[-1]['id']}")
    again.until(lambda peer: heard(peer, "invoice.paid", second))
    assert again.of("relay.hello")[0]["resumed"] is True
    third = pay(owner, card)
    again.until(lambda peer: heard(peer, "invoice.paid", third))
    seqs = peer.seqs + again.seqs
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def sample() -> str:
    """Return the client of the protocol page."""
    [program] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/relay.md").read_text(), re.DOTALL)
    return program


class Busy(BaseHTTPRequestHandler):
    """Has no ticket at first, then no room at the upgrade, and then the session is over."""

    asked: ClassVar[list[str]] = []
    answers: ClassVar = [
        (200, {"access_token": "a"}),
        (503, {"title": "Try again in a moment"}),
        (201, {"ticket": "t", "url": ""}),
        (429, {"title": "Too many requests"}),
        (401, {"title": "Sign in"}),
    ]

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        status, body = self.answers[len(self.asked)]
        self.asked.append(self.path)
        if "url" in body:
            body = {**body, "url": f"ws://127.0.0.1:{self.server.server_port}/ws"}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def test_the_client_of_the_protocol_page_goes_on_after_a_refusal_that_passes():
    ticket = "/api/v1/relay/tickets"
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environ = {"api": f"http://127.0.0.1:{server.server_port}", "email": "e", "password": "p"}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", sample()],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        server.shutdown()
    assert Busy.asked == ["/api/v1/auth/login", ticket, ticket, "/ws", ticket], done.stderr
    assert done.returncode == 1
    assert "Sign in" in done.stderr


def test_the_client_of_the_protocol_page_prints_what_happens(system, owner, card, tmp_path):
    program = sample()
    # Its company's channel is heard as soon as it has come in.
    enter(system.relay_url, token=owner.token)
    before = system.relay.said.count("GET /ws 101")
    told = tmp_path / "told"
    environ = {"api": system.web_url, "email": owner.user["email"], "password": PASSWORD}
    with told.open("wb") as output:
        client = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program],
            env={**system.environ, **environ},
            stdout=output,
        )
    try:
        system.wait_until(lambda: system.relay.said.count("GET /ws 101") > before)
        # What happens before the relay has taken it in is not told to it.
        system.wait_until(lambda: pay(owner, card) and '"invoice.paid"' in told.read_text())
    finally:
        client.kill()
        client.wait()
    events = [json.loads(line) for line in told.read_text().splitlines()]
    assert {event["company_id"] for event in events} == {str(owner.company_id)}
    seqs = [int(event["id"].rpartition("-")[2]) for event in events]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
