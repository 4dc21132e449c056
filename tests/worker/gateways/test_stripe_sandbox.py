"""The gateway against the stand-in for Stripe, judged by the stand-in's own book."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from models.ids import new_id
from models.money import Money
from tests.sandbox_fixture import SandboxProcess
from worker.gateways.base import (
    Advice,
    ChargeRequest,
    Declined,
    GatewayError,
    IntentStatus,
    MethodAnswer,
    OutcomeUnknown,
    RefundRequest,
    RefundState,
    Rejected,
    Unavailable,
)
from worker.gateways.stripe.client import StripeGateway

TEN_EUROS = Money(Decimal("10.00"), "EUR")


@pytest.fixture
def stripe(sandbox: SandboxProcess) -> Iterator[StripeGateway]:
    gateway = StripeGateway(api_key="sk_test_sandbox", api_base=sandbox.url, timeout_s=10)
    yield gateway
    gateway.close()


@pytest.fixture
def impatient(sandbox: SandboxProcess) -> Iterator[StripeGateway]:
    gateway = StripeGateway(api_key="sk_test_sandbox", api_base=sandbox.url, timeout_s=0.4)
    yield gateway
    gateway.close()


@pytest.fixture
def customer(stripe: StripeGateway) -> str:
    return stripe.create_customer(
        key=str(new_id()), company_id=new_id(), name="Acme", email="pay@acme.example"
    )


@pytest.fixture
def order(stripe: StripeGateway, customer: str) -> ChargeRequest:
    """A charge of a card that is kept, not yet sent."""
    return charge_of(customer, keep(stripe, customer).provider_id)


def keep(stripe: StripeGateway, customer: str, token: str = "pm_card_visa") -> MethodAnswer:
    return stripe.attach_method(key=str(new_id()), customer=customer, token=token, type="card")


def charge_of(
    customer: str, method: str | None, *, money: Money = TEN_EUROS, off_session: bool = True
) -> ChargeRequest:
    return ChargeRequest(
        key=str(new_id()),
        money=money,
        customer=customer,
        method=method,
        off_session=off_session,
        metadata={"transaction_id": str(new_id()), "company_id": str(new_id())},
    )


def transaction_of(request: ChargeRequest) -> UUID:
    return UUID(request.metadata["transaction_id"])


@pytest.mark.parametrize("token", ["pm_card_visa", "tok_visa", "pm_card_mastercard"])
def test_a_card_is_kept_and_charged(
    sandbox: SandboxProcess, stripe: StripeGateway, customer: str, token: str
) -> None:
    method = keep(stripe, customer, token)
    request = charge_of(customer, method.provider_id)

    charged = stripe.charge(request)

    assert len(method.last_four or "") == 4
    assert charged.status is IntentStatus.SUCCEEDED
    assert charged.captured == TEN_EUROS
    (booked,) = sandbox.control.charges(str(transaction_of(request)))
    assert (booked["id"], booked["amount"]) == (charged.charge_id, 1000)
    assert stripe.retrieve(charged.provider_id).status is IntentStatus.SUCCEEDED


def test_a_method_is_attached_once_however_often_it_is_asked(
    stripe: StripeGateway, customer: str
) -> None:
    first = stripe.attach_method(key="m", customer=customer, token="tok_visa", type="card")
    again = stripe.attach_method(key="m", customer=customer, token="tok_visa", type="card")
    known = stripe.attach_method(
        key="other", customer=customer, token=first.provider_id, type="card"
    )

    assert first.provider_id == again.provider_id == known.provider_id


def test_another_customers_method_is_refused(stripe: StripeGateway, customer: str) -> None:
    method = keep(stripe, customer)
    other = stripe.create_customer(key="c2", company_id=new_id(), name="B", email="b@b.example")

    with pytest.raises(Rejected):
        keep(stripe, other, method.provider_id)


def test_a_method_that_does_not_exist_is_refused(stripe: StripeGateway, customer: str) -> None:
    with pytest.raises(Rejected) as refused:
        keep(stripe, customer, "pm_that_never_was")

    assert refused.value.code == "resource_missing"


def test_a_method_is_forgotten_once_and_for_all(stripe: StripeGateway, customer: str) -> None:
    method = keep(stripe, customer)
    looked_up = stripe.retrieve_method(method.provider_id)
    assert looked_up is not None
    assert (looked_up.provider_id, looked_up.last_four) == (method.provider_id, method.last_four)

    stripe.detach_method(key="d1", method=method.provider_id)
    stripe.detach_method(key="d2", method=method.provider_id)

    assert stripe.retrieve_method(method.provider_id) is None
    assert stripe.retrieve_method("pm_that_never_was") is None
    with pytest.raises(GatewayError):
        stripe.charge(charge_of(customer, method.provider_id))


@pytest.mark.parametrize(
    ("card", "advice"),
    [
        ("pm_sandbox_decline_generic_decline", Advice.RETRY_TWICE),
        ("pm_sandbox_decline_insufficient_funds", Advice.RETRY),
        ("pm_sandbox_decline_lost_card", Advice.STOP),
        ("pm_sandbox_decline_expired_card", Advice.ASK),
        ("pm_sandbox_decline_incorrect_cvc", Advice.ASK),
        ("pm_sandbox_decline_processing_error", Advice.RETRY),
        ("pm_sandbox_decline_approve_with_id", Advice.RETRY_ONCE),
        ("pm_sandbox_decline_duplicate_transaction", Advice.LOOK_UP),
        ("pm_sandbox_decline_do_not_honor__do_not_try_again", Advice.STOP),
        ("pm_sandbox_decline_stolen_card__try_again_later", Advice.RETRY),
        ("pm_sandbox_decline_no_such_code", Advice.STOP_AND_REVIEW),
        ("pm_card_chargeCustomerFail", Advice.RETRY_TWICE),
        ("pm_card_authenticationRequired", Advice.ASK),
    ],
)
def test_a_decline_says_what_to_do_now_and_when_looked_up(
    sandbox: SandboxProcess, stripe: StripeGateway, customer: str, card: str, advice: Advice
) -> None:
    request = charge_of(customer, keep(stripe, customer, card).provider_id)

    with pytest.raises(Declined) as declined:
        stripe.charge(request)

    assert declined.value.advice is advice
    looked_up = stripe.retrieve(declined.value.provider_id)
    assert looked_up.status is IntentStatus.DECLINED
    assert looked_up.decline is not None
    assert looked_up.decline.advice is advice
    assert sandbox.control.charges(str(transaction_of(request))) == []


def test_an_off_session_card_that_wants_3d_secure_is_confirmed_later_on_session(
    sandbox: SandboxProcess, stripe: StripeGateway, customer: str
) -> None:
    method = keep(stripe, customer, "pm_card_authenticationRequired").provider_id
    request = charge_of(customer, method)
    with pytest.raises(Declined) as declined:
        stripe.charge(request)
    intent_id = declined.value.provider_id

    waiting = stripe.confirm(key="later", provider_id=intent_id, method=method, off_session=False)
    sandbox.control.authenticate(intent_id)

    assert waiting.status is IntentStatus.REQUIRES_ACTION
    assert stripe.retrieve(intent_id).status is IntentStatus.SUCCEEDED
    assert len(sandbox.control.charges(str(transaction_of(request)))) == 1


def test_a_customer_who_fails_3d_secure_is_asked_again(
    sandbox: SandboxProcess, stripe: StripeGateway, customer: str
) -> None:
    method = keep(stripe, customer, "pm_card_threeDSecure2Required").provider_id
    asked = stripe.charge(charge_of(customer, method, off_session=False))
    sandbox.control.authenticate(asked.provider_id, is_success=False)

    failed = stripe.retrieve(asked.provider_id)

    assert asked.status is IntentStatus.REQUIRES_ACTION
    assert failed.decline is not None
    assert failed.decline.advice is Advice.ASK


def test_an_intent_without_a_method_waits_for_the_browser(
    sandbox: SandboxProcess, stripe: StripeGateway, customer: str
) -> None:
    waiting = stripe.charge(charge_of(customer, None, off_session=False))
    assert waiting.status is IntentStatus.REQUIRES_ACTION
    assert waiting.client_secret

    sandbox.control.confirm_in_browser(waiting.client_secret, payment_method="pm_card_visa")

    assert stripe.retrieve(waiting.provider_id).status is IntentStatus.SUCCEEDED


def test_a_charge_that_is_still_on_its_way_is_processing(
    sandbox: SandboxProcess, stripe: StripeGateway, customer: str
) -> None:
    method = keep(stripe, customer, "pm_sandbox_processing").provider_id

    charged = stripe.charge(charge_of(customer, method))
    sandbox.control.settle(charged.provider_id)

    assert charged.status is IntentStatus.PROCESSING
    assert stripe.retrieve(charged.provider_id).status is IntentStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [("500", "JPY", 500), ("500", "ISK", 50000), ("1.50", "KWD", 1500), ("499.99", "INR", 49999)],
)
def test_money_arrives_as_it_was_meant(
    sandbox: SandboxProcess,
    stripe: StripeGateway,
    customer: str,
    amount: str,
    currency: str,
    minor: int,
) -> None:
    money = Money(Decimal(amount), currency)
    request = charge_of(customer, keep(stripe, customer).provider_id, money=money)

    charged = stripe.charge(request)

    assert charged.captured == money
    (booked,) = sandbox.control.charges(str(transaction_of(request)))
    assert booked["amount"] == minor


@pytest.mark.parametrize("fault", ["timeout_after", "drop_after"])
def test_an_answer_that_is_lost_is_found_and_never_charged_again(
    sandbox: SandboxProcess,
    stripe: StripeGateway,
    impatient: StripeGateway,
    customer: str,
    order: ChargeRequest,
    fault: str,
) -> None:
    sandbox.control.fault(fault, path="/v1/payment_intents", delay_ms=1500)

    with pytest.raises(OutcomeUnknown):
        impatient.charge(order)

    found = stripe.find(transaction_id=transaction_of(order), customer=customer, key=order.key)
    assert [each.status for each in found] == [IntentStatus.SUCCEEDED]
    assert stripe.charge(order).provider_id == found[0].provider_id
    assert len(sandbox.control.charges(str(transaction_of(order)))) == 1


@pytest.mark.parametrize("fault", ["timeout_before", "drop_before"])
def test_a_request_that_was_lost_is_unknown_too_and_may_go_again_with_its_key(
    sandbox: SandboxProcess,
    stripe: StripeGateway,
    impatient: StripeGateway,
    customer: str,
    order: ChargeRequest,
    fault: str,
) -> None:
    sandbox.control.fault(fault, path="/v1/payment_intents", delay_ms=600)

    with pytest.raises(OutcomeUnknown):
        impatient.charge(order)

    transaction_id = transaction_of(order)
    assert stripe.find(transaction_id=transaction_id, customer=customer, key=order.key) == []
    assert stripe.charge(order).status is IntentStatus.SUCCEEDED
    assert len(sandbox.control.charges(str(transaction_id))) == 1


def test_a_500_is_answered_again_with_the_same_key_and_only_a_look_up_tells(
    sandbox: SandboxProcess, stripe: StripeGateway, customer: str, order: ChargeRequest
) -> None:
    sandbox.control.fault("server_error", path="/v1/payment_intents", executed=True)

    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            stripe.charge(order)

    (found,) = stripe.find(transaction_id=transaction_of(order), customer=customer, key=order.key)
    assert found.status is IntentStatus.SUCCEEDED


@pytest.mark.parametrize("fault", ["rate_limit", "lock_timeout"])
def test_a_busy_stripe_charges_once_in_the_end(
    sandbox: SandboxProcess, stripe: StripeGateway, order: ChargeRequest, fault: str
) -> None:
    sandbox.control.fault(fault, path="/v1/payment_intents", count=None)
    with pytest.raises(Unavailable):
        stripe.charge(order)

    sandbox.control.clear_faults()

    assert stripe.charge(order).status is IntentStatus.SUCCEEDED
    assert len(sandbox.control.charges(str(transaction_of(order)))) == 1


def test_one_key_at_the_same_time_charges_once(
    sandbox: SandboxProcess, stripe: StripeGateway, order: ChargeRequest
) -> None:
    sandbox.control.fault("slow", path="/v1/payment_intents", count=None, delay_ms=100)

    def charge(_: int) -> str:
        try:
            return stripe.charge(order).provider_id
        except OutcomeUnknown as unknown:
            return unknown.code

    with ThreadPoolExecutor(8) as threads:
        told = set(threads.map(charge, range(8)))

    assert len(told - {"idempotency_key_in_use"}) == 1
    assert len(sandbox.control.charges(str(transaction_of(order)))) == 1


def test_the_same_key_for_another_amount_is_our_bug(
    sandbox: SandboxProcess, stripe: StripeGateway, order: ChargeRequest
) -> None:
    stripe.charge(order)

    with pytest.raises(Rejected, match="idempotency_error"):
        stripe.charge(replace(order, money=Money(Decimal(11), "EUR")))


def test_a_wrong_api_key_is_our_bug(sandbox: SandboxProcess) -> None:
    stranger = StripeGateway(api_key="nonsense", api_base=sandbox.url, timeout_s=10)

    with pytest.raises(Rejected) as refused:
        stranger.retrieve("pi_1")

    assert refused.value.http_status == 401
    stranger.close()


def test_each_attempt_of_a_transaction_is_found_by_its_key_and_all_without(
    stripe: StripeGateway, customer: str
) -> None:
    declined = charge_of(customer, keep(stripe, customer, "pm_card_chargeCustomerFail").provider_id)
    with suppress(Declined):
        stripe.charge(declined)
    paid = replace(declined, key="second", method=keep(stripe, customer).provider_id)
    intent = stripe.charge(paid)
    stripe.charge(charge_of(customer, paid.method))
    transaction_id = transaction_of(paid)

    one = stripe.find(transaction_id=transaction_id, customer=customer, key="second")
    both = stripe.find(transaction_id=transaction_id, customer=customer, key="")

    assert [each.provider_id for each in one] == [intent.provider_id]
    assert [each.status for each in both] == [IntentStatus.SUCCEEDED, IntentStatus.DECLINED]


def test_what_waits_is_cancelled_and_what_is_paid_stays_paid(
    stripe: StripeGateway, customer: str
) -> None:
    waiting = stripe.charge(charge_of(customer, None, off_session=False))
    paid = stripe.charge(charge_of(customer, keep(stripe, customer).provider_id))

    cancelled = stripe.cancel(key="x1", provider_id=waiting.provider_id)
    twice = stripe.cancel(key="x2", provider_id=waiting.provider_id)
    kept = stripe.cancel(key="x3", provider_id=paid.provider_id)

    assert cancelled.status is twice.status is IntentStatus.CANCELED
    assert kept.status is IntentStatus.SUCCEEDED


def test_money_is_given_back_in_parts_and_never_more_than_was_taken(
    sandbox: SandboxProcess, stripe: StripeGateway, customer: str
) -> None:
    paid = stripe.charge(charge_of(customer, keep(stripe, customer).provider_id))
    part = RefundRequest(
        key="r1",
        provider_id=paid.provider_id,
        money=Money(Decimal(4), "EUR"),
        reason="requested_by_customer",
        metadata={"refund_id": "one"},
    )

    first = stripe.refund(part)
    again = stripe.refund(part)
    with pytest.raises(Rejected):
        stripe.refund(replace(part, key="r2", money=Money(Decimal("6.01"), "EUR")))
    rest = stripe.refund(replace(part, key="r3", money=Money(Decimal(6), "EUR"), reason="other"))

    assert first.state is RefundState.SUCCEEDED
    assert first.provider_id == again.provider_id
    assert stripe.retrieve_refund(first.provider_id).metadata["refund_id"] == "one"
    found = stripe.find_refunds(provider_id=paid.provider_id)
    assert [each.provider_id for each in found] == [rest.provider_id, first.provider_id]
    assert sandbox.control.charges()[0]["amount_refunded"] == 1000


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ("refund_pending", RefundState.PENDING),
        ("refund_failed", RefundState.FAILED),
        ("refund_requires_action", RefundState.REQUIRES_ACTION),
    ],
)
def test_a_refund_that_is_not_through_says_so(
    sandbox: SandboxProcess, stripe: StripeGateway, customer: str, fault: str, state: RefundState
) -> None:
    paid = stripe.charge(charge_of(customer, keep(stripe, customer).provider_id))
    sandbox.control.fault(fault)

    refunded = stripe.refund(
        RefundRequest(
            key="r", provider_id=paid.provider_id, money=TEN_EUROS, reason="", metadata={}
        )
    )

    found = stripe.retrieve_refund(refunded.provider_id)
    assert found.state is state
    assert bool(found.failure_reason) == (state is RefundState.FAILED)


def test_every_object_that_we_make_carries_our_ids(
    sandbox: SandboxProcess, stripe: StripeGateway, customer: str
) -> None:
    request = charge_of(customer, keep(stripe, customer, "tok_visa").provider_id)
    intent = stripe.charge(request)

    assert intent.metadata == {**request.metadata, "attempt_key": request.key}
    client = sandbox.client().v1
    kept = client.customers.retrieve(customer).to_dict()["metadata"]
    assert set(kept) == {"company_id", "attempt_key"}
    assert "attempt_key" in client.payment_methods.retrieve(request.method or "").metadata.to_dict()
