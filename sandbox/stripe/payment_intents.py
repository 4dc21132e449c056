"""Payment intents: create, read, change, list, cancel. `confirmation` moves the money."""

from __future__ import annotations

import secrets
from typing import Any

from sandbox.stripe import confirmation, customers, payment_methods
from sandbox.stripe.book import new_id
from sandbox.stripe.call import Call, Params, merged_metadata
from sandbox.stripe.currencies import check_amount, check_currency
from sandbox.stripe.errors import InvalidRequest, Object, wrong_state
from sandbox.stripe.listing import list_of

TOLD = (
    "description",
    "receipt_email",
    "setup_future_usage",
    "shipping",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)
CONFIRM_ONLY = ("error_on_requires_action", "off_session", "return_url", "mandate_data")
CAN_BE_CHANGED = frozenset({"requires_action", "requires_confirmation", "requires_payment_method"})
CAN_BE_CANCELED = CAN_BE_CHANGED | {"processing", "requires_capture"}
INTENT = "payment_intent"
NOT_DONE_HERE = frozenset(
    {
        "application_fee_amount",
        "confirmation_token",
        "customer_account",
        "mandate",
        "on_behalf_of",
        "payment_method_data",
        "transfer_data",
    }
)
# Better refused than accepted and forgotten: each of them changes who pays or who is paid.


def create(call: Call, params: Params) -> Object:
    """Create an intent; with `confirm` it is charged at once."""
    currency = check_currency(params["currency"])
    check_amount(params["amount"], currency)
    _check_names(params)
    intent = _made(call, params, currency)
    if customer := params.get("customer"):
        customers.living(call, customer)
    if params.get("confirm"):
        confirmation.check(intent, params)
    if token := params.get("payment_method"):
        intent["payment_method"] = _method(call, intent, token)["id"]
        intent["status"] = "requires_confirmation"
    elif params.get("confirm"):
        raise InvalidRequest(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can "
            "either update the PaymentIntent with a payment method and then confirm it again, or "
            "confirm it again directly with a payment method or ConfirmationToken.",
            code="payment_intent_unexpected_state",
        )
    call.book.put(intent)
    call.happened("payment_intent.created", intent)
    return confirmation.confirmed(call, intent, params) if params.get("confirm") else intent


def _check_names(params: Params) -> None:
    for name in CONFIRM_ONLY:
        if name in params and not params.get("confirm"):
            raise InvalidRequest(
                f"The parameter `{name}` cannot be passed when creating a PaymentIntent unless "
                "`confirm` is set to true.",
                param=name,
            )
    for name in NOT_DONE_HERE & params.keys():
        raise InvalidRequest(f"The sandbox does not do `{name}`.", param=name)


def _method(call: Call, intent: Object, token: str) -> Object:
    method = payment_methods.usable(call, token)
    payment_methods.check_unspent(call, method)
    if method["customer"] and method["customer"] != intent["customer"]:
        raise InvalidRequest(
            f"The provided PaymentMethod ({method['id']}) is attached to another customer. Give "
            "that `customer` too, or use a PaymentMethod of this one.",
            param="payment_method",
        )
    return method


def _made(call: Call, params: Params, currency: str) -> Object:
    object_id = new_id(INTENT)
    types = params.get("allowed_payment_method_types")
    automatic = params.get("automatic_payment_methods") or (None if types else {"enabled": True})
    if automatic:
        automatic = {"allow_redirects": "always"} | automatic
    return {
        "id": object_id,
        "object": INTENT,
        "amount": params["amount"],
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": automatic,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": params.get("capture_method", "automatic_async"),
        "client_secret": f"{object_id}_secret_{secrets.token_urlsafe(18)}",
        "confirmation_method": params.get("confirmation_method", "automatic"),
        "created": call.book.now(),
        "currency": currency,
        "customer": params.get("customer"),
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": merged_metadata({}, params.get("metadata")),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": types or ["card"],
        "processing": None,
        "review": None,
        "source": None,
        "status": "requires_payment_method",
        "transfer_data": None,
    } | {name: params.get(name) or None for name in TOLD}


def retrieve(call: Call, params: Params, object_id: str) -> Object:
    """Return an intent; a browser must know its client secret."""
    intent = call.book.get(INTENT, object_id, param="intent")
    check_secret(call, intent, params.get("client_secret"))
    return intent


def check_secret(call: Call, intent: Object, given: str | None) -> None:
    """Refuse a caller with a publishable key who doesn't know the intent's secret."""
    if call.client_secret is not None or given is not None:
        told = given if given is not None else call.client_secret
        if told != intent["client_secret"]:
            raise InvalidRequest(
                "The client_secret provided does not match the client_secret associated with the "
                "PaymentIntent.",
                code="payment_intent_invalid_parameter",
                param="client_secret",
            )


def confirm(call: Call, params: Params, object_id: str) -> Object:
    """Confirm an intent, with another payment method where one is given."""
    intent = call.book.get(INTENT, object_id, param="intent")
    check_secret(call, intent, None)
    _check_names(params | {"confirm": True})
    _check_state(intent, CAN_BE_CHANGED, "confirm", param="payment_method")
    confirmation.check(intent, params)
    if token := params.get("payment_method"):
        intent["payment_method"] = _method(call, intent, token)["id"]
    if not intent["payment_method"]:
        raise wrong_state(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can "
            "either update the PaymentIntent with a payment method and then confirm it again, or "
            "confirm it again directly with a payment method or ConfirmationToken.",
            code="payment_intent_unexpected_state",
        )
    return confirmation.confirmed(call, intent, params)


def _check_state(
    intent: Object, allowed: frozenset[str], verb: str, *, param: str | None = None
) -> None:
    if intent["status"] not in allowed:
        listed_ = ", ".join(sorted(allowed))
        raise wrong_state(
            f"You cannot {verb} this PaymentIntent because it has a status of "
            f"{intent['status']}. Only a PaymentIntent with one of the following statuses may be "
            f"{verb}ed: {listed_}.",
            code="payment_intent_unexpected_state",
            param=param,
            payment_intent=dict(intent),
        )


def cancel(call: Call, params: Params, object_id: str) -> Object:
    """Cancel an intent that has not succeeded."""
    intent = call.book.get(INTENT, object_id, param="intent")
    _check_state(intent, CAN_BE_CANCELED, "cancel")
    if intent["status"] == "requires_capture":
        charge = call.book.get("charge", intent["latest_charge"])
        charge |= {"refunded": True, "amount_refunded": charge["amount"]}
        call.book.put(charge)
        call.happened("charge.refunded", charge)
    intent |= {
        "amount_capturable": 0,
        "canceled_at": call.book.now(),
        "cancellation_reason": params.get("cancellation_reason"),
        "next_action": None,
        "status": "canceled",
    }
    call.book.put(intent)
    call.happened("payment_intent.canceled", intent)
    return intent


def capture(call: Call, params: Params, object_id: str) -> Object:
    """Take what was authorized, or a part of it."""
    intent = call.book.get(INTENT, object_id, param="intent")
    _check_state(intent, frozenset({"requires_capture"}), "capture")
    amount = params.get("amount_to_capture") or intent["amount_capturable"]
    if amount > intent["amount_capturable"]:
        raise wrong_state(
            "The amount to capture is greater than the amount that can be captured.",
            code="amount_too_large",
            param="amount_to_capture",
        )
    return confirmation.captured(call, intent, amount)


def update(call: Call, params: Params, object_id: str) -> Object:
    """Change an intent that is not settled; metadata can be changed at any time."""
    intent = call.book.get(INTENT, object_id, param="intent")
    if params.keys() - {"metadata", "description", "receipt_email"}:
        _check_state(intent, CAN_BE_CHANGED, "update")
    currency = check_currency(params.get("currency") or intent["currency"])
    check_amount(params.get("amount") or intent["amount"], currency)
    if customer := params.get("customer"):
        customers.living(call, customer)
    changes: dict[str, Any] = {
        name: params[name] or None for name in (*TOLD, "amount", "customer") if name in params
    }
    intent |= changes | {"currency": currency}
    intent["metadata"] = merged_metadata(intent["metadata"], params.get("metadata"))
    if token := params.get("payment_method"):
        intent["payment_method"] = _method(call, intent, token)["id"]
        intent["status"] = "requires_confirmation"
    return call.book.put(intent)


listed = list_of(INTENT, "payment_intents", "customer")
