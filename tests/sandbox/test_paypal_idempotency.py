"""PayPal-Request-Id: the same one shows what it made as it is now, and never makes it twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.sandbox.paypal_shop import ORDERS, SETUPS, TOKENS, PayPalShop, Refused
from tests.sandbox_fixture import PayPalProcess

HOUR_S = 60 * 60
DAY_S = 24 * HOUR_S


def test_the_same_id_shows_the_order_as_it_is_now(paypal_shop: PayPalShop) -> None:
    body = paypal_shop.order(custom_id="t1")
    order = paypal_shop.post(ORDERS, body, key="k")
    paypal_shop.control.approve(order["id"])

    again = paypal_shop.post(ORDERS, body, key="k")

    assert (again["id"], again["status"]) == (order["id"], "APPROVED")
    assert [exchange.status for exchange in paypal_shop.log] == [201, 200]
    assert len(paypal_shop.control.book()["orders"]) == 1


def test_a_capture_that_is_asked_for_again_is_the_same(paypal_shop: PayPalShop) -> None:
    order = paypal_shop.post(ORDERS, paypal_shop.order(custom_id="t1"))
    paypal_shop.control.approve(order["id"])
    first = paypal_shop.post(f"{ORDERS}/{order['id']}/capture", key="k")

    again = paypal_shop.post(f"{ORDERS}/{order['id']}/capture", key="k")

    assert again == first
    assert len(paypal_shop.control.charges("t1")) == 1


def test_another_request_with_the_same_id_is_refused(paypal_shop: PayPalShop) -> None:
    paypal_shop.pay("10.00", key="k")
    with pytest.raises(Refused) as caught:
        paypal_shop.pay("11.00", key="k")
    assert (caught.value.status, caught.value.name) == (400, "DUPLICATE_REQUEST_ID")


def test_an_id_is_a_requests_own_so_that_a_capture_may_have_its_orders(
    paypal_shop: PayPalShop,
) -> None:
    order = paypal_shop.post(ORDERS, paypal_shop.order(), key="k")
    paypal_shop.control.approve(order["id"])
    assert paypal_shop.post(f"{ORDERS}/{order['id']}/capture", key="k")["status"] == "COMPLETED"


def test_what_was_refused_may_be_asked_again_with_the_same_id(paypal_shop: PayPalShop) -> None:
    paypal_shop.control.fault("decline", decline_code="TRANSACTION_REFUSED")
    with pytest.raises(Refused):
        paypal_shop.pay(key="k")
    assert paypal_shop.pay(key="k")["status"] == "COMPLETED"


@pytest.mark.parametrize(("age_s", "charges"), [(6 * HOUR_S - 60, 1), (6 * HOUR_S, 2)])
def test_the_id_of_an_order_is_forgotten_after_six_hours(
    paypal_shop: PayPalShop, age_s: int, charges: int
) -> None:
    paypal_shop.pay(key="k", custom_id="t1")
    paypal_shop.control.advance(age_s)
    paypal_shop.pay(key="k", custom_id="t1")
    assert len(paypal_shop.control.charges("t1")) == charges


@pytest.mark.parametrize(("age_s", "refunds"), [(45 * DAY_S - 60, 1), (45 * DAY_S, 2)])
def test_the_id_of_a_refund_is_forgotten_after_45_days(
    paypal: PayPalProcess, paypal_shop: PayPalShop, age_s: int, refunds: int
) -> None:
    capture = paypal_shop.capture_of(paypal_shop.pay())["id"]
    paypal_shop.refund(capture, "1.00", key="k")
    paypal_shop.control.advance(age_s)
    later = PayPalShop(paypal)
    later.refund(capture, "1.00", key="k")
    assert len(later.control.book()["refunds"]) == refunds


def test_the_same_id_many_times_at_once_pays_once(paypal_shop: PayPalShop) -> None:
    paypal_shop.control.fault("slow", delay_ms=100)

    def pay(_: int) -> Any:
        try:
            return paypal_shop.pay(key="k", custom_id="t1")["status"]
        except Refused as error:
            return error.issues[0]

    with ThreadPoolExecutor(8) as threads:
        told = set(threads.map(pay, range(8)))

    assert "COMPLETED" in told
    assert told <= {"COMPLETED", "PREVIOUS_REQUEST_IN_PROGRESS"}
    assert len(paypal_shop.control.charges("t1")) == 1


@pytest.mark.parametrize(
    ("key", "issue"), [("k" * 109, "INVALID_STRING_LENGTH"), (None, "PAYPAL_REQUEST_ID_REQUIRED")]
)
def test_an_order_that_pays_needs_an_id_of_at_most_108_characters(
    paypal_shop: PayPalShop, key: str | None, issue: str
) -> None:
    with pytest.raises(Refused) as caught:
        paypal_shop.pay(key=key)
    assert (caught.value.status, caught.value.issues) == (400, [issue])
    assert paypal_shop.pay(key="k" * 108)["status"] == "COMPLETED"


def test_an_order_without_a_source_needs_no_id(paypal_shop: PayPalShop) -> None:
    assert paypal_shop.post(ORDERS, paypal_shop.order(), key=None)["status"] == "CREATED"


@pytest.mark.parametrize("path", [SETUPS, TOKENS])
def test_the_vault_always_needs_an_id(paypal_shop: PayPalShop, path: str) -> None:
    with pytest.raises(Refused) as caught:
        paypal_shop.post(path, {}, key=None)
    assert caught.value.issues == ["MISSING_REQUIRED_PARAMETER"]


def test_ids_outlive_a_kill(own_paypal: PayPalProcess) -> None:
    PayPalShop(own_paypal).pay(key="k", custom_id="t1")
    own_paypal.kill()
    own_paypal.start()
    shop = PayPalShop(own_paypal)
    assert shop.pay(key="k", custom_id="t1")["status"] == "COMPLETED"
    assert len(shop.control.charges("t1")) == 1
