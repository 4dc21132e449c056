"""Every type of event is published by a path that people or providers set off, and by its name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from models.ids import new_id
from tests.bell import ring
from tests.factories import make_module
from tests.tasks.dunning_shop import Shop, opened
from worker.channels import channels
from worker.database import PUBLISH
from worker.events import KINDS, OURS
from worker.presence import Held, Presence

ROOT = Path(__file__).parents[2]
ASYNC = {"Prefer": "respond-async"}
TOLD_BY_REDIS = {"user.online", "user.offline"}
OF_PAYMENTS = {"transaction_id", "invoice_id", "amount", "currency"}
# What the specification's examples hold beside company and time, which are the envelope's, and
# what whoever hears of the others must know.
DATA = {
    "invoice.created": {"invoice_id", "amount", "currency", "created_at"},
    "invoice.updated": {"invoice_id", "amount", "currency", "status"},
    "invoice.paid": {"invoice_id", "amount", "currency", "status"},
    "payment.started": OF_PAYMENTS,
    "payment.succeeded": OF_PAYMENTS,
    "payment.failed": OF_PAYMENTS | {"code", "reason"},
    "module.subscribed": {"module_id", "code", "name"},
    "module.unsubscribed": {"module_id", "code", "name"},
    "module.usage_alert": {"company_id", "module_id", "usage", "threshold", "alert_type"},
    "system.alert": {"alert_id", "kind", "severity", "message"},
    "user.online": set(),
    "user.offline": set(),
}


@pytest.fixture
def shop(use, person, sandbox, monkeypatch) -> Iterator[Shop]:
    with opened(sandbox, monkeypatch, person) as made:
        yield made


def done(answer) -> dict[str, Any]:
    assert answer.status_code < 300, answer.text
    return answer.json


def pay(shop: Shop, owner, invoice_id: str, method_id) -> None:
    body = {"invoice_id": invoice_id, "amount": "40.00", "payment_method_id": str(method_id)}
    done(owner.post("/api/v1/payments/create-intent", body, **ASYNC))
    shop.work()


def bill(owner, **more: Any) -> str:
    line = {"description": "A seat", "quantity": 1, "unit_amount": "40.00"}
    return done(owner.post("/api/v1/invoices", {"lines": [line], **more}))["id"]


def live(shop: Shop, owner, module_id) -> None:
    """What a company and its provider do, as far as browsers hear of it."""
    visa, unsure = shop.card("pm_card_visa"), shop.card("pm_sandbox_decline_duplicate_transaction")
    draft_id = bill(owner, draft=True)
    done(owner.send("PATCH", f"/api/v1/invoices/{draft_id}", json={"memo": "Thank you."}))
    pay(shop, owner, bill(owner), visa)
    pay(shop, owner, bill(owner), unsure)
    module = f"/api/v1/modules/{module_id}"
    done(owner.post(f"{module}/subscribe"))
    done(owner.post(f"{module}/usage", {"idempotency_key": new_id().hex, "quantity": 5}))
    done(owner.post(f"{module}/unsubscribe"))


def come_and_go(person) -> None:
    """As a relay does whose only connection of a user is opened and closed."""
    relay = Presence(channels(), new_id().hex, patience_s=10**9)
    held = [Held(str(person.company_id), person.user_id, "2026-11-23T03:26:38+00:00")]
    relay.hold(held)
    relay.let_go(held, grace_s=0)
    relay.reap()


def heard(person, since) -> list[dict[str, Any]]:
    history = channels().since(str(person.company_id), since)
    assert history.lost is None
    return [orjson.loads(body) for _, body in history.messages]


def test_every_type_of_event_is_published(shop, owner, person):
    since = channels().position(str(person.company_id))
    live(shop, owner, make_module(person, is_taken=False, unit="call", warning_at=5))
    for owed in shop.owed(PUBLISH):
        ring(PUBLISH, owed.id)
    come_and_go(person)
    events = heard(person, since)
    assert {event["type"] for event in events} == set(KINDS)
    for event in events:
        assert event["company_id"] == str(person.company_id)
        assert "timestamp" in event
        assert DATA[event["type"]] <= event["data"].keys(), event
        assert ("user_id" in event) == (event["type"] in TOLD_BY_REDIS)


def announced() -> set[str]:
    """The types that the code names where it announces something."""
    found = set()
    for room in ("web", "tasks", "worker"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                if name.split(".")[-1].startswith(("announce", "_announce")):
                    # An event of several types says which by an `if` in its place.
                    within = [each for argument in node.args for each in ast.walk(argument)]
                    found |= {
                        each.value
                        for each in within
                        if isinstance(each, ast.Constant) and isinstance(each.value, str)
                    }
    return found


def test_nothing_is_announced_by_another_name():
    assert announced() == {*KINDS, *OURS} - TOLD_BY_REDIS


@pytest.mark.parametrize(
    "place", ["docs/relay.md", "web/console/static/js/views/words.js"], ids=["docs", "console"]
)
def test_every_type_is_told_of_in_the_docs_and_has_words_in_the_console(place):
    text = (ROOT / place).read_text()
    told = set(re.findall(r"[`\"]((?:invoice|payment|module|system|user)\.[a-z_]+)[`\"]", text))
    assert told == set(KINDS)
