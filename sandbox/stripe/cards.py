"""Stripe's test cards: what `pm_card_…`, `tok_…` and the well-known numbers stand for.

Beside Stripe's own names, `pm_sandbox_decline_<decline_code>[__<advice_code>[__<network advice
code>[__<network decline code>]]]` makes a card that can be attached and then declines so, and
`pm_sandbox_processing` one whose charge stays in processing until it is settled on command.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """How a test card looks and behaves."""

    brand: str = "visa"
    last4: str = "4242"
    funding: str = "credit"
    country: str = "US"
    decline_code: str | None = None
    advice_code: str | None = None
    network_advice_code: str | None = None
    network_decline_code: str | None = None
    can_be_attached: bool = True
    authentication: str = "none"
    """none, always, or unless_set_up: an earlier success off_session is enough."""
    afterwards: str | None = None
    """dispute:<reason>, inquiry, refund_failed, refund_pending or processing."""

    def traits(self) -> dict[str, Any]:
        """Return the behaviour, for the book to keep."""
        return asdict(self)


def _declining(code: str, last4: str, **more: Any) -> Card:
    return Card(decline_code=code, last4=last4, can_be_attached=False, **more)


CARDS = {
    "visa": Card(),
    "visa_debit": Card(last4="5556", funding="debit"),
    "mastercard": Card(brand="mastercard", last4="4444"),
    "mastercard_debit": Card(brand="mastercard", last4="8210", funding="debit"),
    "mastercard_prepaid": Card(brand="mastercard", last4="5100", funding="prepaid"),
    "amex": Card(brand="amex", last4="8431"),
    "discover": Card(brand="discover", last4="9424"),
    "diners": Card(brand="diners", last4="3237"),
    "jcb": Card(brand="jcb", last4="0505"),
    "unionpay": Card(brand="unionpay", last4="0005"),
    "in": Card(last4="0008", country="IN"),
    "us": Card(),
    "chargeDeclined": _declining("generic_decline", "0002", network_decline_code="01"),
    "chargeDeclinedInsufficientFunds": _declining(
        "insufficient_funds", "9995", advice_code="try_again_later", network_decline_code="51"
    ),
    "chargeDeclinedLostCard": _declining(
        "lost_card", "9987", advice_code="do_not_try_again", network_decline_code="41"
    ),
    "chargeDeclinedStolenCard": _declining(
        "stolen_card", "9979", advice_code="do_not_try_again", network_decline_code="43"
    ),
    "chargeDeclinedExpiredCard": _declining(
        "expired_card", "0069", advice_code="confirm_card_data", network_decline_code="54"
    ),
    "chargeDeclinedIncorrectCvc": _declining(
        "incorrect_cvc", "0127", advice_code="confirm_card_data", network_decline_code="N7"
    ),
    "chargeDeclinedProcessingError": _declining(
        "processing_error", "0119", advice_code="try_again_later"
    ),
    "chargeDeclinedVelocityLimitExceeded": _declining(
        "card_velocity_exceeded", "6975", advice_code="try_again_later", network_decline_code="65"
    ),
    "chargeDeclinedFraudulent": _declining("fraudulent", "0019"),
    "radarBlock": _declining("fraudulent", "0019"),
    "chargeCustomerFail": Card(last4="0341", decline_code="generic_decline"),
    "authenticationRequired": Card(last4="3184", authentication="always"),
    "authenticationRequiredOnSetup": Card(last4="3155", authentication="unless_set_up"),
    "authenticationRequiredSetupForOffSession": Card(last4="3155", authentication="unless_set_up"),
    "authenticationRequiredChargeDeclinedInsufficientFunds": Card(
        last4="9995",
        authentication="always",
        decline_code="insufficient_funds",
        advice_code="try_again_later",
    ),
    "threeDSecure2Required": Card(last4="3220", authentication="always"),
    "threeDSecureRequired": Card(last4="3063", authentication="always"),
    "threeDSecureOptional": Card(last4="3055"),
    "createDispute": Card(last4="0259", afterwards="dispute:fraudulent"),
    "createDisputeProductNotReceived": Card(
        last4="2685", afterwards="dispute:product_not_received"
    ),
    "createDisputeInquiry": Card(last4="1976", afterwards="inquiry"),
    "refundFail": Card(last4="5126", afterwards="refund_failed"),
    "pendingRefund": Card(last4="7726", afterwards="refund_pending"),
}
NUMBERS = {
    "4242424242424242": "visa",
    "4000056655665556": "visa_debit",
    "5555555555554444": "mastercard",
    "378282246310005": "amex",
    "4000003560000008": "in",
    "4000000000000002": "chargeDeclined",
    "4000000000009995": "chargeDeclinedInsufficientFunds",
    "4000000000009987": "chargeDeclinedLostCard",
    "4000000000009979": "chargeDeclinedStolenCard",
    "4000000000000069": "chargeDeclinedExpiredCard",
    "4000000000000127": "chargeDeclinedIncorrectCvc",
    "4000000000000119": "chargeDeclinedProcessingError",
    "4000000000006975": "chargeDeclinedVelocityLimitExceeded",
    "4000000000000341": "chargeCustomerFail",
    "4000002500003155": "authenticationRequiredOnSetup",
    "4000002760003184": "authenticationRequired",
    "4000000000003220": "threeDSecure2Required",
    "4000000000000259": "createDispute",
    "4000000000005126": "refundFail",
    "4000000000007726": "pendingRefund",
}
OWN = "sandbox_"
DECLINE = "decline_"


def card_of(token: str) -> Card | None:
    """Return the card that a test token or test payment method stands for."""
    name = token.removeprefix("pm_card_").removeprefix("pm_").removeprefix("tok_")
    if name == token:
        return None
    if name.startswith(OWN):
        return _own(name.removeprefix(OWN))
    return CARDS.get(name) or CARDS.get(name.removeprefix("visa_"))


def _own(name: str) -> Card | None:
    if name == "processing":
        return Card(afterwards="processing")
    if not name.startswith(DECLINE):
        return None
    decline, advice, network_advice, network_decline = (
        *name.removeprefix(DECLINE).split("__"),
        "",
        "",
        "",
    )[:4]
    return replace(
        Card(last4="0341"),
        decline_code=decline,
        advice_code=advice or None,
        network_advice_code=network_advice or None,
        network_decline_code=network_decline or None,
    )


CODES_OF_THEIR_OWN = frozenset(
    {
        "authentication_required",
        "expired_card",
        "incorrect_cvc",
        "incorrect_number",
        "incorrect_zip",
        "invalid_cvc",
        "invalid_expiry_month",
        "invalid_expiry_year",
        "processing_error",
    }
)
MESSAGES = {
    "authentication_required": "Your card was declined. This transaction requires authentication.",
    "card_not_supported": "Your card is not supported.",
    "card_velocity_exceeded": "Your card was declined for making repeated attempts too frequently "
    "or exceeding its amount limit.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "incorrect_number": "Your card number is incorrect.",
    "insufficient_funds": "Your card has insufficient funds.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
}


def error_fields(traits: dict[str, Any]) -> dict[str, Any]:
    """Return what a decline tells: code, decline_code, message and the advice there is."""
    decline_code = traits["decline_code"]
    told = {
        "code": decline_code if decline_code in CODES_OF_THEIR_OWN else "card_declined",
        "decline_code": decline_code,
        "message": MESSAGES.get(decline_code, "Your card was declined."),
    }
    for name in ("advice_code", "network_advice_code", "network_decline_code"):
        if traits.get(name):
            told[name] = traits[name]
    return told
