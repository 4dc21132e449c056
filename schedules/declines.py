"""What a decline asks for, in words that every room shares. Every provider's table leads here."""

from __future__ import annotations

from enum import StrEnum


class Advice(StrEnum):
    """What a decline asks of us; each provider's `codes.py` is the table."""

    RETRY = "retry"  # the ladder
    RETRY_ONCE = "retry_once"
    RETRY_TWICE = "retry_twice"  # and ask the customer at the first
    ASK = "ask"  # the customer must update the card or authenticate
    STOP = "stop"  # this method is done
    STOP_AND_REVIEW = "stop_and_review"  # a person must look
    LOOK_UP = "look_up"  # the charge may exist already


class CustomerAction(StrEnum):
    """What the customer is asked to do."""

    NONE = "none"
    ADD_FUNDS = "add_funds"
    CONTACT_BANK = "contact_bank"
    UPDATE_CARD = "update_card"
    AUTHENTICATE = "authenticate"
    USE_ANOTHER_METHOD = "use_another_method"
    PAY_IN_BROWSER = "pay_in_browser"
    PAY_AGAIN = "pay_again"


ACTIONS = {
    CustomerAction.NONE: "Nothing.",
    CustomerAction.ADD_FUNDS: "See to it that there is money on the card, or pay in another way.",
    CustomerAction.CONTACT_BANK: "Ask the bank to allow the payment, or pay in another way.",
    CustomerAction.UPDATE_CARD: "Enter the card's details again, or pay in another way.",
    CustomerAction.AUTHENTICATE: "Confirm the payment with the bank, in the browser.",
    CustomerAction.USE_ANOTHER_METHOD: "Pay in another way: this one is not accepted.",
    CustomerAction.PAY_IN_BROWSER: "Pay in the browser, or on the provider's page.",
    CustomerAction.PAY_AGAIN: "Begin a new payment: nothing comes of this one any more.",
}

_FUNDS = frozenset(
    {"insufficient_funds", "card_velocity_exceeded", "withdrawal_count_limit_exceeded"}
)
# Only a payment that the customer confirms in the browser can pass; off-session it never will.
AUTHENTICATION = frozenset(
    {
        "authentication_required",
        "payment_intent_authentication_failure",
        "setup_intent_authentication_failure",
    }
)
# What is declined so can be paid all the same, as it is, once the customer has confirmed it.
CONFIRMABLE = AUTHENTICATION | {"payer_action_required"}
# Nothing about the method can be mended.
_OTHERS = frozenset(
    {
        "card_not_supported",
        "currency_not_supported",
        "instrument_declined",
        "payer_action_required",
        "payer_cannot_pay",
        "redirect_payer_for_alternate_funding",
    }
)

# The customer is told "declined" and no more: a thief must not learn why, nor a merchant's customer
# that they are suspected.
UNTOLD = frozenset(
    "fraudulent merchant_blacklist restricted_card security_violation stop_payment_order"
    " do_not_try_again invalid_account pin_try_exceeded lost_card stolen_card pickup_card"
    " highest_risk_level"
    # PayPal's, in lower case.
    " suspected_fraud lost_or_stolen transaction_refused".split()
)
DECLINED = "card_declined"


def told_code(code: str) -> str:
    """Return what the customer may hear of a code: itself, or only that it was a decline."""
    return DECLINED if code.lower() in UNTOLD else code


def action_for(advice: Advice, code: str = "") -> CustomerAction:
    """Return what the customer is asked to do after a decline.

    Args:
        code: the provider's decline code, in any case of letters; empty where there is none.
    """
    code = code.lower()
    if code in _FUNDS and advice in _BY_RETRYING:
        return CustomerAction.ADD_FUNDS
    if advice is Advice.ASK and code in AUTHENTICATION:
        return CustomerAction.AUTHENTICATE
    if advice is Advice.ASK and code in _OTHERS:
        return CustomerAction.USE_ANOTHER_METHOD
    return _BY_ADVICE[advice]


_BY_RETRYING = (Advice.RETRY, Advice.RETRY_ONCE, Advice.RETRY_TWICE)
_BY_ADVICE = {
    Advice.RETRY: CustomerAction.NONE,
    Advice.RETRY_ONCE: CustomerAction.CONTACT_BANK,
    Advice.RETRY_TWICE: CustomerAction.CONTACT_BANK,
    Advice.ASK: CustomerAction.UPDATE_CARD,
    Advice.STOP: CustomerAction.USE_ANOTHER_METHOD,
    Advice.STOP_AND_REVIEW: CustomerAction.NONE,
    Advice.LOOK_UP: CustomerAction.NONE,
}
