"""Bank accounts: a debit is in processing until the bank answers, days later."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.shop import Shop
from tests.sandbox.webhook_catcher import Catcher

FOUR_DAYS_S = 4 * 24 * 60 * 60


def test_a_debit_is_in_processing_until_it_succeeds(shop: Shop, catcher: Catcher) -> None:
    method = shop.attach("pm_usBankAccount_success")
    intent = shop.pay(1000, "usd", method=method, transaction_id="t1")
    assert (intent.status, shop.control.charges("t1")) == ("processing", [])
    [pending] = shop.control.charges("t1", status="pending")
    assert (pending["paid"], pending["amount_captured"]) == (False, 0)

    shop.control.settle(intent.id)

    [charge] = shop.control.charges("t1")
    assert (charge["id"], charge["amount_captured"]) == (pending["id"], 1000)
    assert charge["payment_method_details"]["us_bank_account"]["last4"] == "6789"
    catcher.wait_for(
        "payment_intent.processing",
        "charge.pending",
        "charge.succeeded",
        "payment_intent.succeeded",
    )
    assert shop.control.book()["totals"]["usd"]["charged"] == 1000


@pytest.mark.parametrize(
    ("account", "code"),
    [
        ("accountClosed", "account_closed"),
        ("noAccount", "no_account"),
        ("insufficientFunds", "insufficient_funds"),
        ("debitNotAuthorized", "debit_not_authorized"),
    ],
)
def test_the_bank_sends_a_debit_back(shop: Shop, catcher: Catcher, account: str, code: str) -> None:
    intent = shop.pay(1000, "usd", method=shop.attach(f"pm_usBankAccount_{account}"))

    shop.control.settle(intent.id, outcome=None)

    returned = shop.client.v1.payment_intents.retrieve(intent.id)
    assert returned.status == "requires_payment_method"
    assert returned.last_payment_error is not None
    assert returned.last_payment_error.code == code
    catcher.wait_for("charge.failed", "payment_intent.payment_failed")
    assert shop.control.charges() == []


def test_the_bank_answers_when_the_clock_is_advanced_by_four_days(shop: Shop) -> None:
    paid = shop.pay(1000, "usd", method=shop.attach("pm_usBankAccount_success"))
    closed = shop.pay(1000, "usd", method=shop.attach("pm_usBankAccount_accountClosed"))
    never = shop.pay(1000, "usd", method=shop.attach("pm_usBankAccount_processing"))

    shop.control.advance(FOUR_DAYS_S - 60)
    assert shop.client.v1.payment_intents.retrieve(paid.id).status == "processing"
    shop.control.advance(60)

    def status(intent: stripe.PaymentIntent) -> str:
        return shop.client.v1.payment_intents.retrieve(intent.id).status

    assert [status(paid), status(closed), status(never)] == [
        "succeeded",
        "requires_payment_method",
        "processing",
    ]
    assert shop.control.settle_debits() == []


def test_a_debit_can_be_disputed_after_it_succeeded(shop: Shop) -> None:
    intent = shop.pay(1000, "usd", method=shop.attach("pm_usBankAccount_dispute"))

    shop.control.settle(intent.id, outcome=None)

    [dispute] = shop.client.v1.disputes.list({"payment_intent": intent.id}).data
    assert (dispute.amount, dispute.status) == (1000, "needs_response")


def test_an_account_is_debited_in_its_own_currency_only(shop: Shop) -> None:
    method = shop.attach("pm_usBankAccount_success")

    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.pay(1000, "inr", method=method)

    assert caught.value.code == "payment_intent_incompatible_payment_method"


def test_an_account_is_made_from_a_test_number(shop: Shop) -> None:
    made = shop.client.v1.payment_methods.create(
        {
            "type": "us_bank_account",
            "us_bank_account": {
                "account_holder_type": "company",
                "account_number": "000111111113",
                "routing_number": "110000000",
            },
        }
    )

    assert made.us_bank_account is not None
    assert made.us_bank_account.last4 == "1113"
    with pytest.raises(stripe.InvalidRequestError, match="test account numbers"):
        shop.client.v1.payment_methods.create(
            {"type": "us_bank_account", "us_bank_account": {"account_number": "1"}}
        )


def test_a_card_is_renewed_by_the_network(shop: Shop, catcher: Catcher) -> None:
    method = shop.attach("pm_card_chargeCustomerFail")
    before = shop.client.v1.payment_methods.retrieve(method).card

    shop.control.renew(method, exp_year=2041, last4="1881", behaves_as="pm_card_visa")

    after = shop.client.v1.payment_methods.retrieve(method).card
    assert before is not None
    assert after is not None
    assert (after.exp_year, after.last4) == (2041, "1881")
    assert after.fingerprint != before.fingerprint
    catcher.wait_for("payment_method.automatically_updated")
    [event] = [e for e in catcher.events if e["type"] == "payment_method.automatically_updated"]
    assert event["data"]["previous_attributes"]["card"]["exp_year"] == before.exp_year
    assert shop.pay(1000, "usd", method=method).status == "succeeded"
