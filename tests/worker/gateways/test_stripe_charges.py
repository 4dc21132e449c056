from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from models.ids import new_id
from models.money import Money
from tests.worker.gateways.wire import Wire, answer, failure
from worker.gateways import UnknownProvider, gateway_for
from worker.gateways.base import (
    Advice,
    ChargeRequest,
    Declined,
    IntentStatus,
    OutcomeUnknown,
    RefundRequest,
    RefundState,
    Rejected,
)
from worker.gateways.stripe.client import StripeGateway

TRANSACTION = new_id()
REQUEST = ChargeRequest(
    key="attempt-1",
    money=Money(Decimal("12.34"), "EUR"),
    customer="cus_1",
    method="pm_1",
    off_session=True,
    metadata={"transaction_id": str(TRANSACTION), "company_id": "company"},
    description="Invoice 7",
)


def intent(**changes: Any) -> dict[str, Any]:
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 1234,
        "amount_received": 0,
        "currency": "eur",
        "status": "succeeded",
        "client_secret": "pi_1_secret_canary",
        "latest_charge": "ch_1",
        "last_payment_error": None,
        "metadata": {"transaction_id": str(TRANSACTION), "attempt_key": "attempt-1"},
        **changes,
    }


def page(*items: dict[str, Any], has_more: bool = False) -> dict[str, Any]:
    return {"object": "list", "url": "/v1/x", "data": list(items), "has_more": has_more}


def refund(**changes: Any) -> dict[str, Any]:
    return {
        "id": "re_1",
        "object": "refund",
        "amount": 500,
        "currency": "eur",
        "status": "succeeded",
        "metadata": {},
        **changes,
    }


def method(**changes: Any) -> dict[str, Any]:
    card = {"brand": "visa", "last4": "4242", "exp_month": 4, "exp_year": 2030, "fingerprint": "f"}
    return {
        "id": "pm_1",
        "object": "payment_method",
        "type": "card",
        "card": card,
        "customer": None,
        **changes,
    }


def test_a_charge_is_one_call_that_creates_and_confirms(wire: Wire, gateway: StripeGateway) -> None:
    wire.says(answer(intent(amount_received=1234)))

    charged = gateway.charge(REQUEST)

    assert charged.status is IntentStatus.SUCCEEDED
    assert charged.captured == charged.money == Money(Decimal("12.34"), "EUR")
    assert charged.charge_id == "ch_1"
    assert charged.provider_request_id == "req_wire"
    assert "canary" not in repr(charged)
    (seen,) = wire.seen
    assert (seen.method, seen.path) == ("POST", "/v1/payment_intents")
    assert seen.headers["idempotency-key"] == "attempt-1"
    assert seen.form == {
        "amount": "1234",
        "currency": "eur",
        "customer": "cus_1",
        "payment_method": "pm_1",
        "confirm": "true",
        "off_session": "true",
        "automatic_payment_methods[enabled]": "true",
        "automatic_payment_methods[allow_redirects]": "never",
        "description": "Invoice 7",
        "metadata[transaction_id]": str(TRANSACTION),
        "metadata[company_id]": "company",
        "metadata[attempt_key]": "attempt-1",
    }


def test_without_a_method_an_intent_is_created_for_the_browser(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(answer(intent(status="requires_payment_method")))
    request = ChargeRequest(
        key="k",
        money=Money(Decimal(500), "JPY"),
        customer="cus_1",
        method=None,
        off_session=False,
        metadata={},
    )

    created = gateway.charge(request)

    assert created.status is IntentStatus.REQUIRES_ACTION
    assert created.captured is None
    assert created.client_secret == "pi_1_secret_canary"
    assert wire.seen[0].form == {
        "amount": "500",
        "currency": "jpy",
        "customer": "cus_1",
        "automatic_payment_methods[enabled]": "true",
        "metadata[attempt_key]": "k",
    }


def test_the_same_charge_sends_the_same_bytes_again(wire: Wire, gateway: StripeGateway) -> None:
    wire.says(answer(intent()))

    gateway.charge(REQUEST)
    gateway.charge(REQUEST)

    first, second = wire.seen
    assert list(first.form.items()) == list(second.form.items())
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_stripe_learns_nothing_about_our_machine(wire: Wire, gateway: StripeGateway) -> None:
    wire.says(answer(intent()))

    gateway.charge(REQUEST)
    gateway.charge(REQUEST)  # stripe-python tells of a call with the next one

    for seen in wire.seen:
        assert "x-stripe-client-telemetry" not in seen.headers
        assert "platform" not in json.loads(seen.headers["x-stripe-client-user-agent"])


def test_an_off_session_card_that_wants_3d_secure_asks_the_customer_with_the_same_intent(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(
        failure(
            402,
            type="card_error",
            code="authentication_required",
            decline_code="authentication_required",
            message="This transaction requires authentication.",
            payment_intent=intent(status="requires_payment_method"),
        )
    )

    with pytest.raises(Declined) as declined:
        gateway.charge(REQUEST)

    assert declined.value.advice is Advice.ASK
    assert declined.value.provider_id == "pi_1"
    assert declined.value.provider_request_id == "req_wire"


def test_a_declined_intent_that_is_looked_up_tells_its_decline(
    wire: Wire, gateway: StripeGateway
) -> None:
    error = {
        "code": "card_declined",
        "decline_code": "insufficient_funds",
        "message": "Your card has insufficient funds.",
        "network_advice_code": "26",
        "network_decline_code": "51",
    }
    wire.says(answer(intent(status="requires_payment_method", last_payment_error=error)))

    found = gateway.retrieve("pi_1")

    assert found.status is IntentStatus.DECLINED
    assert found.decline is not None
    assert found.decline.advice is Advice.RETRY
    assert found.decline.wait_at_least_s == 2 * 86_400
    assert found.decline.network_decline_code == "51"
    assert found.decline.provider_id == "pi_1"


def test_a_status_that_nobody_knows_is_an_unknown_outcome(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(answer(intent(status="half_done")))

    with pytest.raises(OutcomeUnknown) as unknown:
        gateway.charge(REQUEST)

    assert unknown.value.code == "new_status"
    assert unknown.value.provider_request_id == "req_wire"


def test_a_transactions_intents_are_found_on_every_page(wire: Wire, gateway: StripeGateway) -> None:
    wire.says(
        answer(page(intent(id="pi_3"), intent(id="pi_other", metadata={}), has_more=True)),
        answer(page(intent(id="pi_2", metadata={"transaction_id": str(TRANSACTION)}))),
    )

    found = gateway.find(transaction_id=TRANSACTION, customer="cus_1", key="attempt-1")

    assert [each.provider_id for each in found] == ["pi_3", "pi_2"]
    assert [seen.query.get("starting_after") for seen in wire.seen] == [None, "pi_other"]
    assert {seen.query["customer"] for seen in wire.seen} == {"cus_1"}
    made_at_s = (TRANSACTION.int >> 80) // 1000
    assert int(wire.seen[0].query["created[gte]"]) == made_at_s - 86_400


def test_a_key_narrows_to_its_attempt_and_none_finds_all(
    wire: Wire, gateway: StripeGateway
) -> None:
    other = intent(
        id="pi_2", metadata={"transaction_id": str(TRANSACTION), "attempt_key": "attempt-2"}
    )
    wire.says(answer(page(other, intent())))

    one = gateway.find(transaction_id=TRANSACTION, customer="cus_1", key="attempt-1")
    both = gateway.find(transaction_id=TRANSACTION, customer="cus_1", key="")

    assert [each.provider_id for each in one] == ["pi_1"]
    assert [each.provider_id for each in both] == ["pi_2", "pi_1"]


def test_an_id_without_a_time_is_looked_for_in_all_of_time(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(answer(page()))

    assert gateway.find(transaction_id=UUID(int=5), customer="cus_1", key="") == []
    assert "created[gte]" not in wire.seen[0].query


def test_a_list_without_end_is_given_up_and_never_taken_for_not_found(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(answer(page(intent(metadata={}), has_more=True)))

    with pytest.raises(OutcomeUnknown, match="too_many"):
        gateway.find(transaction_id=TRANSACTION, customer="cus_1", key="")

    assert len(wire.seen) == 10


def test_cancelling_what_succeeded_meanwhile_returns_it(wire: Wire, gateway: StripeGateway) -> None:
    wire.says(
        failure(400, type="invalid_request_error", code="payment_intent_unexpected_state"),
        answer(intent(amount_received=1234)),
    )

    found = gateway.cancel(key="k:cancel", provider_id="pi_1")

    assert found.status is IntentStatus.SUCCEEDED
    assert [(seen.method, seen.path) for seen in wire.seen] == [
        ("POST", "/v1/payment_intents/pi_1/cancel"),
        ("GET", "/v1/payment_intents/pi_1"),
    ]
    assert wire.seen[0].headers["idempotency-key"] == "k:cancel"


def test_cancelling_what_does_not_exist_is_refused(wire: Wire, gateway: StripeGateway) -> None:
    wire.says(failure(404, type="invalid_request_error", code="resource_missing"))

    with pytest.raises(Rejected, match="resource_missing"):
        gateway.cancel(key="k", provider_id="pi_none")


@pytest.mark.parametrize(
    ("reason", "told"),
    [("requested_by_customer", "requested_by_customer"), ("broken on arrival", None)],
)
def test_a_refund_keeps_our_reason_and_tells_stripe_the_ones_it_knows(
    wire: Wire, gateway: StripeGateway, reason: str, told: str | None
) -> None:
    wire.says(answer(refund(status="pending")))
    request = RefundRequest(
        key="refund-1",
        provider_id="pi_1",
        money=Money(Decimal(5), "EUR"),
        reason=reason,
        metadata={"refund_id": "r"},
    )

    refunded = gateway.refund(request)

    assert refunded.state is RefundState.PENDING
    assert refunded.money == Money(Decimal("5.00"), "EUR")
    form = wire.seen[0].form
    assert form.get("reason") == told
    assert form["metadata[reason]"] == reason
    assert form["metadata[refund_id]"] == "r"
    assert (form["payment_intent"], form["amount"]) == ("pi_1", "500")
    assert wire.seen[0].headers["idempotency-key"] == "refund-1"


def test_refunds_are_looked_up_one_by_one_and_by_intent(wire: Wire, gateway: StripeGateway) -> None:
    wire.says(answer(refund(status="failed", failure_reason="lost_or_stolen_card")))
    failed = gateway.retrieve_refund("re_1")
    wire.says(answer(page(refund(id="re_2"), refund())))
    both = gateway.find_refunds(provider_id="pi_1")

    assert (failed.state, failed.failure_reason) == (RefundState.FAILED, "lost_or_stolen_card")
    assert [each.provider_id for each in both] == ["re_2", "re_1"]
    assert wire.seen[1].query["payment_intent"] == "pi_1"


def test_a_customer_carries_the_company(wire: Wire, gateway: StripeGateway) -> None:
    wire.says(answer({"id": "cus_9", "object": "customer"}))
    company = new_id()

    made = gateway.create_customer(key="c-1", company_id=company, name="Acme", email="a@b.example")

    assert made == "cus_9"
    assert wire.seen[0].form == {
        "name": "Acme",
        "email": "a@b.example",
        "metadata[company_id]": str(company),
        "metadata[attempt_key]": "c-1",
    }
    assert wire.seen[0].headers["idempotency-key"] == "c-1"


def test_a_token_becomes_a_kept_method_by_two_calls_with_two_keys(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(answer(method()), answer(method(customer="cus_1")))

    kept = gateway.attach_method(key="m-1", customer="cus_1", token="tok_visa", type="card")

    assert (kept.provider_id, kept.type, kept.last_four) == ("pm_1", "card", "4242")
    assert (kept.brand, kept.exp_month, kept.exp_year) == ("visa", 4, 2030)
    create, attach = wire.seen
    assert create.form["card[token]"] == "tok_visa"
    assert (attach.path, attach.form) == ("/v1/payment_methods/pm_1/attach", {"customer": "cus_1"})
    assert create.headers["idempotency-key"] == "m-1:create"
    assert attach.headers["idempotency-key"] == "m-1:attach"


def test_a_bank_account_is_kept_by_its_bank_and_last_four(
    wire: Wire, gateway: StripeGateway
) -> None:
    bank = {"last4": "6789", "bank_name": "Test Bank", "fingerprint": "f"}
    wire.says(answer(method(type="us_bank_account", us_bank_account=bank)))

    kept = gateway.attach_method(key="m", customer="cus_1", token="pm_b", type="bank_account")

    assert (kept.type, kept.last_four, kept.brand) == ("bank_account", "6789", "Test Bank")
    assert len(wire.seen) == 1


def test_a_card_token_is_never_taken_for_a_bank_account(gateway: StripeGateway) -> None:
    with pytest.raises(Rejected, match="token_of_wrong_type"):
        gateway.attach_method(key="m", customer="cus_1", token="tok_1", type="bank_account")


def test_attaching_what_is_attached_already_is_fine(wire: Wire, gateway: StripeGateway) -> None:
    wire.says(failure(400, type="invalid_request_error"), answer(method(customer="cus_1")))

    kept = gateway.attach_method(key="m", customer="cus_1", token="pm_1", type="card")

    assert kept.provider_id == "pm_1"


def test_another_customers_method_is_not_taken(wire: Wire, gateway: StripeGateway) -> None:
    wire.says(failure(400, type="invalid_request_error"), answer(method(customer="cus_2")))

    with pytest.raises(Rejected):
        gateway.attach_method(key="m", customer="cus_1", token="pm_1", type="card")


def test_a_card_that_is_declined_when_attached_is_declined(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(failure(402, type="card_error", code="card_declined", decline_code="do_not_honor"))

    with pytest.raises(Declined) as declined:
        gateway.attach_method(key="m", customer="cus_1", token="pm_1", type="card")

    assert declined.value.advice is Advice.RETRY_TWICE


def test_a_method_is_forgotten_and_one_that_is_gone_is_no_error(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(answer(method()))
    gateway.detach_method(key="d", method="pm_1")
    wire.says(failure(400, type="invalid_request_error"), answer(method(customer=None)))
    gateway.detach_method(key="d", method="pm_1")
    wire.says(failure(404, type="invalid_request_error", code="resource_missing"))
    gateway.detach_method(key="d", method="pm_1")

    assert wire.seen[0].path == "/v1/payment_methods/pm_1/detach"
    assert wire.seen[0].headers["idempotency-key"] == "d"


def test_a_method_that_could_not_be_forgotten_is_an_error(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(failure(400, type="invalid_request_error"), answer(method(customer="cus_1")))

    with pytest.raises(Rejected):
        gateway.detach_method(key="d", method="pm_1")


def test_one_gateway_a_provider_is_made_from_the_settings() -> None:
    assert gateway_for("stripe") is gateway_for("stripe")
    assert gateway_for("stripe").name == "stripe"
    with pytest.raises(UnknownProvider):
        gateway_for("cash")


def test_the_same_intent_is_confirmed_later_with_the_customer_there(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(answer(intent(status="requires_action")))

    confirmed = gateway.confirm(
        key="attempt-2",
        provider_id="pi_1",
        method="pm_2",
        off_session=False,
        return_url="https://shop.example/back",
    )

    assert confirmed.status is IntentStatus.REQUIRES_ACTION
    (seen,) = wire.seen
    assert seen.path == "/v1/payment_intents/pi_1/confirm"
    assert seen.headers["idempotency-key"] == "attempt-2"
    assert seen.form == {
        "off_session": "false",
        "payment_method": "pm_2",
        "return_url": "https://shop.example/back",
    }


def test_confirming_what_succeeded_meanwhile_returns_it(wire: Wire, gateway: StripeGateway) -> None:
    wire.says(
        failure(400, type="invalid_request_error", code="payment_intent_unexpected_state"),
        answer(intent(amount_received=1234)),
    )

    found = gateway.confirm(key="k", provider_id="pi_1", method=None, off_session=True)

    assert found.status is IntentStatus.SUCCEEDED
    assert wire.seen[0].form == {"off_session": "true"}


def test_confirming_with_a_method_that_is_gone_is_refused(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(failure(404, type="invalid_request_error", code="resource_missing"))

    with pytest.raises(Rejected):
        gateway.confirm(key="k", provider_id="pi_1", method="pm_x", off_session=True)
