"""What happens when an intent is confirmed: a charge, a decline, 3-D Secure, or a long wait."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sandbox.stripe import banks, charges, disputes
from sandbox.stripe.call import Call, Params
from sandbox.stripe.cards import error_fields
from sandbox.stripe.errors import CardError, InvalidRequest, Object

DECLINE = frozenset({"decline"})
AUTHENTICATION = {"decline_code": "authentication_required"}
NOT_AUTHENTICATED = (
    "The provided PaymentMethod has failed authentication. You can provide payment_method_data or "
    "a new PaymentMethod to attempt to fulfill this PaymentIntent again."
)


def check(intent: Object, params: Params) -> None:
    """Refuse to confirm without `return_url` where a redirect is possible."""
    automatic = intent["automatic_payment_methods"]
    if automatic and automatic["allow_redirects"] != "never" and "return_url" not in params:
        raise InvalidRequest(
            "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. "
            "Because some of these payment methods might redirect your customer off of your page, "
            "you must provide a `return_url`. If you don't want to accept redirect-based payment "
            "methods, set `automatic_payment_methods[enabled]` to `true` and "
            "`automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents "
            "and Payment Intents."
        )


def confirmed(call: Call, intent: Object, params: Params) -> Object:
    """Confirm an intent that has a payment method.

    Raises:
        CardError: the card was declined; the intent waits for another one.
    """
    method = call.book.get("payment_method", intent["payment_method"])
    traits = call.book.known(method["id"])
    if usage := params.get("setup_future_usage"):
        intent["setup_future_usage"] = usage
    if _must_authenticate(traits):
        if params.get("off_session") or params.get("error_on_requires_action"):
            decline(call, intent, method, AUTHENTICATION)
        return _asked(call, intent, params.get("return_url"))
    return settled(call, intent)


def _must_authenticate(traits: dict[str, Any]) -> bool:
    authentication = traits.get("authentication")
    if authentication == "unless_set_up":
        return not traits.get("is_set_up")
    return authentication == "always"


def _asked(call: Call, intent: Object, return_url: str | None) -> Object:
    intent |= {
        "status": "requires_action",
        "last_payment_error": None,
        "next_action": {
            "type": "redirect_to_url",
            "redirect_to_url": {
                "return_url": return_url,
                "url": f"{call.base_url}/sandbox/3ds/{intent['id']}",
            },
        },
    }
    call.book.put(intent)
    call.happened("payment_intent.requires_action", intent)
    return intent


def settled(call: Call, intent: Object) -> Object:
    """Ask the issuer, authentication being done or not needed.

    Raises:
        CardError: the card was declined.
    """
    method = call.book.get("payment_method", intent["payment_method"])
    traits = call.book.known(method["id"])
    if method["type"] == banks.TYPE:
        banks.check_currency(intent)
        return banks.debited(call, intent, method, traits)
    if fault := call.faults.take(DECLINE, "POST", f"/v1/payment_intents/{intent['id']}"):
        decline(
            call,
            intent,
            method,
            {
                "decline_code": fault.decline_code or "generic_decline",
                "advice_code": fault.advice_code,
                "network_advice_code": fault.network_advice_code,
                "network_decline_code": fault.network_decline_code,
            },
        )
    if traits.get("decline_code"):
        decline(call, intent, method, traits)
    intent |= {"last_payment_error": None, "next_action": None}
    if traits.get("afterwards") == "processing":
        intent["status"] = "processing"
        call.book.put(intent)
        call.happened("payment_intent.processing", intent)
        return intent
    return paid(call, intent, method, traits)


def paid(call: Call, intent: Object, method: Object, traits: dict[str, Any]) -> Object:
    """Charge the card."""
    if not method["customer"]:
        _keep_or_spend(call, intent, method)
    is_captured = intent["capture_method"] != "manual"
    charge = charges.charged(call, intent, method, is_captured=is_captured)
    return _succeeded(call, intent, charge, traits, is_captured=is_captured)


def _succeeded(
    call: Call, intent: Object, charge: Object, traits: dict[str, Any], *, is_captured: bool
) -> Object:
    intent |= {"last_payment_error": None, "latest_charge": charge["id"], "next_action": None}
    if is_captured:
        intent |= {"amount_received": intent["amount"], "status": "succeeded"}
        kind = "payment_intent.succeeded"
    else:
        intent |= {"amount_capturable": intent["amount"], "status": "requires_capture"}
        kind = "payment_intent.amount_capturable_updated"
    call.book.put(intent)
    call.happened(kind, intent)
    afterwards = str(traits.get("afterwards"))
    if afterwards.startswith(("dispute:", "inquiry")) and is_captured:
        call.afterwards.append(lambda: disputes.opened(call, charge, afterwards))
    return intent


def _keep_or_spend(call: Call, intent: Object, method: Object) -> None:
    if intent["customer"] and intent["setup_future_usage"]:
        method["customer"] = intent["customer"]
        call.book.put(method)
        call.happened("payment_method.attached", method)
    else:
        call.book.note(method["id"], is_spent=True)


def captured(call: Call, intent: Object, amount: int) -> Object:
    """Take an authorized amount."""
    charge = call.book.get("charge", intent["latest_charge"])
    charges.capture(call, charge, amount)
    call.book.put(charge)
    call.happened("charge.captured", charge)
    intent |= {"amount_capturable": 0, "amount_received": amount, "status": "succeeded"}
    call.book.put(intent)
    call.happened("payment_intent.succeeded", intent)
    return intent


def decline(call: Call, intent: Object, method: Object, traits: dict[str, Any]) -> None:
    """Write the decline down.

    Raises:
        CardError: always.
    """
    charge = charges.refused(call, intent, method, traits)
    told = error_fields(traits) | {"charge": charge["id"]}
    error = CardError(**told, payment_method=dict(method))
    intent["latest_charge"] = charge["id"]
    failed(call, intent, error.fields)
    error.fields["payment_intent"] = dict(intent)
    raise error


def failed(call: Call, intent: Object, told: Object) -> Object:
    """Send the intent back to wait for a payment method."""
    intent |= {
        "last_payment_error": dict(told),
        "next_action": None,
        "payment_method": None,
        "status": "requires_payment_method",
    }
    call.book.put(intent)
    call.happened("payment_intent.payment_failed", intent)
    return intent


def authenticated(call: Call, intent: Object, *, is_success: bool) -> Object:
    """End 3-D Secure. A decline after it is told by the intent, as nobody waits for an answer."""
    method = call.book.get("payment_method", intent["payment_method"])
    if not is_success:
        told = InvalidRequest(
            NOT_AUTHENTICATED,
            code="payment_intent_authentication_failure",
            payment_method=dict(method),
        )
        return failed(call, intent, told.fields)
    call.book.note(method["id"], is_set_up=True)
    with suppress(CardError):
        settled(call, intent)
    return intent


def released(call: Call, intent: Object, *, is_success: bool | None) -> Object:
    """End `processing` one way or the other; None for what the method's test name says."""
    method = call.book.get("payment_method", intent["payment_method"])
    traits = call.book.known(method["id"])
    if is_success is None:
        is_success = not traits.get("failure_code")
    if method["type"] == banks.TYPE:
        if is_success:
            charge = charges.arrived(call, call.book.get("charge", intent["latest_charge"]))
            return _succeeded(call, intent, charge, traits, is_captured=True)
        return failed(call, intent, banks.returned(call, intent, method, traits).fields)
    if is_success:
        return paid(call, intent, method, {})
    with suppress(CardError):
        decline(call, intent, method, {"decline_code": "generic_decline"})
    return intent
