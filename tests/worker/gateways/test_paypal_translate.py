from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from models.ids import new_id
from models.money import Money
from worker.gateways.base import (
    Advice,
    ChargeRequest,
    Declined,
    IntentStatus,
    OutcomeUnknown,
    RefundState,
    Rejected,
    Unavailable,
)
from worker.gateways.paypal import codes, translate
from worker.gateways.paypal.failures import PayPalError, as_decline, failure_of

IDS = {name: str(new_id()) for name in ("transaction_id", "company_id", "attempt_id")}
REQUEST = ChargeRequest(
    key="attempt-1",
    money=Money(Decimal("12.30"), "EUR"),
    customer="customer-1",
    method=None,
    off_session=False,
    metadata=IDS,
)
BACK = {"return_url": "https://shop.example/paid?lang=de", "cancel_url": ""}


def capture(status: str = "COMPLETED", **changes: Any) -> dict[str, Any]:
    amount = {"currency_code": "EUR", "value": "12.30"}
    return {"id": "CAPTURE1", "status": status, "amount": amount, **changes}


def order(status: str = "COMPLETED", *captures: dict[str, Any], **changes: Any) -> dict[str, Any]:
    unit: dict[str, Any] = {
        "amount": {"currency_code": "EUR", "value": "12.30"},
        "custom_id": translate.custom_id_of(IDS, translate.PAYMENT_IDS),
    }
    if captures:
        unit["payments"] = {"captures": list(captures)}
    return {"id": "ORDER1", "status": status, "purchase_units": [unit], **changes}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (order("CREATED"), IntentStatus.REQUIRES_ACTION),
        (order("PAYER_ACTION_REQUIRED"), IntentStatus.REQUIRES_ACTION),
        (order("APPROVED"), IntentStatus.REQUIRES_ACTION),
        (order("VOIDED"), IntentStatus.CANCELED),
        (order("COMPLETED", capture()), IntentStatus.SUCCEEDED),
        (order("COMPLETED", capture("PARTIALLY_REFUNDED")), IntentStatus.SUCCEEDED),
        (order("COMPLETED", capture("REFUNDED")), IntentStatus.SUCCEEDED),
        (order("COMPLETED", capture("PENDING")), IntentStatus.PROCESSING),
        (order("COMPLETED", capture("DECLINED")), IntentStatus.DECLINED),
        (order("APPROVED", capture("FAILED")), IntentStatus.DECLINED),
        (order("APPROVED", capture("DECLINED"), capture(id="TWO")), IntentStatus.SUCCEEDED),
    ],
)
def test_a_capture_tells_where_the_money_is_and_without_one_the_order(
    body: dict[str, Any], status: IntentStatus
) -> None:
    intent = translate.intent_of(body)
    assert intent.status is status
    assert intent.metadata == IDS
    assert (intent.captured is not None) == (status is IntentStatus.SUCCEEDED)
    assert intent.is_approved == (body["status"] == "APPROVED" and not intent.charge_id)


@pytest.mark.parametrize("body", [order("NEW"), order("COMPLETED", capture("NEW"))])
def test_nobody_guesses_at_a_new_status(body: dict[str, Any]) -> None:
    with pytest.raises(OutcomeUnknown):
        translate.intent_of(body)


@pytest.mark.parametrize("relation", ["payer-action", "approve"])
def test_the_payer_is_sent_to_the_link_that_paypal_gives(relation: str) -> None:
    links = [{"rel": "self", "href": "no"}, {"rel": relation, "href": "https://paypal.example/x"}]
    intent = translate.intent_of(order("CREATED", links=links))
    assert intent.approve_url == "https://paypal.example/x"
    assert "paypal.example" not in repr(intent)


def test_our_ids_fit_what_paypal_keeps_and_come_back() -> None:
    text = translate.custom_id_of(IDS, translate.PAYMENT_IDS)
    assert len(text) <= 127
    assert translate.metadata_of(text) == IDS
    for foreign in (None, "", "an order of theirs", "a.b.c.d", f"refund.{IDS['company_id']}"):
        assert translate.metadata_of(foreign) == {}


def test_a_vaulted_method_pays_without_a_page_and_others_come_back_with_our_id() -> None:
    paid = translate.order_params(replace(REQUEST, method="TOKEN"), **BACK)
    assert paid["payment_source"] == {"paypal": {"vault_id": "TOKEN"}}
    assert paid["purchase_units"][0]["invoice_id"] == IDS["transaction_id"]
    asked = translate.order_params(replace(REQUEST, keep_method=True), **BACK)
    wallet = asked["payment_source"]["paypal"]
    back = f"https://shop.example/paid?lang=de&transaction_id={IDS['transaction_id']}"
    assert wallet["experience_context"]["return_url"] == back
    assert wallet["experience_context"]["cancel_url"] == f"{back}&canceled=true"
    assert wallet["attributes"]["vault"]["store_in_vault"] == "ON_SUCCESS"
    assert asked == translate.order_params(replace(REQUEST, keep_method=True), **BACK)


def test_the_customers_id_in_the_vault_is_the_companys_and_fits() -> None:
    company = UUID(IDS["company_id"])
    assert len(translate.customer_id_of(company)) == 22
    assert translate.customer_id_of(company) != translate.customer_id_of(new_id())


def test_what_was_kept_of_a_payment_is_a_method() -> None:
    vault = {"vault": {"id": "TOKEN", "status": "VAULTED"}}
    source = {"paypal": {"email_address": "a@b.example", "attributes": vault}}
    kept = translate.intent_of(order("COMPLETED", capture(), payment_source=source)).kept_method
    assert kept is not None
    assert (kept.provider_id, kept.type) == ("TOKEN", "paypal")


@pytest.mark.parametrize(
    ("number", "network", "advice", "wait_s"),
    [
        ("5120", "", Advice.RETRY, 0),
        ("0500", "", Advice.STOP, 0),
        ("5400", "", Advice.ASK, 0),
        ("1234", "", Advice.STOP_AND_REVIEW, 0),
        ("", "", Advice.STOP_AND_REVIEW, 0),
        ("1234", "02", Advice.RETRY, 72 * 3600),
        ("5120", "03", Advice.STOP, 0),
        ("5120", "99", Advice.STOP_AND_REVIEW, 0),
    ],
)
def test_a_network_outranks_the_processor_and_what_is_unknown_is_for_a_person(
    number: str, network: str, advice: Advice, wait_s: int
) -> None:
    processor = {"response_code": number, "payment_advice_code": network}
    body = order("COMPLETED", capture("DECLINED", processor_response=processor))
    decline = translate.intent_of(body).decline
    assert decline is not None
    assert (decline.advice, decline.wait_at_least_s) == (advice, wait_s)
    assert decline.provider_id == "ORDER1"


PROVIDERS_MD = {
    "INSTRUMENT_DECLINED": Advice.ASK,
    "PAYER_ACTION_REQUIRED": Advice.ASK,
    "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING": Advice.ASK,
    "CARD_EXPIRED": Advice.STOP,
    "TOKEN_ID_NOT_FOUND": Advice.STOP,
    "MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED": Advice.STOP,
    "TRANSACTION_REFUSED": Advice.STOP,
    "DO_NOT_HONOR": Advice.STOP,
}


@pytest.mark.parametrize(("issue", "advice"), PROVIDERS_MD.items())
def test_each_issue_of_the_policy_asks_what_the_policy_says(issue: str, advice: Advice) -> None:
    declined = failure_of(error(422, issue), is_read=False)
    assert isinstance(declined, Declined)
    assert (declined.advice, declined.decline_code) == (advice, issue)
    assert codes.DECLINES[issue] is advice


def error(status: int, issue: str, **headers: str) -> PayPalError:
    details = [{"issue": issue, "description": "What is wrong.", "value": "hush"}]
    body = {"name": "UNPROCESSABLE_ENTITY", "details": details, "debug_id": "debug-1"}
    return PayPalError(status=status, body=body, headers=headers)


@pytest.mark.parametrize(
    ("status", "issue", "kind"),
    [
        (500, "INTERNAL_SERVER_ERROR", OutcomeUnknown),
        (503, "SERVICE_UNAVAILABLE", OutcomeUnknown),
        (302, "", OutcomeUnknown),
        (200, "", OutcomeUnknown),
        (409, "RESOURCE_CONFLICT", OutcomeUnknown),
        (422, "ORDER_COMPLETION_IN_PROGRESS", OutcomeUnknown),
        (422, "DUPLICATE_INVOICE_ID", OutcomeUnknown),
        (429, "RATE_LIMIT_REACHED", Unavailable),
        (400, "INVALID_PARAMETER_VALUE", Rejected),
        (403, "PERMISSION_DENIED", Rejected),
        (422, "ORDER_ALREADY_CAPTURED", Rejected),
    ],
)
def test_a_refusal_is_what_its_caller_must_do(status: int, issue: str, kind: type) -> None:
    failure = failure_of(error(status, issue), is_read=False)
    assert type(failure) is kind
    assert failure.provider_request_id == "debug-1"
    assert "hush" not in str(failure)
    read = failure_of(error(status, issue), is_read=True)
    assert not isinstance(read, OutcomeUnknown)


def test_an_issue_that_nobody_listed_is_for_a_person_and_our_own_faults_are_ours() -> None:
    unlisted = failure_of(error(422, "SOMETHING_NEW"), is_read=False)
    assert isinstance(unlisted, Rejected)
    declined = as_decline(unlisted)
    assert isinstance(declined, Declined)
    assert declined.advice is Advice.STOP_AND_REVIEW
    for issue in ("CURRENCY_NOT_SUPPORTED", "PAYPAL_REQUEST_ID_PREVIOUSLY_USED"):
        ours = failure_of(error(422, issue), is_read=False)
        assert isinstance(ours, Rejected)
        assert as_decline(ours) is ours


def test_a_key_that_came_with_other_parameters_has_the_same_code_everywhere() -> None:
    reused = failure_of(error(422, "PAYPAL_REQUEST_ID_PREVIOUSLY_USED"), is_read=False)
    assert reused.code == "idempotency_error"


def test_a_wait_that_paypal_asks_for_is_kept() -> None:
    failure = failure_of(error(429, "RATE_LIMIT_REACHED", **{"retry-after": "7"}), is_read=False)
    assert isinstance(failure, Unavailable)
    assert failure.retry_after_s == 7


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("PENDING", RefundState.PENDING),
        ("COMPLETED", RefundState.SUCCEEDED),
        ("FAILED", RefundState.FAILED),
        ("CANCELLED", RefundState.CANCELED),
    ],
)
def test_a_refund_says_how_it_stands(status: str, state: RefundState) -> None:
    ids = {"refund_id": str(new_id()), **IDS}
    body = capture(status, custom_id=translate.custom_id_of(ids, translate.REFUND_IDS))
    refund = translate.refund_of(body)
    assert refund.state is state
    assert refund.metadata["refund_id"] == ids["refund_id"]
