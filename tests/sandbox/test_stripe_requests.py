"""Requests are refused as Stripe refuses them; lists page as Stripe's do."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests
import stripe

from tests.sandbox.shop import NO_REDIRECTS, Shop
from tests.sandbox_fixture import API_KEY, SandboxProcess


@pytest.mark.parametrize(
    ("params", "param", "code"),
    [
        ({"amount": 1000, "currency": "inr", "bogus": 1}, "bogus", "parameter_unknown"),
        ({"currency": "inr"}, "amount", "parameter_missing"),
        ({"amount": "ten", "currency": "inr"}, "amount", "parameter_invalid_integer"),
        ({"amount": 10.5, "currency": "inr"}, "amount", "parameter_invalid_integer"),
        ({"amount": -5, "currency": "inr"}, "amount", "parameter_invalid_integer"),
        ({"amount": 10, "currency": "inr"}, "amount", "amount_too_small"),
        ({"amount": 10**9, "currency": "inr"}, "amount", "amount_too_large"),
        ({"amount": 1000, "currency": "xyz"}, "currency", None),
        ({"amount": 1000, "currency": ""}, "currency", "parameter_invalid_empty"),
        ({"amount": 1000, "currency": "inr", "confirm": "yes"}, "confirm", None),
        ({"amount": 1000, "currency": "inr", "capture_method": "no"}, "capture_method", None),
        ({"amount": 1000, "currency": "inr", "off_session": True}, "off_session", None),
        (
            {"amount": 1000, "currency": "inr", "customer": "cus_none"},
            "customer",
            "resource_missing",
        ),
        (
            {"amount": 1000, "currency": "inr", "payment_method": "pm_none"},
            "payment_method",
            "resource_missing",
        ),
        (
            {"amount": 1000, "currency": "inr", "shipping": {"address": {}, "nom": "A"}},
            "shipping[nom]",
            "parameter_unknown",
        ),
        (
            {"amount": 1000, "currency": "inr", "confirmation_token": "ctoken_1"},
            "confirmation_token",
            None,
        ),
    ],
)
def test_a_wrong_intent_is_refused(
    shop: Shop, params: dict[str, Any], param: str, code: str | None
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.client.v1.payment_intents.create(params)

    assert (caught.value.http_status, caught.value.param, caught.value.code) == (400, param, code)
    assert shop.control.book()["payment_intents"] == []


@pytest.mark.parametrize(
    ("currency", "right", "wrong"),
    [("jpy", 1234, 49), ("isk", 12_300, 12_345), ("ugx", 12_300, 12_301), ("kwd", 1230, 1234)],
)
def test_odd_currencies_have_their_own_units(
    shop: Shop, currency: str, right: int, wrong: int
) -> None:
    assert shop.pay(right, currency).amount == right
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.pay(wrong, currency)
    assert caught.value.param == "amount"


def test_a_redirect_needs_a_way_back(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="you must provide a `return_url`"):
        shop.pay(1000, "inr", automatic_payment_methods={"enabled": True})

    assert shop.pay(1000, "inr", automatic_payment_methods=NO_REDIRECTS).status == "succeeded"


def test_what_is_not_there_is_404(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.client.v1.payment_intents.retrieve("pi_none")
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")

    unknown = requests.get(
        f"{shop.sandbox.url}/v1/unicorns",
        headers={"Authorization": f"Bearer {API_KEY}"},
        timeout=10,
    )
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "invalid_request_error")


def test_pages_follow_one_another_without_gap_or_overlap(shop: Shop) -> None:
    made = [shop.pay(1000 + n, "inr").id for n in range(7)]
    intents = shop.client.v1.payment_intents

    first = intents.list({"limit": 3, "customer": shop.customer})
    found = [intent.id for intent in first.auto_paging_iter()]

    assert (len(first.data), first.has_more) == (3, True)
    assert found == made[::-1]
    back = intents.list({"limit": 2, "ending_before": made[2], "customer": shop.customer})
    assert [intent.id for intent in back.data] == [made[4], made[3]]


def test_lists_are_cut_by_the_time_of_creation(shop: Shop) -> None:
    old = shop.pay(1000, "inr").latest_charge
    shop.control.advance(3600)
    new = shop.pay(1000, "inr").latest_charge
    charges = shop.client.v1.charges
    between = int(time.time()) + 1800

    assert [c.id for c in charges.list({"created": {"gte": between}}).data] == [new]
    assert [c.id for c in charges.list({"created": {"lt": between}}).data] == [old]
    assert [c.id for c in charges.list({"created": {"gt": 0}}).data] == [new, old]


def test_lists_belong_to_one_customer_or_intent(shop: Shop) -> None:
    intent = shop.pay(1000, "inr")
    other = shop.client.v1.customers.create({"email": "other@example.test"}).id
    shop.pay(1000, "inr", customer=other)

    assert len(shop.client.v1.payment_intents.list({"customer": other}).data) == 1
    listed = shop.client.v1.charges.list({"payment_intent": intent.id})
    assert [charge.id for charge in listed.data] == [intent.latest_charge]
    found = shop.client.v1.customers.list({"email": "other@example.test"})
    assert [customer.id for customer in found.data] == [other]


def test_events_are_listed_by_type(shop: Shop) -> None:
    shop.pay(1000, "inr")
    events = shop.client.v1.events

    assert [e.type for e in events.list({"type": "charge.*"}).data] == ["charge.succeeded"]
    two = events.list({"types": ["charge.succeeded", "payment_intent.succeeded"]})
    assert {e.type for e in two.data} == {"charge.succeeded", "payment_intent.succeeded"}


def test_lists_are_expanded(shop: Shop) -> None:
    shop.pay(1000, "inr")

    listed = shop.client.v1.payment_intents.list(
        {"expand": ["data.latest_charge.balance_transaction", "data.customer"]}
    )

    assert listed.data[0].latest_charge.balance_transaction.amount == 1000
    assert listed.data[0].customer.email == "payer@example.test"
    for wrong in ("data.currency", "data", "data.customer.balance"):
        with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
            shop.client.v1.payment_intents.list({"expand": [wrong]})


def test_what_is_null_stays_null_when_expanded(shop: Shop) -> None:
    intent = shop.client.v1.payment_intents.create(
        {"amount": 1000, "currency": "inr", "expand": ["latest_charge", "payment_method"]}
    )

    assert (intent.latest_charge, intent.payment_method) == (None, None)


def test_what_moved_the_balance_is_expanded(shop: Shop) -> None:
    intent = shop.pay(1000, "inr")
    refund = shop.client.v1.refunds.create({"payment_intent": intent.id, "amount": 10})

    movements = shop.client.v1.balance_transactions.list({"expand": ["data.source"]})
    charge = shop.client.v1.charges.retrieve(intent.latest_charge, {"expand": ["refunds"]})

    assert [movement.source.id for movement in movements.data] == [refund.id, charge.id]
    assert [listed.id for listed in charge.refunds.auto_paging_iter()] == [refund.id]


def test_metadata_is_merged_and_unset(shop: Shop) -> None:
    customers = shop.client.v1.customers
    customers.update(shop.customer, {"metadata": {"a": "1", "b": "2"}})

    changed = customers.update(shop.customer, {"metadata": {"a": "", "c": "3"}, "name": "New"})

    assert (changed.metadata.to_dict(), changed.name) == ({"b": "2", "c": "3"}, "New")


def test_a_deleted_customer_can_not_be_charged(shop: Shop) -> None:
    assert shop.client.v1.customers.delete(shop.customer).deleted is True

    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.pay(1000, "inr")
    assert caught.value.code == "resource_missing"


def test_it_listens_on_the_loopback_interface_only(sandbox: SandboxProcess) -> None:
    with open(f"/proc/{sandbox.pid}/net/tcp") as table:  # noqa: PTH123
        rows = [line.split() for line in table][1:]
    listening = [row[1] for row in rows if row[3] == "0A"]

    assert f"0100007F:{sandbox.port:04X}" in listening
    assert f"00000000:{sandbox.port:04X}" not in listening
