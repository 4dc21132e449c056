"""Every object in the book has the shape of stripe-python's resource class."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.resource_shapes import problems
from tests.sandbox.shop import Shop

RESOURCES = {
    "balance_transactions": stripe.BalanceTransaction,
    "charges": stripe.Charge,
    "customers": stripe.Customer,
    "disputes": stripe.Dispute,
    "events": stripe.Event,
    "payment_intents": stripe.PaymentIntent,
    "payment_methods": stripe.PaymentMethod,
    "refunds": stripe.Refund,
    "subscriptions": stripe.Subscription,
}


def live_through_everything(shop: Shop) -> None:
    """Leave at least one object of each kind, in most of its states, in the book."""
    shop.attach("pm_card_mastercard")
    shop.pay(1000, "inr", metadata={"transaction_id": "t1"})
    paid = shop.pay(2000, "usd", method="pm_card_createDispute")
    shop.control.dispute(payment_intent=shop.pay(900, "usd").id, reason="inquiry")
    [dispute] = shop.client.v1.disputes.list({"payment_intent": paid.id}).data
    shop.client.v1.disputes.update(dispute.id, {"evidence": {"customer_name": "A"}})
    shop.control.end_dispute(dispute.id, "won")
    for method in ("pm_card_refundFail", "pm_card_pendingRefund", "pm_card_visa"):
        intent = shop.pay(500, "eur", method=method)
        shop.client.v1.refunds.create({"payment_intent": intent.id, "reason": "duplicate"})
    shop.pay(500, "usd", capture_method="manual")
    shop.pay(500, "usd", method="pm_card_authenticationRequired")
    shop.pay(500, "usd", method="pm_sandbox_processing")
    for account in ("dispute", "accountClosed", "processing"):
        debit = shop.pay(500, "usd", method=f"pm_usBankAccount_{account}")
        if account != "processing":
            shop.control.settle(debit.id, outcome=None)
    shop.control.renew(shop.attach("pm_card_visa"), exp_year=2040)
    with pytest.raises(stripe.CardError):
        shop.pay(500, "usd", method="pm_card_chargeDeclinedLostCard")
    subscription = shop.client.v1.subscriptions.create(
        {"customer": shop.customer, "items": [{"price": "price_1"}], "trial_period_days": 14}
    )
    shop.client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    shop.control.move_subscription(subscription.id, "trial_will_end")
    shop.client.v1.subscriptions.cancel(subscription.id)
    shop.client.v1.payment_intents.cancel(
        shop.client.v1.payment_intents.create({"amount": 500, "currency": "usd"}).id
    )


def test_every_object_has_its_resources_shape(shop: Shop) -> None:
    live_through_everything(shop)

    book = shop.control.book()

    for name, resource in RESOURCES.items():
        assert book[name], f"no {name} were made"
        wrong = {p for entry in book[name] for p in problems(entry, resource, name)}
        assert wrong == set()


def test_what_events_carry_has_its_resources_shape(shop: Shop) -> None:
    live_through_everything(shop)

    for event in shop.control.book()["events"]:
        told = event["data"]["object"]
        assert problems(told, RESOURCES[told["object"] + "s"], event["type"]) == []


def test_the_check_of_shapes_finds_what_is_wrong() -> None:
    refund = {"id": 1, "object": "refund", "amount": 5, "created": 1, "curency": "inr"}

    assert sorted(problems(refund, stripe.Refund)) == [
        ".curency: is unknown",
        ".currency: is missing",
        ".id: 1 is no str",
    ]
