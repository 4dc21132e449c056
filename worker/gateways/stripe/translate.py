"""Stripe's objects in our words, and ours in Stripe's. Pure: plain mappings in, no I/O.

The mappings are the JSON of Stripe's API; a webhook's `data.object` has the same shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.gateways.base import (
    ChargeRequest,
    Declined,
    Intent,
    IntentStatus,
    MethodAnswer,
    OutcomeUnknown,
    RefundAnswer,
    RefundRequest,
    RefundState,
)
from worker.gateways.stripe.codes import UNTOLD, Signals, advice_for, wait_at_least_s
from worker.gateways.stripe.minor import minor_of, money_of

Body = Mapping[str, Any]

STATUSES = {
    "requires_payment_method": IntentStatus.REQUIRES_ACTION,
    "requires_confirmation": IntentStatus.REQUIRES_ACTION,
    "requires_action": IntentStatus.REQUIRES_ACTION,
    "processing": IntentStatus.PROCESSING,
    # Held and not captured; we always capture at once, so Stripe is still on its way.
    "requires_capture": IntentStatus.PROCESSING,
    "succeeded": IntentStatus.SUCCEEDED,
    "canceled": IntentStatus.CANCELED,
}

# Stripe takes three reasons; ours stands in the refund's metadata in any case.
REFUND_REASONS = {
    "duplicate": "duplicate",
    "fraudulent": "fraudulent",
    "requested": "requested_by_customer",
    "requested_by_customer": "requested_by_customer",
}

# A bank account goes by several names, one a country's scheme.
BANK_TYPES = frozenset(
    "us_bank_account sepa_debit bacs_debit au_becs_debit acss_debit nz_bank_account".split()
)


def status_of(body: Body) -> IntentStatus:
    """Return where an intent stands.

    `requires_payment_method` is both "never tried" and "declined": the last error tells which.

    Raises:
        OutcomeUnknown: a status that this version does not know; nobody may guess where money is.
    """
    if body["status"] == "requires_payment_method" and body.get("last_payment_error"):
        return IntentStatus.DECLINED
    try:
        return STATUSES[body["status"]]
    except KeyError:
        raise OutcomeUnknown(message="the intent has a new status", code="new_status") from None


def declined_of(error: Body, *, provider_id: str = "", request_id: str = "") -> Declined:
    """Return the decline that an error object tells, `error` of a 402 or `last_payment_error`."""
    method = error.get("payment_method") or {}
    signals = Signals(
        code=error.get("code") or "",
        decline_code=error.get("decline_code") or "",
        advice_code=error.get("advice_code") or "",
        network_advice_code=error.get("network_advice_code") or "",
        network_decline_code=error.get("network_decline_code") or "",
        brand=(method.get("card") or {}).get("brand") or "",
        is_bank=method.get("type") in BANK_TYPES,
    )
    is_untold = not UNTOLD.isdisjoint({signals.decline_code, signals.code})
    return Declined(
        message="Your card was declined."
        if is_untold
        else error.get("message") or "The payment was declined.",
        code=signals.code,
        provider_request_id=request_id,
        advice=advice_for(signals),
        decline_code=signals.decline_code,
        advice_code=signals.advice_code,
        network_advice_code=signals.network_advice_code,
        network_decline_code=signals.network_decline_code,
        provider_id=provider_id,
        wait_at_least_s=wait_at_least_s(signals),
    )


def intent_of(body: Body, request_id: str = "") -> Intent:
    """Return a PaymentIntent in our words; `captured` only where money has moved."""
    status = status_of(body)
    decline = None
    if status is IntentStatus.DECLINED:
        decline = declined_of(
            body["last_payment_error"], provider_id=body["id"], request_id=request_id
        )
    received_minor = body.get("amount_received") or 0
    return Intent(
        provider_id=body["id"],
        status=status,
        money=money_of(body["amount"], body["currency"]),
        captured=money_of(received_minor, body["currency"]) if received_minor else None,
        charge_id=id_of(body.get("latest_charge")),
        metadata=dict(body.get("metadata") or {}),
        client_secret=body.get("client_secret") or "",
        decline=decline,
        provider_request_id=request_id,
    )


def refund_of(body: Body, request_id: str = "") -> RefundAnswer:
    """Return a Refund in our words; one without a status is still pending."""
    return RefundAnswer(
        provider_id=body["id"],
        state=RefundState(body.get("status") or "pending"),
        money=money_of(body["amount"], body["currency"]),
        intent_id=id_of(body.get("payment_intent")),
        charge_id=id_of(body.get("charge")),
        reason=body.get("reason") or "",
        metadata=dict(body.get("metadata") or {}),
        failure_reason=body.get("failure_reason") or "",
        provider_request_id=request_id,
    )


def method_of(body: Body, request_id: str = "") -> MethodAnswer:
    """Return a PaymentMethod in our words: what a customer may see of it."""
    kind = body["type"]
    details = body.get(kind) or {}
    return MethodAnswer(
        provider_id=body["id"],
        type="bank_account" if kind in BANK_TYPES else kind,
        last_four=details.get("last4"),
        brand=details.get("brand") or details.get("bank_name"),
        exp_month=details.get("exp_month"),
        exp_year=details.get("exp_year"),
        fingerprint=details.get("fingerprint"),
        provider_request_id=request_id,
    )


def id_of(value: str | Body | None) -> str:
    """Return the id of a field that Stripe gives as an id or, expanded, as the object itself."""
    if isinstance(value, Mapping):
        return str(value["id"])
    return value or ""


def charge_params(request: ChargeRequest) -> dict[str, Any]:
    """Return the parameters that create an intent, the same for the same request every time.

    With a method the one call also confirms. Redirects are off there, as nobody is at a browser
    to follow one; without a method the browser confirms and may use every method.
    """
    params: dict[str, Any] = {
        "amount": minor_of(request.money),
        "currency": request.money.currency.lower(),
        "customer": request.customer,
        "metadata": {**request.metadata, "attempt_key": request.key},
        "automatic_payment_methods": {"enabled": True},
    }
    if request.description:
        params["description"] = request.description
    if request.method is not None:
        params["payment_method"] = request.method
        params["confirm"] = True
        params["off_session"] = request.off_session
        params["automatic_payment_methods"]["allow_redirects"] = "never"
    return params


def confirm_params(*, method: str | None, off_session: bool, return_url: str) -> Any:
    """Return the parameters that try an intent again, with its own method unless one is given."""
    params: dict[str, Any] = {"off_session": off_session}
    if method is not None:
        params["payment_method"] = method
    if return_url:
        params["return_url"] = return_url
    return params


def refund_params(request: RefundRequest) -> dict[str, Any]:
    """Return the parameters of a refund; our own reason goes into its metadata."""
    params: dict[str, Any] = {
        "amount": minor_of(request.money),
        "payment_intent": request.provider_id,
        "metadata": {**request.metadata, "attempt_key": request.key},
    }
    if request.reason:  # Stripe takes an empty value as "remove"
        params["metadata"]["reason"] = request.reason
    if request.reason in REFUND_REASONS:
        params["reason"] = REFUND_REASONS[request.reason]
    return params
