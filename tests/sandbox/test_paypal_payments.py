"""Orders at the stand-in for PayPal: paid by a vaulted wallet, or approved and captured."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from sandbox.paypal.errors import DECLINES
from tests.sandbox.paypal_shop import BACK, CAPTURES, ORDERS, PayPalShop, Refused
from tests.sandbox_fixture import PayPalProcess

UNIT = "/purchase_units/@reference_id=='default'"


def link(told: Any, rel: str) -> str:
    [href] = [one["href"] for one in told["links"] if one["rel"] == rel]
    return href


def press(page: str, outcome: str) -> dict[str, list[str]]:
    answer = requests.post(page, data={"outcome": outcome}, allow_redirects=False, timeout=10)
    assert answer.status_code == 303
    return parse_qs(urlsplit(answer.headers["Location"]).query) | {
        "to": [answer.headers["Location"].partition("?")[0]]
    }


def test_a_vaulted_wallet_pays_at_once(paypal_shop: PayPalShop) -> None:
    order = paypal_shop.pay("10.00", custom_id="t1", invoice_id="t1")

    capture = paypal_shop.capture_of(order)
    assert (order["status"], capture["status"]) == ("COMPLETED", "COMPLETED")
    assert capture["custom_id"] == capture["invoice_id"] == "t1"
    assert capture["seller_receivable_breakdown"]["net_amount"]["value"] == "9.16"
    [charge] = paypal_shop.control.charges("t1")
    assert charge == {
        "id": capture["id"],
        "order": order["id"],
        "status": "succeeded",
        "transaction_id": "t1",
        "metadata": {"transaction_id": "t1"},
        "currency": "usd",
        "amount": 1000,
        "amount_captured": 1000,
        "amount_refunded": 0,
        "amount_reversed": 0,
        "is_disputed": False,
    }


def test_an_order_is_approved_on_the_payers_page_and_then_captured(
    paypal_shop: PayPalShop,
) -> None:
    order = paypal_shop.post(ORDERS, paypal_shop.order(source={"experience_context": BACK}))
    assert order["status"] == "PAYER_ACTION_REQUIRED"
    page = requests.get(link(order, "payer-action"), timeout=10).text
    assert "Pay 10.00 USD?" in page

    back = press(link(order, "payer-action"), "approve")

    assert back["to"] == [BACK["return_url"]]
    assert back["token"] == [order["id"]]
    assert paypal_shop.get(f"{ORDERS}/{order['id']}")["status"] == "APPROVED"
    assert paypal_shop.control.charges() == []
    captured = paypal_shop.post(f"{ORDERS}/{order['id']}/capture")
    assert captured["status"] == "COMPLETED"
    assert captured["payer"]["payer_id"] == back["PayerID"][0]
    assert "button" not in requests.get(link(order, "payer-action"), timeout=10).text


def test_a_payer_who_cancels_is_sent_back_and_nothing_is_approved(paypal_shop: PayPalShop) -> None:
    order = paypal_shop.post(ORDERS, paypal_shop.order(source={"experience_context": BACK}))

    assert press(link(order, "payer-action"), "cancel")["to"] == [BACK["cancel_url"]]

    with pytest.raises(Refused) as caught:
        paypal_shop.post(f"{ORDERS}/{order['id']}/capture")
    assert caught.value.issues == ["ORDER_NOT_APPROVED"]
    assert caught.value.links["payer-action"] == link(order, "payer-action")


def test_an_order_is_captured_once(paypal_shop: PayPalShop) -> None:
    order = paypal_shop.post(ORDERS, paypal_shop.order(custom_id="t1"))
    paypal_shop.control.approve(order["id"])
    paypal_shop.post(f"{ORDERS}/{order['id']}/capture")

    with pytest.raises(Refused) as caught:
        paypal_shop.post(f"{ORDERS}/{order['id']}/capture")

    assert caught.value.issues == ["ORDER_ALREADY_CAPTURED"]
    assert len(paypal_shop.control.charges("t1")) == 1


@pytest.mark.parametrize("issue", sorted(set(DECLINES) - {"PAYER_ACTION_REQUIRED"}))
def test_a_wallet_that_declines_leaves_nothing_behind(paypal_shop: PayPalShop, issue: str) -> None:
    with pytest.raises(Refused) as caught:
        paypal_shop.pay(token=f"sandbox_{issue.lower()}")

    assert (caught.value.status, caught.value.issues) == (422, [issue])
    book = paypal_shop.control.book()
    assert (book["captures"], book["orders"], book["events"]) == ([], [], [])


def test_a_token_that_nobody_has_is_not_found(paypal_shop: PayPalShop) -> None:
    with pytest.raises(Refused) as caught:
        paypal_shop.pay(token="unknown1")
    assert caught.value.issues == ["TOKEN_ID_NOT_FOUND"]


def test_a_vaulted_wallet_may_ask_for_its_payer(paypal_shop: PayPalShop) -> None:
    order = paypal_shop.pay(token="sandbox_payer_action_required")

    assert order["status"] == "PAYER_ACTION_REQUIRED"
    paypal_shop.control.approve(order["id"])
    assert paypal_shop.post(f"{ORDERS}/{order['id']}/capture")["status"] == "COMPLETED"


def test_an_order_without_a_way_back_says_how_it_ended(paypal_shop: PayPalShop) -> None:
    order = paypal_shop.post(ORDERS, paypal_shop.order())
    answer = requests.post(link(order, "approve"), data={"outcome": "approve"}, timeout=10)
    assert "Pay 10.00 USD?" in answer.text
    paypal_shop.post(f"{ORDERS}/{order['id']}/capture")
    assert "Pay 10.00 USD: COMPLETED." in requests.get(link(order, "approve"), timeout=10).text
    late = requests.post(link(order, "approve"), data={"outcome": "approve"}, timeout=10)
    assert late.status_code == 422


def test_a_payer_who_is_declined_may_choose_another_wallet(paypal_shop: PayPalShop) -> None:
    order = paypal_shop.post(ORDERS, paypal_shop.order())
    paypal_shop.control.approve(order["id"], payer="instrument_declined@example.com")
    with pytest.raises(Refused) as caught:
        paypal_shop.post(f"{ORDERS}/{order['id']}/capture")
    assert caught.value.issues == ["INSTRUMENT_DECLINED"]

    paypal_shop.control.approve(order["id"], payer="other@example.com")

    assert paypal_shop.post(f"{ORDERS}/{order['id']}/capture")["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("outcome", "status", "event"),
    [("succeeded", "COMPLETED", "COMPLETED"), ("failed", "DECLINED", "DENIED")],
)
def test_a_pending_capture_is_settled_on_command(
    paypal_shop: PayPalShop, outcome: str, status: str, event: str
) -> None:
    capture = paypal_shop.capture_of(paypal_shop.pay(token="sandbox_pending"))
    assert capture["status_details"] == {"reason": "PENDING_REVIEW"}

    paypal_shop.control.settle(capture["id"], outcome=outcome)

    settled = paypal_shop.get(f"{CAPTURES}/{capture['id']}")
    assert settled["status"] == status
    assert ("seller_receivable_breakdown" in settled) == (outcome == "succeeded")
    assert paypal_shop.event_types() == ["PAYMENT.CAPTURE.PENDING", f"PAYMENT.CAPTURE.{event}"]


def test_a_processor_may_decline_a_capture_that_is_made(paypal_shop: PayPalShop) -> None:
    capture = paypal_shop.capture_of(paypal_shop.pay(token="sandbox_denied_5120"))

    assert capture["status"] == "DECLINED"
    assert capture["processor_response"] == {"response_code": "5120"}
    assert paypal_shop.control.charges() == []


@pytest.mark.parametrize(
    ("value", "currency", "issue"),
    [
        ("10.5", "JPY", "DECIMAL_PRECISION"),
        ("10.50", "HUF", "DECIMAL_PRECISION"),
        ("0.10", "TWD", "DECIMAL_PRECISION"),
        ("10.001", "USD", "DECIMAL_PRECISION"),
        ("0.00", "USD", "CANNOT_BE_ZERO_OR_NEGATIVE"),
        ("-1.00", "USD", "CANNOT_BE_ZERO_OR_NEGATIVE"),
        ("1.00", "INR", "INVALID_CURRENCY_CODE"),
        ("1000000000000000.00", "USD", "MAX_VALUE_EXCEEDED"),
    ],
)
def test_an_amount_that_paypal_does_not_take_is_refused(
    paypal_shop: PayPalShop, value: str, currency: str, issue: str
) -> None:
    with pytest.raises(Refused) as caught:
        paypal_shop.pay(value, currency)
    assert (caught.value.status, caught.value.issues) == (422, [issue])


@pytest.mark.parametrize(
    ("value", "currency", "told", "minor"),
    [
        ("1000", "JPY", "1000", 1000),
        ("1000.00", "HUF", "1000", 100000),
        ("7.5", "EUR", "7.50", 750),
    ],
)
def test_an_amount_is_told_in_its_currencys_decimals(
    paypal_shop: PayPalShop, value: str, currency: str, told: str, minor: int
) -> None:
    capture = paypal_shop.capture_of(paypal_shop.pay(value, currency))
    assert capture["amount"] == {"currency_code": currency, "value": told}
    assert paypal_shop.control.charges()[0]["amount_captured"] == minor


def test_an_invoice_is_paid_once(paypal_shop: PayPalShop) -> None:
    paypal_shop.pay(invoice_id="i1")
    with pytest.raises(Refused) as caught:
        paypal_shop.pay(invoice_id="i1")
    assert caught.value.issues == ["DUPLICATE_INVOICE_ID"]


def test_an_invoice_that_was_not_paid_may_be_tried_again(paypal_shop: PayPalShop) -> None:
    paypal_shop.pay(token="sandbox_denied_5120", invoice_id="i1")
    with pytest.raises(Refused):
        paypal_shop.pay(token="sandbox_instrument_declined", invoice_id="i1")
    assert paypal_shop.pay(invoice_id="i1")["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("change", "issue", "field"),
    [
        ({"surprise": 1}, "NOT_SUPPORTED", "/surprise"),
        ({"intent": "SALE"}, "INVALID_PARAMETER_VALUE", "/intent"),
        ({"purchase_units": []}, "INVALID_ARRAY_MIN_ITEMS", "/purchase_units"),
        ({"purchase_units": [{}]}, "MISSING_REQUIRED_PARAMETER", "/purchase_units/0/amount"),
        (
            {"purchase_units": [{"amount": {"currency_code": "USD", "value": "1,00"}}]},
            "INVALID_PARAMETER_SYNTAX",
            "/purchase_units/0/amount/value",
        ),
        (
            {"purchase_units": [{"amount": {"currency_code": "USD", "value": 1}}]},
            "INVALID_PARAMETER_SYNTAX",
            "/purchase_units/0/amount/value",
        ),
    ],
)
def test_what_the_published_schema_does_not_allow_is_refused(
    paypal_shop: PayPalShop, change: dict[str, Any], issue: str, field: str
) -> None:
    with pytest.raises(Refused) as caught:
        paypal_shop.post(ORDERS, paypal_shop.order() | change)

    assert (caught.value.status, caught.value.name) == (400, "INVALID_REQUEST")
    assert caught.value.issues == [issue]
    told = paypal_shop.log[-1].answer
    assert told["details"][0]["field"] == field
    assert told["debug_id"]
    assert told["links"][-1]["rel"] == "information_link"


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [("application/json", b"{", 400), ("text/plain", b"{}", 415), ("application/json", b"[]", 400)],
)
def test_what_is_no_json_object_is_refused(
    paypal_shop: PayPalShop, content_type: str, body: bytes, status: int
) -> None:
    headers = {"Content-Type": content_type, "Authorization": f"Bearer {token_of(paypal_shop)}"}
    answer = requests.post(paypal_shop.url + ORDERS, body, headers=headers, timeout=10)
    assert answer.status_code == status


def token_of(shop: PayPalShop) -> str:
    return shop.token()["access_token"]


def test_an_access_token_is_needed_and_ends(paypal_shop: PayPalShop) -> None:
    life_s = paypal_shop.token()["expires_in"]
    paypal_shop.control.advance(life_s - 60)
    paypal_shop.pay()
    paypal_shop.control.advance(60)

    with pytest.raises(Refused) as caught:
        paypal_shop.pay()

    assert (caught.value.status, caught.value.name) == (401, "AUTHENTICATION_FAILURE")
    forged = {"Authorization": "Bearer A21AA99999999999.0"}
    url = f"{paypal_shop.url}{ORDERS}/X"
    assert requests.get(url, headers=forged, timeout=10).status_code == 401
    assert PayPalShop.pay(again(paypal_shop))["status"] == "COMPLETED"


def again(shop: PayPalShop) -> PayPalShop:
    shop._session.headers["Authorization"] = f"Bearer {token_of(shop)}"
    return shop


@pytest.mark.parametrize("login", [("", ""), ("client", ""), ("", "secret")])
def test_a_client_without_a_secret_gets_no_token(
    paypal_shop: PayPalShop, login: tuple[str, str]
) -> None:
    with pytest.raises(requests.HTTPError, match="401"):
        paypal_shop.token(login)


def test_a_client_that_was_named_is_the_only_one(tmp_path: Path) -> None:
    process = PayPalProcess(tmp_path, "--client-id", "ours", "--client-secret", "known")
    try:
        for login, status in ((("ours", "known"), 200), (("ours", "other"), 401)):
            answer = requests.post(
                f"{process.url}/v1/oauth2/token",
                auth=login,
                data={"grant_type": "client_credentials"},
                timeout=10,
            )
            assert answer.status_code == status
    finally:
        process.stop()


def test_another_grant_is_not_supported(paypal: PayPalProcess) -> None:
    answer = requests.post(
        f"{paypal.url}/v1/oauth2/token",
        auth=("client", "secret"),
        data={"grant_type": "password"},
        timeout=10,
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


def test_an_order_that_nobody_made_is_not_found(paypal_shop: PayPalShop) -> None:
    with pytest.raises(Refused) as caught:
        paypal_shop.get(f"{ORDERS}/UNKNOWN")
    assert (caught.value.status, caught.value.issues) == (404, ["INVALID_RESOURCE_ID"])


def test_an_order_is_changed_until_it_is_captured(paypal_shop: PayPalShop) -> None:
    order = paypal_shop.post(ORDERS, paypal_shop.order(custom_id="t1"))
    money = {"currency_code": "USD", "value": "12.00"}
    paypal_shop.ask(
        "PATCH",
        f"{ORDERS}/{order['id']}",
        [
            {"op": "replace", "path": f"{UNIT}/amount", "value": money},
            {"op": "remove", "path": f"{UNIT}/custom_id"},
            {"op": "add", "path": f"{UNIT}/invoice_id", "value": "i1"},
        ],
    )
    paypal_shop.control.approve(order["id"])
    capture = paypal_shop.capture_of(paypal_shop.post(f"{ORDERS}/{order['id']}/capture"))

    assert (capture["amount"], capture["invoice_id"]) == (money, "i1")
    assert "custom_id" not in capture
    with pytest.raises(Refused) as caught:
        paypal_shop.ask("PATCH", f"{ORDERS}/{order['id']}", [])
    assert caught.value.issues == ["ORDER_ALREADY_COMPLETED"]


@pytest.mark.parametrize(
    ("patch", "issue"),
    [
        ({"op": "remove", "path": "/intent"}, "NOT_PATCHABLE"),
        ({"op": "replace", "path": f"{UNIT}/custom_id", "value": 7}, "INVALID_PARAMETER_SYNTAX"),
        ({"op": "remove", "path": f"{UNIT}/amount"}, "MISSING_REQUIRED_PARAMETER"),
    ],
)
def test_of_changes_with_a_wrong_one_none_is_made(
    paypal_shop: PayPalShop, patch: dict[str, Any], issue: str
) -> None:
    order = paypal_shop.post(ORDERS, paypal_shop.order(custom_id="t1"))
    good = {"op": "replace", "path": f"{UNIT}/custom_id", "value": "t2"}

    with pytest.raises(Refused) as caught:
        paypal_shop.ask("PATCH", f"{ORDERS}/{order['id']}", [good, patch])

    assert caught.value.issues == [issue]
    [unit] = paypal_shop.get(f"{ORDERS}/{order['id']}")["purchase_units"]
    assert unit["custom_id"] == "t1"


@pytest.mark.parametrize(
    ("change", "status", "issue"),
    [
        ({"intent": "AUTHORIZE"}, 422, "UNSUPPORTED_INTENT_FOR_PAYMENT_SOURCE"),
        (
            {"purchase_units": [{"amount": {"currency_code": "USD", "value": "1"}}] * 2},
            400,
            "NOT_SUPPORTED",
        ),
    ],
)
def test_what_the_sandbox_does_not_do_is_refused_not_ignored(
    paypal_shop: PayPalShop, change: dict[str, Any], status: int, issue: str
) -> None:
    with pytest.raises(Refused) as caught:
        paypal_shop.post(ORDERS, paypal_shop.order() | change)
    assert (caught.value.status, caught.value.issues) == (status, [issue])


def test_a_payment_is_known_by_either_of_our_ids(paypal_shop: PayPalShop) -> None:
    capture = paypal_shop.capture_of(paypal_shop.pay(custom_id="more.t1", invoice_id="t1"))
    paypal_shop.pay(custom_id="t2")

    for ours in ("t1", "more.t1"):
        assert [one["id"] for one in paypal_shop.control.charges(ours)] == [capture["id"]]
    assert paypal_shop.control.book()["by_transaction"].keys() == {"t1", "t2"}
