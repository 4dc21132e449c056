"""Every route of the stand-in, in requests and answers, is what PayPal publishes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from sandbox.paypal.routes import ROUTES
from tests.sandbox.openapi import Operation, operations, published
from tests.sandbox.paypal_shop import (
    BACK,
    CAPTURES,
    DISPUTES,
    EVENTS,
    ORDERS,
    REFUNDS,
    SETUPS,
    TOKENS,
    TRANSACTIONS,
    Exchange,
    PayPalShop,
    Refused,
)
from tests.sandbox_fixture import PayPalProcess

FOLDER = published()
pytestmark = pytest.mark.skipif(
    FOLDER is None,
    reason="PayPal's OpenAPI is not here: set PAYPAL_OPENAPI to its folder",
)
OPERATIONS = list(operations(FOLDER)) if FOLDER else []
VAULT = {"store_in_vault": "ON_SUCCESS", "usage_type": "MERCHANT"}
CUSTOMER = "customer_1"
DAY = {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-01-02T00:00:00Z"}
NOT_AS_PUBLISHED = {
    "event_id": "PayPal's ids of events have dashes",
}


def operation_of(exchange: Exchange) -> Operation:
    [found] = [one for one in OPERATIONS if one.fits(exchange.method, exchange.path)]
    return found


@pytest.fixture(scope="module")
def walked(paypal_process: PayPalProcess) -> Iterator[list[Exchange]]:
    """Every route is asked, well and wrongly; what was said, both ways."""
    paypal_process.control.reset()
    shop = PayPalShop(paypal_process)
    walk_orders(shop)
    walk_payments(shop)
    walk_vault(shop)
    walk_disputes(shop)
    walk_lists(shop)
    yield shop.log
    paypal_process.control.reset()


def refused(ask: Any, *given: Any, **more: Any) -> None:
    with suppress(Refused):
        ask(*given, **more)
        pytest.fail(f"{given} was not refused")


def walk_orders(shop: PayPalShop) -> None:
    wallet = {
        "email_address": "payer@example.com",
        "experience_context": {**BACK, "user_action": "PAY_NOW", "locale": "en-US"},
        "attributes": {"vault": VAULT, "customer": {"id": CUSTOMER}},
    }
    unit = {"custom_id": "ours-1", "invoice_id": "ours-1", "description": "A month"}
    order = shop.post(ORDERS, shop.order(source=wallet, **unit))
    shop.get(f"{ORDERS}/{order['id']}")
    path = "/purchase_units/@reference_id=='default'/amount"
    money = {"currency_code": "USD", "value": "11.00"}
    shop.ask("PATCH", f"{ORDERS}/{order['id']}", [{"op": "replace", "path": path, "value": money}])
    refused(shop.post, f"{ORDERS}/{order['id']}/capture")
    refused(shop.post, f"{ORDERS}/{order['id']}/authorize")
    shop.control.approve(order["id"])
    shop.get(f"{ORDERS}/{order['id']}")
    shop.post(f"{ORDERS}/{order['id']}/capture", headers={"Prefer": "return=minimal"}, key="c")
    shop.post(f"{ORDERS}/{order['id']}/capture", key="c")
    refused(shop.post, f"{ORDERS}/{order['id']}/capture")
    refused(shop.ask, "PATCH", f"{ORDERS}/{order['id']}", [])
    shop.pay(key="p")
    shop.pay(key="p")
    shop.post(ORDERS, shop.order(), headers={"Prefer": "return=minimal"})
    for name in ("instrument_declined", "card_expired", "transaction_refused"):
        refused(shop.pay, token=f"sandbox_{name}")
    for value, currency in (("1.5", "JPY"), ("1.001", "USD"), ("0", "USD"), ("1.00", "XXX")):
        refused(shop.pay, value, currency)
    refused(shop.post, ORDERS, {"intent": "CAPTURE"})
    refused(shop.post, ORDERS, shop.order(custom_id="x" * 128))
    refused(shop.post, ORDERS, shop.order(source={"vault_id": "sandbox_well"}), key=None)
    refused(shop.get, f"{ORDERS}/UNKNOWN")


def walk_payments(shop: PayPalShop) -> None:
    capture = shop.capture_of(shop.pay(custom_id="ours-2"))["id"]
    shop.get(f"{CAPTURES}/{capture}")
    refund = shop.refund(capture, "4.00", said={"note_to_payer": "Sorry"})
    shop.get(f"{REFUNDS}/{refund['id']}")
    shop.refund(capture, "1.00", headers={"Prefer": "return=minimal"})
    refused(shop.refund, capture, "9.00")
    refused(shop.refund, capture, "1.00", currency="EUR")
    shop.refund(capture)
    refused(shop.refund, capture)
    pending = shop.capture_of(shop.pay(token="sandbox_pending"))["id"]
    shop.get(f"{CAPTURES}/{pending}")
    refused(shop.refund, pending)
    shop.control.settle(pending, outcome="failed")
    denied = shop.capture_of(shop.pay(token="sandbox_denied_5120"))["id"]
    shop.get(f"{CAPTURES}/{denied}")
    shop.control.fault("refund_pending")
    waits = shop.refund(shop.capture_of(shop.pay(custom_id="ours-3"))["id"])
    shop.get(f"{REFUNDS}/{waits['id']}")
    shop.control.move_refund(waits["id"], "failed")
    shop.control.reverse(shop.capture_of(shop.pay())["id"])
    refused(shop.get, f"{CAPTURES}/UNKNOWN")


def walk_vault(shop: PayPalShop) -> None:
    wallet = {"usage_type": "MERCHANT", "description": "Rent", "experience_context": BACK}
    body = {"customer": {"id": CUSTOMER}, "payment_source": {"paypal": wallet}}
    setup = shop.post(SETUPS, body)
    shop.get(f"{SETUPS}/{setup['id']}")
    agreed = {"token": {"id": setup["id"], "type": "BILLING_AGREEMENT"}}
    refused(shop.post, TOKENS, {"payment_source": agreed})
    shop.control.approve(setup["id"])
    shop.get(f"{SETUPS}/{setup['id']}")
    token = shop.post(TOKENS, {"payment_source": agreed})
    shop.get(f"{TOKENS}/{token['id']}")
    shop.get(TOKENS, customer_id=CUSTOMER, page_size=1, page=1, total_required="true")
    shop.ask("DELETE", f"{TOKENS}/{token['id']}")
    refused(shop.get, f"{TOKENS}/{token['id']}")
    refused(shop.post, SETUPS, body, key=None)


def walk_disputes(shop: PayPalShop) -> None:
    evidence = {"evidences": [{"evidence_type": "OTHER", "notes": "It was delivered"}]}
    for stage, outcome in (("INQUIRY", "won"), ("CHARGEBACK", "lost")):
        capture = shop.capture_of(shop.pay(custom_id="ours-4"))["id"]
        dispute = shop.control.dispute(capture=capture, stage=stage)["dispute_id"]
        shop.get(f"{DISPUTES}/{dispute}")
        refused(shop.refund, capture, "1.00")
        shop.post(f"{DISPUTES}/{dispute}/provide-evidence", evidence)
        shop.get(f"{DISPUTES}/{dispute}")
        refused(shop.post, f"{DISPUTES}/{dispute}/provide-evidence", evidence)
        shop.control.end_dispute(dispute, outcome)
        shop.get(f"{DISPUTES}/{dispute}")
    capture = shop.capture_of(shop.pay())["id"]
    dispute = shop.control.dispute(capture=capture)["dispute_id"]
    shop.post(f"{DISPUTES}/{dispute}/accept-claim", {"note": "They are right"})
    shop.get(DISPUTES, page_size=2)
    shop.get(DISPUTES, disputed_transaction_id=capture, dispute_state="RESOLVED")


def walk_lists(shop: PayPalShop) -> None:
    listed = shop.get(EVENTS, page_size=300)
    assert len(listed["events"]) == len(shop.control.events())
    event = listed["events"][0]["id"]
    shop.get(f"{EVENTS}/{event}")
    shop.post(f"{EVENTS}/{event}/resend", {"webhook_ids": []})
    now = shop.get(f"{EVENTS}/{event}")["create_time"]
    shop.get(TRANSACTIONS, start_date=f"{now[:10]}T00:00:00Z", end_date=now, fields="all")
    shop.get(TRANSACTIONS, start_date=f"{now[:10]}T00:00:00Z", end_date=now, page_size=3, page=2)
    refused(shop.get, TRANSACTIONS, **{**DAY, "end_date": "2026-02-02T00:00:00Z"})


@pytest.mark.parametrize(
    ("method", "path"), [pytest.param(r.method, r.path, id=f"{r.method} {r.path}") for r in ROUTES]
)
def test_a_route_is_as_published(walked: list[Exchange], method: str, path: str) -> None:
    sample = path.replace("*", "X1")
    [operation] = [one for one in OPERATIONS if one.fits(method, sample)]
    exchanges = [one for one in walked if operation.fits(one.method, one.path)]
    assert exchanges, "nobody asked"
    wrong = [told for one in exchanges for told in wrong_in(operation, one)]
    assert not wrong, "\n".join(wrong[:10])


def wrong_in(operation: Operation, exchange: Exchange) -> Iterator[str]:
    is_success = exchange.status < 400
    response = operation.schema(operation.response(exchange.status))
    if response is not None:
        yield from operation.wrong(response, exchange.answer, is_strict=is_success)
    body = operation.schema(operation.told.get("requestBody", {}))
    if body is not None and is_success:
        yield from operation.wrong(body, exchange.body, is_strict=True)
    if is_success:
        yield from wrong_parameters(operation, exchange)


def wrong_parameters(operation: Operation, exchange: Exchange) -> Iterator[str]:
    match = operation.fits(exchange.method, exchange.path)
    assert match is not None
    given = exchange.query | match.groupdict()
    for name, told in operation.parameters().items():
        if told["in"] == "query" and told.get("required") and name not in given:
            yield f"{name} is missing"
        if name in given and name not in NOT_AS_PUBLISHED:
            schema = {key: value for key, value in told["schema"].items() if key != "default"}
            value = True if given[name] == "true" else given[name]
            for error in Draft202012Validator(schema).iter_errors(value):
                yield f"{name}: {error.message}"
    unknown = given.keys() - operation.parameters().keys()
    yield from (f"{name} is unknown" for name in unknown)


RESOURCES = {
    "capture": ("GET", f"{CAPTURES}/X1"),
    "checkout-order": ("GET", f"{ORDERS}/X1"),
    "dispute": ("GET", f"{DISPUTES}/X1"),
    "payment_token": ("GET", f"{TOKENS}/X1"),
    "refund": ("GET", f"{REFUNDS}/X1"),
}


def test_an_event_carries_its_resource_as_published(walked: list[Exchange]) -> None:
    [listed] = [one for one in walked if one.path == EVENTS]
    wrong, kinds = [], set()
    for event in listed.answer["events"]:
        sample = RESOURCES[event["resource_type"]]
        [operation] = [one for one in OPERATIONS if one.fits(*sample)]
        schema = operation.schema(operation.response(200))
        assert schema is not None
        wrong += operation.wrong(schema, event["resource"], is_strict=True)
        kinds.add(event["event_type"])
    assert not wrong, "\n".join(wrong[:10])
    assert kinds == {
        "CHECKOUT.ORDER.APPROVED",
        "CUSTOMER.DISPUTE.CREATED",
        "CUSTOMER.DISPUTE.RESOLVED",
        "CUSTOMER.DISPUTE.UPDATED",
        "PAYMENT.CAPTURE.COMPLETED",
        "PAYMENT.CAPTURE.DECLINED",
        "PAYMENT.CAPTURE.DENIED",
        "PAYMENT.CAPTURE.PENDING",
        "PAYMENT.CAPTURE.REFUNDED",
        "PAYMENT.CAPTURE.REVERSED",
        "PAYMENT.REFUND.FAILED",
        "PAYMENT.REFUND.PENDING",
        "VAULT.PAYMENT-TOKEN.CREATED",
        "VAULT.PAYMENT-TOKEN.DELETED",
    }
