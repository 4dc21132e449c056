"""3-D Secure, browsers, and charges that take their time."""

from __future__ import annotations

import pytest
import requests
import stripe

from tests.sandbox.shop import NO_REDIRECTS, Shop

RETURN_URL = "https://shop.example.test/back?order=7"


@pytest.mark.parametrize(
    "card", ["pm_card_authenticationRequired", "pm_card_threeDSecure2Required"]
)
def test_a_customer_completes_the_banks_page(shop: Shop, card: str) -> None:
    intent = shop.pay(1000, "inr", method=card, transaction_id="t1", return_url=RETURN_URL)
    assert intent.status == "requires_action"
    page_url = intent.next_action.redirect_to_url.url
    assert "Complete" in requests.get(page_url, timeout=10).text
    assert shop.control.charges("t1") == []

    done = requests.post(page_url, data={"outcome": "complete"}, timeout=10, allow_redirects=False)

    assert done.headers["Location"] == (
        f"{RETURN_URL}&payment_intent={intent.id}"
        f"&payment_intent_client_secret={intent.client_secret}&redirect_status=succeeded"
    )
    assert shop.client.v1.payment_intents.retrieve(intent.id).status == "succeeded"
    assert len(shop.control.charges("t1")) == 1


def test_a_failed_authentication_asks_for_another_method(shop: Shop) -> None:
    intent = shop.pay(1000, "inr", method="pm_card_authenticationRequired", transaction_id="t1")

    shop.control.authenticate(intent.id, is_success=False)

    now = shop.client.v1.payment_intents.retrieve(intent.id)
    assert now.status == "requires_payment_method"
    assert now.last_payment_error.code == "payment_intent_authentication_failure"
    assert shop.control.charges("t1") == []


def test_the_page_works_once(shop: Shop) -> None:
    intent = shop.pay(1000, "inr", method="pm_card_authenticationRequired", transaction_id="t1")
    url = intent.next_action.redirect_to_url.url
    shop.control.authenticate(intent.id)

    again = requests.post(url, data={"outcome": "complete"}, timeout=10)

    assert (again.status_code, "not requires_action" in again.text) == (400, True)
    assert len(shop.control.charges("t1")) == 1


def test_off_session_a_required_authentication_is_a_decline(shop: Shop) -> None:
    method = shop.attach("pm_card_authenticationRequired")

    with pytest.raises(stripe.CardError) as caught:
        shop.pay(1000, "inr", method=method, off_session=True)

    assert caught.value.code == "authentication_required"
    assert caught.value.error.payment_intent.status == "requires_payment_method"
    on_session = shop.client.v1.payment_intents.confirm(
        caught.value.error.payment_intent.id, {"payment_method": method}
    )
    assert on_session.status == "requires_action"


def test_a_card_that_was_set_up_is_charged_off_session(shop: Shop) -> None:
    method = shop.attach("pm_card_authenticationRequiredOnSetup")
    with pytest.raises(stripe.CardError):
        shop.pay(1000, "inr", method=method, off_session=True)
    first = shop.pay(1000, "inr", method=method, setup_future_usage="off_session")
    shop.control.authenticate(first.id)

    assert shop.pay(1000, "inr", method=method, off_session=True).status == "succeeded"


def test_a_browser_confirms_with_the_client_secret_alone(shop: Shop) -> None:
    intent = shop.client.v1.payment_intents.create(
        {
            "amount": 1000,
            "currency": "inr",
            "automatic_payment_methods": NO_REDIRECTS,
            "metadata": {"transaction_id": "t1"},
        }
    )

    done = shop.control.confirm_in_browser(intent.client_secret, payment_method="pm_card_visa")

    assert done["status"] == "succeeded"
    assert len(shop.control.charges("t1")) == 1


def test_a_publishable_key_can_do_no_more_than_the_secret_allows(shop: Shop) -> None:
    intent = shop.client.v1.payment_intents.create({"amount": 1000, "currency": "inr"})
    browser = shop.sandbox.client("pk_test_browser").v1

    secret = {"client_secret": intent.client_secret}
    assert browser.payment_intents.retrieve(intent.id, secret).id == intent.id
    with pytest.raises(stripe.InvalidRequestError):
        browser.payment_intents.retrieve(intent.id, {"client_secret": "guess"})
    with pytest.raises(stripe.InvalidRequestError):
        browser.payment_intents.retrieve(intent.id)
    with pytest.raises(stripe.PermissionError):
        browser.refunds.list()


@pytest.mark.parametrize(
    ("outcome", "status"), [("succeeded", "succeeded"), ("failed", "requires_payment_method")]
)
def test_a_slow_bank_settles_later(shop: Shop, outcome: str, status: str) -> None:
    intent = shop.pay(1000, "inr", method="pm_sandbox_processing")
    assert intent.status == "processing"

    shop.control.settle(intent.id, outcome=outcome)

    assert shop.client.v1.payment_intents.retrieve(intent.id).status == status


@pytest.mark.parametrize("key", ["", "sk_live_1", "nonsense"])
def test_a_wrong_key_is_refused(shop: Shop, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}

    answer = requests.get(f"{shop.sandbox.url}/v1/charges", headers=headers, timeout=10)

    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.headers["Request-Id"].startswith("req_")
