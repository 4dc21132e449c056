"""What goes wrong at PayPal on command, and what the book says afterwards."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import requests

from sandbox.standin.control import Refused as DeskRefused
from tests.sandbox.paypal_shop import CAPTURES, ORDERS, PayPalShop, Refused
from tests.sandbox_fixture import PayPalProcess


@pytest.mark.parametrize(
    ("kind", "charges"),
    [("timeout_before", 0), ("timeout_after", 1), ("drop_before", 0), ("drop_after", 1)],
)
def test_a_lost_answer_is_a_lost_connection_and_the_book_knows(
    paypal_shop: PayPalShop, kind: str, charges: int
) -> None:
    paypal_shop.control.fault(kind, delay_ms=100)

    with pytest.raises(requests.ConnectionError):
        paypal_shop.pay(key="k", custom_id="t1")

    assert len(paypal_shop.control.charges("t1")) == charges
    assert paypal_shop.pay(key="k", custom_id="t1")["status"] == "COMPLETED"
    assert len(paypal_shop.control.charges("t1")) == 1


@pytest.mark.parametrize(("executed", "charges"), [(True, 1), (False, 0)])
def test_a_500_does_not_tell_whether_it_was_done(
    paypal_shop: PayPalShop, executed: object, charges: int
) -> None:
    paypal_shop.control.fault("server_error", executed=executed)

    with pytest.raises(Refused) as caught:
        paypal_shop.pay(key="k", custom_id="t1")

    assert (caught.value.status, caught.value.name) == (500, "INTERNAL_SERVER_ERROR")
    assert len(paypal_shop.control.charges("t1")) == charges
    assert paypal_shop.pay(key="k", custom_id="t1")["status"] == "COMPLETED"
    assert len(paypal_shop.control.charges("t1")) == 1


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [
        ("rate_limit", 429, "RATE_LIMIT_REACHED"),
        ("key_in_use", 409, "RESOURCE_CONFLICT"),
        ("token_expired", 401, "AUTHENTICATION_FAILURE"),
    ],
)
def test_a_refusal_on_command_does_nothing(
    paypal_shop: PayPalShop, kind: str, status: int, name: str
) -> None:
    paypal_shop.control.fault(kind)
    with pytest.raises(Refused) as caught:
        paypal_shop.pay(custom_id="t1")
    assert (caught.value.status, caught.value.name) == (status, name)
    assert paypal_shop.control.charges("t1") == []


def test_a_slow_answer_takes_its_time(paypal_shop: PayPalShop) -> None:
    paypal_shop.control.fault("slow", delay_ms=200)
    started = time.monotonic()
    paypal_shop.pay()
    assert time.monotonic() - started >= 0.2


def test_a_fault_aims_at_a_path(paypal_shop: PayPalShop) -> None:
    capture = paypal_shop.capture_of(paypal_shop.pay())["id"]
    paypal_shop.control.fault("decline", path=f"{CAPTURES}/*", decline_code="REFUND_NOT_ALLOWED")
    paypal_shop.pay()
    with pytest.raises(Refused) as caught:
        paypal_shop.refund(capture)
    assert caught.value.issues == ["REFUND_NOT_ALLOWED"]


def test_a_good_wallet_declines_on_command(paypal_shop: PayPalShop) -> None:
    paypal_shop.control.fault("decline", decline_code="DO_NOT_HONOR")
    with pytest.raises(Refused) as caught:
        paypal_shop.pay()
    assert caught.value.issues == ["DO_NOT_HONOR"]
    paypal_shop.control.fault("capture_pending")
    assert paypal_shop.capture_of(paypal_shop.pay())["status"] == "PENDING"


@pytest.mark.parametrize(
    ("code", "status", "issues"),
    [("INSTRUMENT_DECLINED", 422, ["INSTRUMENT_DECLINED"]), ("INTERNAL_SERVER_ERROR", 500, [])],
)
def test_paypals_own_header_for_negative_tests_is_heard(
    paypal_shop: PayPalShop, code: str, status: int, issues: list[str]
) -> None:
    header = {"PayPal-Mock-Response": f'{{"mock_application_codes": "{code}"}}'}
    with pytest.raises(Refused) as caught:
        paypal_shop.post(ORDERS, paypal_shop.order(), headers=header)
    assert (caught.value.status, caught.value.issues) == (status, issues)
    assert paypal_shop.control.book()["orders"] == []


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda control: control.fault("earthquake"), "kind must be one of"),
        (lambda control: control.fault("slow", surprise=1), "A fault has no surprise"),
        (lambda control: control.settle("X"), "INVALID_RESOURCE_ID"),
        (lambda control: control.ask("POST", "nothing"), "The sandbox has no POST nothing"),
    ],
)
def test_the_desk_says_what_it_does_not_do(
    paypal_shop: PayPalShop, ask: Callable[[object], object], told: str
) -> None:
    with pytest.raises(DeskRefused, match=told):
        ask(paypal_shop.control)


def test_the_book_outlives_a_kill(own_paypal: PayPalProcess) -> None:
    shop = PayPalShop(own_paypal)
    shop.pay(custom_id="t1")
    before, root = shop.control.book(), shop.control.root()

    own_paypal.kill()
    own_paypal.start()

    after = own_paypal.control.book()
    del before["now"], after["now"]
    assert after == before
    assert own_paypal.control.root() == root


def test_its_commands_steer_it_from_a_shell(paypal: PayPalProcess) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", "sandbox.paypal.control", "--url", paypal.url, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    run("fault", "decline", "--decline-code", "CARD_EXPIRED")
    assert "CARD_EXPIRED" in run("faults")


def test_what_is_not_there_is_not_found(paypal_shop: PayPalShop) -> None:
    with pytest.raises(Refused) as caught:
        paypal_shop.get("/v2/checkout/nothing")
    assert (caught.value.status, caught.value.name) == (404, "RESOURCE_NOT_FOUND")


def test_a_header_for_negative_tests_that_is_no_json_is_refused(paypal_shop: PayPalShop) -> None:
    with pytest.raises(Refused) as caught:
        paypal_shop.post(ORDERS, paypal_shop.order(), headers={"PayPal-Mock-Response": "oops"})
    assert (caught.value.status, caught.value.issues) == (400, ["INVALID_PARAMETER_SYNTAX"])
