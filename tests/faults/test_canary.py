"""A secret put into every input comes out nowhere but where it belongs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
import redis
import requests
import sqlalchemy

from sandbox.children import LOOPBACK, free_port
from tests.client import Client
from tests.faults.events import post_event
from tests.invariants import judge
from tests.system import BIN, System
from tests.waiting import PATIENCE_S, wait_for
from tests.web.api.shop import add_card, bill, pay

# The stand-ins, whose own these secrets are.
OUTSIDE = ("sandbox", "paypal", "mail")
FLOWER_LOGIN = ("canary", "a-login-for-flower")


def canary(place: str) -> str:
    return f"canary{uuid4().hex}{place}"


class Watch:
    """Every command that Valkey is given."""

    def __init__(self, url: str) -> None:
        self.commands: list[str] = []
        self._client = redis.Redis.from_url(url)
        self._mark = uuid4().hex

    @contextmanager
    def watching(self) -> Iterator[None]:
        watcher = threading.Thread(target=self._listen, daemon=True)
        watcher.start()
        wait_for(lambda: self._client.ping() and self.commands)
        yield
        self._client.echo(self._mark)
        watcher.join(PATIENCE_S)
        self._client.close()

    def _listen(self) -> None:
        with self._client.monitor() as monitor:
            for command in monitor.listen():
                said = command["command"]
                self.commands.append(said)
                if self._mark in said:
                    return


@pytest.fixture
def system(tmp_path, database_url) -> Iterator[System]:
    environ = {
        "LOG_LEVEL": "DEBUG",
        "FLOWER_PORT": str(free_port()),
        "FLOWER_LOGIN": ":".join(FLOWER_LOGIN),
        "PAYPAL_CLIENT_SECRET": canary("paypal"),
    }
    parts = ("sandbox", "paypal", "mail", "web", "worker", "beat", "relay")
    with System(tmp_path, database_url=database_url, environ=environ, parts=parts) as running:
        flower = f"http://{LOOPBACK}:{running.environ['FLOWER_PORT']}"
        running.parts["flower"] = running._part(
            "flower",
            [BIN / "celery", "-A", "worker.app", "flower", "--conf=worker/flowerconfig.py"],
            lambda _: running._is_answering(f"{flower}/healthcheck"),
        ).start()
        yield running
        running.worker.kill()


def shown_by_flower(system: System) -> str:
    url = f"http://{LOOPBACK}:{system.environ['FLOWER_PORT']}/api/tasks"
    answer = requests.get(url, auth=FLOWER_LOGIN, timeout=10)
    assert answer.status_code == 200
    return answer.text


def kept_in_redis(system: System) -> str:
    """Every key with all that it holds, as text."""
    kept = []
    for key in system.redis.scan_iter("*"):
        kept += [key, _value(system.redis, key)]
    return "\n".join(kept)


def _value(client: redis.Redis, key: str) -> str:
    readers = {
        "string": client.get,
        "hash": client.hgetall,
        "list": lambda name: client.lrange(name, 0, -1),
        "set": client.smembers,
        "zset": lambda name: client.zrange(name, 0, -1),
        "stream": client.xrange,
    }
    read = readers.get(client.type(key))
    return repr(read(key)) if read else ""


def kept_in_mysql(system: System) -> str:
    """Every row of every table, as text."""
    kept = []
    with system.engine.connect() as connection:
        for table in sqlalchemy.inspect(system.engine).get_table_names():
            rows = connection.execute(sqlalchemy.text(f"SELECT * FROM `{table}`")).all()
            kept += [f"{table} {tuple(row)!r}" for row in rows]
    return "\n".join(kept)


def pay_through_paypal(system: System, owner: Client) -> None:
    begun = pay(owner, bill(owner, currency="EUR"), provider="paypal", currency="EUR")
    assert begun.body["status"] == "requires_action", begun
    [order] = system.paypal.book()["orders"]
    system.paypal.approve(order["id"])
    path = f"/api/v1/payments/{begun.body['transaction_id']}"
    system.wait_until(lambda: owner.get(path).body["status"] == "succeeded")


def test_no_secret_leaves_the_place_where_it_belongs(system):
    watch = Watch(system.valkey.url)
    secrets = {}
    with watch.watching():
        owner = system.member()
        secrets["token"] = owner.token
        secrets["password"] = canary("password")
        login = {"email": "nobody@example.com", "password": secrets["password"]}
        assert Client(system.web_url).post("/api/v1/auth/login", login).status == 401
        secrets["authorization"] = canary("authorization")
        stranger = Client(system.web_url, secrets["authorization"])
        assert stranger.get("/api/v1/payments").status == 401
        secrets["method token"] = f"tok_{canary('token')}"
        refused = owner.post(
            "/api/v1/payment-methods",
            {"type": "card", "token": secrets["method token"]},
            prefer="wait=20",
        )
        assert refused.status in (402, 422), refused
        assert secrets["method token"] not in refused.text
        notes = {name: canary(name) for name in ("memo", "notes", "description")}
        card = add_card(owner)
        invoice_id = bill(owner, memo=notes["memo"])
        paid = pay(owner, invoice_id, payment_method_id=card)
        payment_id = paid.body["transaction_id"]
        refund = {"amount": "10.00", "reason": "requested", "notes": notes["notes"]}
        assert owner.post(f"/api/v1/payments/{payment_id}/refund", refund).status in (200, 201, 202)
        pending = pay(
            owner,
            bill(owner),
            payment_method_id=add_card(owner, "pm_card_authenticationRequired"),
        )
        secrets["client secret"] = pending.body["client_secret"]
        assert secrets["client secret"]
        secrets["PayPal's secret"] = system.environ["PAYPAL_CLIENT_SECRET"]
        pay_through_paypal(system, owner)
        about = {"id": "pi_unknown", "description": notes["description"], "metadata": {}}
        event = post_event(system, f"evt_{uuid4().hex}", "payment_intent.succeeded", about)
        assert event.status_code == 200
        judge(system)
        wait_for(lambda: "payments.charge" in shown_by_flower(system))

    logs = {part.name: part.log.read_text(errors="replace") for part in system.parts.values()}
    places = {
        **{f"the log of {name}": text for name, text in logs.items() if name not in OUTSIDE},
        "Flower": shown_by_flower(system),
        "Redis": kept_in_redis(system),
        "Redis' commands": "\n".join(c for c in watch.commands if " reply:" not in c),
    }
    leaks = [
        f"{what} in {where}"
        for what, secret in {**secrets, **notes}.items()
        for where, text in places.items()
        if secret in text
    ]
    rows = kept_in_mysql(system)
    leaks += [f"{what} in a row" for what, secret in secrets.items() if secret in rows]
    assert not leaks
    # The test itself would see them: each is where it belongs.
    assert notes["memo"] in rows
    assert any(secrets["client secret"] in c for c in watch.commands if " reply:" in c)
