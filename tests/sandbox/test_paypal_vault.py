"""Wallets that are kept: agreed to on a page of their own or by paying, used, listed, deleted."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.sandbox.paypal_shop import BACK, ORDERS, SETUPS, TOKENS, PayPalShop, Refused

INSTRUCTION = {"store_in_vault": "ON_SUCCESS", "usage_type": "MERCHANT"}


def agreed(shop: PayPalShop, token_id: str, kind: str = "SETUP_TOKEN", **more: Any) -> Any:
    return shop.post(TOKENS, {"payment_source": {"token": {"id": token_id, "type": kind}}, **more})


def set_up(shop: PayPalShop, customer: str = "customer_1") -> Any:
    wallet = {"usage_type": "MERCHANT", "experience_context": BACK}
    body = {"customer": {"id": customer}, "payment_source": {"paypal": wallet}}
    return shop.post(SETUPS, body)


def test_a_payer_agrees_and_is_charged_later(paypal_shop: PayPalShop) -> None:
    setup = set_up(paypal_shop)
    with pytest.raises(Refused) as caught:
        agreed(paypal_shop, setup["id"])
    assert caught.value.issues == ["SETUP_TOKEN_NOT_APPROVED"]
    [page] = [link["href"] for link in setup["links"] if link["rel"] == "approve"]

    answer = requests.post(page, data={"outcome": "approve"}, allow_redirects=False, timeout=10)

    back = urlsplit(answer.headers["Location"])
    assert parse_qs(back.query)["approval_token_id"] == [setup["id"]]
    assert paypal_shop.get(f"{SETUPS}/{setup['id']}")["status"] == "APPROVED"
    token = agreed(paypal_shop, setup["id"])
    assert token["customer"] == {"id": "customer_1"}
    assert token["payment_source"]["paypal"]["email_address"] == "payer@example.com"
    order = paypal_shop.pay(token=token["id"])
    assert order["payer"]["email_address"] == "payer@example.com"
    with pytest.raises(Refused):
        agreed(paypal_shop, setup["id"])


def test_a_wallet_is_kept_by_paying_with_it(paypal_shop: PayPalShop) -> None:
    attributes = {"vault": INSTRUCTION, "customer": {"id": "customer_1"}}
    order = paypal_shop.post(ORDERS, paypal_shop.order(source={"attributes": attributes}))
    paypal_shop.control.approve(order["id"], payer="eve@example.com")

    captured = paypal_shop.post(f"{ORDERS}/{order['id']}/capture")

    kept = captured["payment_source"]["paypal"]["attributes"]["vault"]
    assert (kept["status"], kept["customer"]["id"]) == ("VAULTED", "customer_1")
    assert paypal_shop.pay(token=kept["id"])["payer"]["email_address"] == "eve@example.com"
    assert "VAULT.PAYMENT-TOKEN.CREATED" in paypal_shop.event_types()


def test_a_wallet_is_not_kept_when_the_payment_is_declined(paypal_shop: PayPalShop) -> None:
    order = paypal_shop.post(
        ORDERS, paypal_shop.order(source={"attributes": {"vault": INSTRUCTION}})
    )
    paypal_shop.control.approve(order["id"], payer="denied_5120@example.com")
    captured = paypal_shop.post(f"{ORDERS}/{order['id']}/capture")
    assert "attributes" not in captured["payment_source"]["paypal"]
    assert paypal_shop.control.book()["payment_tokens"] == []


def test_tokens_are_listed_by_customer_in_pages(paypal_shop: PayPalShop) -> None:
    kept = [paypal_shop.control.keep_token(customer="customer_1")["id"] for _ in range(3)]
    paypal_shop.control.keep_token(customer="customer_2")

    page = paypal_shop.get(TOKENS, customer_id="customer_1", page_size=2, total_required="true")

    assert [token["id"] for token in page["payment_tokens"]] == kept[:0:-1]
    assert (page["total_items"], page["total_pages"]) == (3, 2)
    last = paypal_shop.get(TOKENS, customer_id="customer_1", page_size=2, page=2)
    assert [token["id"] for token in last["payment_tokens"]] == kept[:1]


def test_a_deleted_token_never_pays_again(paypal_shop: PayPalShop) -> None:
    token = paypal_shop.control.keep_token(customer="customer_1")["id"]
    paypal_shop.ask("DELETE", f"{TOKENS}/{token}")

    with pytest.raises(Refused) as caught:
        paypal_shop.pay(token=token)
    assert caught.value.issues == ["TOKEN_ID_NOT_FOUND"]
    for method in ("GET", "DELETE"):
        with pytest.raises(Refused) as gone:
            paypal_shop.ask(method, f"{TOKENS}/{token}")
        assert gone.value.status == 404
    assert paypal_shop.get(TOKENS, customer_id="customer_1")["payment_tokens"] == []
    assert paypal_shop.event_types() == [
        "VAULT.PAYMENT-TOKEN.CREATED",
        "VAULT.PAYMENT-TOKEN.DELETED",
    ]


def test_a_token_declines_from_when_it_is_told_to(paypal_shop: PayPalShop) -> None:
    token = agreed(paypal_shop, "sandbox_well", customer={"id": "customer_1"})["id"]
    paypal_shop.pay(token=token)

    paypal_shop.control.change_token(token, "instrument_declined")

    with pytest.raises(Refused) as caught:
        paypal_shop.pay(token=token)
    assert caught.value.issues == ["INSTRUMENT_DECLINED"]
    paypal_shop.control.change_token(token, "well")
    assert paypal_shop.pay(token=token)["status"] == "COMPLETED"


def test_a_test_token_becomes_one_that_declines(paypal_shop: PayPalShop) -> None:
    token = agreed(paypal_shop, "sandbox_card_expired")["id"]
    with pytest.raises(Refused) as caught:
        paypal_shop.pay(token=token)
    assert caught.value.issues == ["CARD_EXPIRED"]


def test_an_order_pays_by_token_in_either_place(paypal_shop: PayPalShop) -> None:
    body = paypal_shop.order()
    token = {"id": "sandbox_well", "type": "BILLING_AGREEMENT"}
    source = {"payment_source": {"token": token}}
    assert paypal_shop.post(ORDERS, body | source)["status"] == "COMPLETED"
    order = paypal_shop.post(ORDERS, body)
    assert paypal_shop.post(f"{ORDERS}/{order['id']}/capture", source)["status"] == "COMPLETED"
