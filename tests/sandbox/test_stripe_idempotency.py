"""An Idempotency-Key remembers the first answer once execution began, for 24 h, and no longer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import pytest
import requests
import stripe

from tests.sandbox.shop import Shop
from tests.sandbox_fixture import API_KEY, SandboxProcess

A_DAY_S = 24 * 60 * 60


def test_the_same_key_gives_the_same_answer_and_one_charge(shop: Shop) -> None:
    first = shop.pay(1000, "inr", key="k", transaction_id="t1")
    again = shop.pay(1000, "inr", key="k", transaction_id="t1")

    assert again.to_dict() == first.to_dict()
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert again.last_response.headers["Original-Request"] == first.last_response.request_id
    assert len(shop.control.charges("t1")) == 1


def test_a_replayed_answer_is_the_first_byte_for_byte(sandbox: SandboxProcess) -> None:
    def post() -> bytes:
        return requests.post(
            f"{sandbox.url}/v1/customers",
            data={"email": "a@example.test"},
            headers={"Authorization": f"Bearer {API_KEY}", "Idempotency-Key": "k"},
            timeout=10,
        ).content

    assert post() == post()


def test_the_same_key_with_other_parameters_is_refused(shop: Shop) -> None:
    shop.pay(1000, "inr", key="k", transaction_id="t1")

    with pytest.raises(stripe.IdempotencyError) as caught:
        shop.pay(1001, "inr", key="k", transaction_id="t1")

    assert caught.value.http_status == HTTPStatus.BAD_REQUEST
    assert len(shop.control.charges("t1")) == 1


def test_the_same_key_at_the_same_time_is_in_use(shop: Shop) -> None:
    shop.control.fault("slow", delay_ms=400, count=None)

    def try_once(_: int) -> str:
        try:
            return shop.pay(1000, "inr", key="k", transaction_id="t1").status
        except stripe.APIError as error:
            return f"{error.http_status} {error.json_body['error']['code']}"

    with ThreadPoolExecutor(5) as pool:
        statuses = list(pool.map(try_once, range(5)))

    assert sorted(statuses) == ["409 idempotency_key_in_use"] * 4 + ["succeeded"]
    assert len(shop.control.charges("t1")) == 1


def test_a_key_charges_again_after_a_day(shop: Shop) -> None:
    shop.pay(1000, "inr", key="k", transaction_id="t1")
    shop.control.advance(A_DAY_S - 10)
    shop.pay(1000, "inr", key="k", transaction_id="t1")
    assert len(shop.control.charges("t1")) == 1

    shop.control.advance(10)
    shop.pay(1000, "inr", key="k", transaction_id="t1")

    assert len(shop.control.charges("t1")) == 2


def test_a_decline_is_remembered(shop: Shop) -> None:
    for _ in range(2):
        with pytest.raises(stripe.CardError) as caught:
            shop.pay(1000, "inr", key="k", method="pm_card_chargeDeclined", transaction_id="t1")

    assert caught.value.headers["Idempotent-Replayed"] == "true"
    assert len(shop.control.charges("t1", status="failed")) == 1


@pytest.mark.parametrize("executed", [True, False])
def test_a_500_is_remembered_whether_it_charged_or_not(shop: Shop, executed: bool) -> None:  # noqa: FBT001
    shop.control.fault("server_error", executed=executed)
    for _ in range(2):
        with pytest.raises(stripe.APIError) as caught:
            shop.pay(1000, "inr", key="k", transaction_id="t1")
        assert caught.value.http_status == HTTPStatus.INTERNAL_SERVER_ERROR

    assert len(shop.control.charges("t1")) == (1 if executed else 0)


@pytest.mark.parametrize("kind", ["rate_limit", "lock_timeout"])
def test_a_429_is_not_remembered(shop: Shop, kind: str) -> None:
    shop.control.fault(kind)
    with pytest.raises(stripe.RateLimitError):
        shop.pay(1000, "inr", key="k", transaction_id="t1")
    assert shop.control.charges("t1") == []

    assert shop.pay(1000, "inr", key="k", transaction_id="t1").status == "succeeded"


def test_a_request_that_failed_validation_is_not_remembered(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        shop.pay(0, "inr", key="k")

    assert shop.pay(1000, "inr", key="k").status == "succeeded"


def test_a_key_outlives_a_kill(own_sandbox: SandboxProcess) -> None:
    shop = Shop(own_sandbox)
    first = shop.pay(1000, "inr", key="k", transaction_id="t1")
    own_sandbox.kill()
    own_sandbox.start()

    again = shop.pay(1000, "inr", key="k", transaction_id="t1")

    assert again.id == first.id
    assert len(own_sandbox.control.charges("t1")) == 1
