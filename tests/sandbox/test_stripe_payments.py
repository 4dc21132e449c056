"""Charges, declines and refunds through stripe-python, judged by the book."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.shop import Shop


def test_a_card_is_charged_once_and_the_book_says_so(shop: Shop) -> None:
    intent = shop.pay(1000, "inr", transaction_id="t1", expand=["latest_charge"])

    assert intent.status == "succeeded"
    assert intent.amount_received == 1000
    [charge] = shop.control.charges("t1")
    assert charge["id"] == intent.latest_charge.id
    assert shop.control.book()["totals"] == {"inr": {"charges": 1, "charged": 1000, "refunded": 0}}


def test_the_fee_stands_in_the_balance_transaction(shop: Shop) -> None:
    intent = shop.pay(10_000, "usd", expand=["latest_charge.balance_transaction"])

    movement = intent.latest_charge.balance_transaction
    assert (movement.amount, movement.fee, movement.net) == (10_000, 320, 9_680)


@pytest.mark.parametrize(
    ("token", "code", "decline_code", "advice_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline", None),
        (
            "pm_card_visa_chargeDeclinedInsufficientFunds",
            "card_declined",
            "insufficient_funds",
            "try_again_later",
        ),
        ("pm_card_chargeDeclinedLostCard", "card_declined", "lost_card", "do_not_try_again"),
        ("pm_card_chargeDeclinedStolenCard", "card_declined", "stolen_card", "do_not_try_again"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card", "confirm_card_data"),
        (
            "pm_card_chargeDeclinedIncorrectCvc",
            "incorrect_cvc",
            "incorrect_cvc",
            "confirm_card_data",
        ),
        (
            "pm_card_chargeDeclinedProcessingError",
            "processing_error",
            "processing_error",
            "try_again_later",
        ),
        (
            "pm_card_chargeDeclinedVelocityLimitExceeded",
            "card_declined",
            "card_velocity_exceeded",
            "try_again_later",
        ),
        ("pm_card_chargeCustomerFail", "card_declined", "generic_decline", None),
        ("pm_sandbox_decline_do_not_honor", "card_declined", "do_not_honor", None),
        (
            "pm_sandbox_decline_restricted_card__do_not_try_again",
            "card_declined",
            "restricted_card",
            "do_not_try_again",
        ),
    ],
)
def test_a_decline_has_stripes_shape(
    shop: Shop, token: str, code: str, decline_code: str, advice_code: str | None
) -> None:
    with pytest.raises(stripe.CardError) as caught:
        shop.pay(1000, "inr", method=token, transaction_id="t1")

    error = caught.value.error
    assert (caught.value.http_status, error.type, error.code) == (402, "card_error", code)
    assert (error.decline_code, error.to_dict().get("advice_code")) == (decline_code, advice_code)
    assert error.payment_intent.status == "requires_payment_method"
    assert error.payment_intent.last_payment_error.decline_code == decline_code
    [charge] = shop.control.charges("t1", status="failed")
    assert charge["id"] == error.charge
    assert charge["outcome"]["reason"] == decline_code
    assert shop.control.charges("t1") == []


def test_a_decline_can_carry_the_networks_advice(shop: Shop) -> None:
    with pytest.raises(stripe.CardError) as caught:
        shop.pay(1000, "inr", method="pm_sandbox_decline_do_not_honor____03__05")

    error = caught.value.error.to_dict()
    assert (error["network_advice_code"], error["network_decline_code"]) == ("03", "05")
    assert error["advice_code"] is None


def test_a_declining_card_is_refused_when_it_is_attached(shop: Shop) -> None:
    with pytest.raises(stripe.CardError):
        shop.attach("pm_card_chargeDeclined")

    assert shop.client.v1.customers.payment_methods.list(shop.customer).data == []


def test_a_card_that_fails_later_can_be_attached(shop: Shop) -> None:
    method = shop.attach("pm_card_chargeCustomerFail")

    with pytest.raises(stripe.CardError):
        shop.pay(1000, "inr", method=method)


def test_a_declined_intent_can_be_paid_with_another_card(shop: Shop) -> None:
    with pytest.raises(stripe.CardError) as caught:
        shop.pay(1000, "inr", method="pm_card_chargeDeclined", transaction_id="t1")

    paid = shop.client.v1.payment_intents.confirm(
        caught.value.error.payment_intent.id, {"payment_method": "pm_card_visa"}
    )

    assert paid.status == "succeeded"
    assert len(shop.control.charges("t1")) == 1


def test_a_token_becomes_a_payment_method(shop: Shop) -> None:
    method = shop.client.v1.payment_methods.create(
        {"type": "card", "card": {"token": "tok_mastercard"}}
    )

    assert (method.card.brand, method.card.last4, method.customer) == ("mastercard", "4444", None)


def test_a_detached_method_can_not_be_used_again(shop: Shop) -> None:
    method = shop.attach("pm_card_visa")
    shop.client.v1.payment_methods.detach(method)

    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        shop.pay(1000, "inr", method=method)


def test_anothers_method_can_not_be_charged(shop: Shop) -> None:
    other = shop.client.v1.customers.create({"email": "other@example.test"})
    method = shop.client.v1.payment_methods.attach("pm_card_visa", {"customer": other.id})

    with pytest.raises(stripe.InvalidRequestError, match="another customer"):
        shop.pay(1000, "inr", method=method.id)


def test_a_canceled_intent_can_not_be_confirmed(shop: Shop) -> None:
    intents = shop.client.v1.payment_intents
    intent = intents.create({"amount": 1000, "currency": "inr"})
    canceled = intents.cancel(intent.id, {"cancellation_reason": "abandoned"})

    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        intents.confirm(
            intent.id, {"payment_method": "pm_card_visa", "return_url": "https://x.test"}
        )
    assert caught.value.code == "payment_intent_unexpected_state"


def test_a_manual_capture_takes_the_money_later(shop: Shop) -> None:
    intent = shop.pay(1000, "usd", capture_method="manual", transaction_id="t1")
    assert (intent.status, shop.control.charges("t1")[0]["captured"]) == (
        "requires_capture",
        False,
    )

    captured = shop.client.v1.payment_intents.capture(intent.id, {"amount_to_capture": 700})

    assert (captured.status, captured.amount_received) == ("succeeded", 700)
    assert shop.control.book()["totals"]["usd"]["charged"] == 700
