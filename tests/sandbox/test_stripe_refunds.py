"""Refunds never exceed what was captured; disputes take the money and may give it back."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.shop import Shop


def refunded_minor(shop: Shop) -> int:
    return sum(totals["refunded"] for totals in shop.control.book()["totals"].values())


def test_a_charge_is_refunded_in_parts_until_nothing_is_left(shop: Shop) -> None:
    intent = shop.pay(1000, "inr")

    shop.client.v1.refunds.create({"payment_intent": intent.id, "amount": 300})
    rest = shop.client.v1.refunds.create({"payment_intent": intent.id})

    assert (rest.amount, rest.status) == (700, "succeeded")
    assert refunded_minor(shop) == 1000
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.client.v1.refunds.create({"payment_intent": intent.id})
    assert caught.value.code == "charge_already_refunded"


def test_a_refund_larger_than_what_is_left_is_refused(shop: Shop) -> None:
    intent = shop.pay(1000, "inr")
    shop.client.v1.refunds.create({"payment_intent": intent.id, "amount": 300})

    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded") as caught:
        shop.client.v1.refunds.create({"payment_intent": intent.id, "amount": 701})

    assert caught.value.param == "amount"
    assert refunded_minor(shop) == 300


def test_a_failed_refund_gives_the_money_back(shop: Shop) -> None:
    intent = shop.pay(1000, "inr", method="pm_card_refundFail")

    refund = shop.client.v1.refunds.create({"payment_intent": intent.id})

    assert refund.status == "succeeded"
    now = shop.client.v1.refunds.retrieve(refund.id)
    assert (now.status, now.failure_reason) == ("failed", "expired_or_canceled_card")
    assert refunded_minor(shop) == 0


def test_a_refund_stays_pending_until_it_is_settled(shop: Shop) -> None:
    intent = shop.pay(1000, "inr")
    shop.control.fault("refund_pending")

    refund = shop.client.v1.refunds.create({"payment_intent": intent.id})

    assert refund.status == "pending"
    assert shop.control.move_refund(refund.id, "succeeded")["status"] == "succeeded"
    assert shop.client.v1.refunds.retrieve(refund.id).status == "succeeded"


def test_only_a_refund_that_waits_for_the_customer_is_canceled(shop: Shop) -> None:
    intent = shop.pay(1000, "inr")
    shop.control.fault("refund_requires_action")
    waiting = shop.client.v1.refunds.create({"payment_intent": intent.id, "amount": 400})
    shop.control.fault("refund_pending")
    under_way = shop.client.v1.refunds.create({"payment_intent": intent.id, "amount": 100})

    assert shop.client.v1.refunds.cancel(waiting.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError):
        shop.client.v1.refunds.cancel(under_way.id)
    assert refunded_minor(shop) == 100


def test_a_refund_in_the_dashboard_is_seen_over_the_api(shop: Shop) -> None:
    intent = shop.pay(1000, "inr")

    made = shop.control.refund(payment_intent=intent.id, amount=250)

    listed = shop.client.v1.refunds.list({"payment_intent": intent.id})
    assert [refund.id for refund in listed.data] == [made["id"]]


def test_a_dispute_takes_the_money_and_forbids_a_refund(shop: Shop) -> None:
    intent = shop.pay(1000, "usd", method="pm_card_createDispute")

    [dispute] = shop.client.v1.disputes.list({"payment_intent": intent.id}).data
    assert (dispute.status, dispute.reason, dispute.amount) == (
        "needs_response",
        "fraudulent",
        1000,
    )
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.client.v1.refunds.create({"payment_intent": intent.id})
    assert caught.value.code == "charge_disputed"


def test_a_won_dispute_returns_the_money(shop: Shop) -> None:
    intent = shop.pay(1000, "usd")
    dispute = shop.control.dispute(payment_intent=intent.id, reason="product_not_received")
    shop.client.v1.disputes.update(dispute["id"], {"evidence": {"customer_name": "A"}})

    shop.control.end_dispute(dispute["id"], "won")

    now = shop.client.v1.disputes.retrieve(dispute["id"])
    assert now.status == "won"
    assert sum(movement.amount for movement in now.balance_transactions) == 0
    assert shop.client.v1.refunds.create({"payment_intent": intent.id}).status == "succeeded"


def test_a_closed_dispute_is_lost(shop: Shop) -> None:
    intent = shop.pay(1000, "usd")
    dispute = shop.control.dispute(payment_intent=intent.id)

    assert shop.client.v1.disputes.close(dispute["id"]).status == "lost"


def test_an_inquiry_takes_the_money_only_once_it_is_a_dispute(shop: Shop) -> None:
    intent = shop.pay(1000, "usd")
    inquiry = shop.control.dispute(payment_intent=intent.id, reason="inquiry")
    assert inquiry["balance_transactions"] == []

    moved = shop.control.move_dispute(inquiry["id"], "needs_response")
    assert [movement["amount"] for movement in moved["balance_transactions"]] == [-1000]
    names = [event.type for event in shop.client.v1.events.list({"limit": 2}).data]
    assert set(names) == {"charge.dispute.updated", "charge.dispute.funds_withdrawn"}


def test_accepting_an_inquiry_takes_no_money(shop: Shop) -> None:
    intent = shop.pay(1000, "usd", method="pm_card_createDisputeInquiry")
    [inquiry] = shop.client.v1.disputes.list({"payment_intent": intent.id}).data

    closed = shop.client.v1.disputes.close(inquiry.id)
    assert (closed.status, closed.balance_transactions) == ("warning_closed", [])
    assert shop.client.v1.refunds.create({"payment_intent": intent.id}).status == "succeeded"


def test_a_charge_is_disputed_until_the_last_of_its_disputes_is_won(shop: Shop) -> None:
    intent = shop.pay(1000, "usd")
    several = [shop.control.dispute(payment_intent=intent.id, amount=300) for _ in range(2)]
    assert [one["amount"] for one in several] == [300, 300]

    for dispute, is_disputed in zip(several, (True, False), strict=True):
        shop.control.end_dispute(dispute["id"], "won")
        charge = shop.client.v1.charges.retrieve(str(intent.latest_charge))
        assert charge.disputed is is_disputed


def test_evidence_is_not_taken_past_its_due_date(shop: Shop) -> None:
    intent = shop.pay(1000, "usd")
    dispute = shop.control.dispute(payment_intent=intent.id)
    shop.control.advance(8 * 86_400)
    with pytest.raises(stripe.InvalidRequestError):
        shop.client.v1.disputes.update(dispute["id"], {"evidence": {"customer_name": "A"}})
