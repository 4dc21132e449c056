"""What PayPal's refusals ask of us, as data.

An `issue` refuses an order or its capture; a processor's code comes with a capture that was made
and declined. A network's advice outranks both. A code that is not listed stops and asks for a
person: it is never a reason to charge again.
"""

from __future__ import annotations

from worker.gateways.base import Advice
from worker.gateways.networks import NETWORK_ADVICE, NETWORK_WAIT_S

_BY_ADVICE = {
    # The payer must choose another way, or approve; PayPal has asked its own funding sources.
    Advice.ASK: (
        "INSTRUMENT_DECLINED PAYER_ACTION_REQUIRED REDIRECT_PAYER_FOR_ALTERNATE_FUNDING"
        " PAYER_CANNOT_PAY"
    ),
    # This method is done: the agreement, the account or the card behind it.
    Advice.STOP: (
        "CARD_EXPIRED TOKEN_ID_NOT_FOUND MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED"
        " TRANSACTION_REFUSED DO_NOT_HONOR AGREEMENT_ALREADY_CANCELLED"
        " BILLING_AGREEMENT_NOT_FOUND PAYER_ACCOUNT_LOCKED_OR_CLOSED PAYER_ACCOUNT_RESTRICTED"
    ),
}
DECLINES = {code: advice for advice, codes in _BY_ADVICE.items() for code in codes.split()}

# A processor's answer, by number: our word for it, and what it asks.
PROCESSOR = {
    "0500": ("DO_NOT_HONOR", Advice.STOP),
    "5120": ("INSUFFICIENT_FUNDS", Advice.RETRY),
    "5400": ("EXPIRED_CARD", Advice.ASK),
    "9500": ("SUSPECTED_FRAUD", Advice.STOP),
    "9520": ("LOST_OR_STOLEN", Advice.STOP),
}

# The customer is told "declined" and no more.
UNTOLD = frozenset({"SUSPECTED_FRAUD", "LOST_OR_STOLEN", "TRANSACTION_REFUSED"})

# The order may be captured, or is being captured: looked up, never charged anew.
IN_PROGRESS = frozenset({"ORDER_COMPLETION_IN_PROGRESS", "PREVIOUS_REQUEST_IN_PROGRESS"})
CAPTURED = "ORDER_ALREADY_CAPTURED"
NOT_APPROVED = "ORDER_NOT_APPROVED"
# Another completed capture carries our payment's id: PayPal itself refuses a second one.
DUPLICATE = "DUPLICATE_INVOICE_ID"

# Issues of a 422 that say our own request was wrong.
OUR_FAULTS = frozenset(
    "AMOUNT_MISMATCH CURRENCY_NOT_SUPPORTED DECIMAL_PRECISION DECIMALS_NOT_SUPPORTED"
    " INCOMPATIBLE_PARAMETER_VALUE INVALID_CURRENCY_CODE INVALID_PARAMETER_VALUE"
    " INVALID_STRING_LENGTH MISSING_REQUIRED_PARAMETER PERMISSION_DENIED RETURN_URL_REQUIRED"
    " CANCEL_URL_REQUIRED".split()
)
# The same key came with other parameters, so that the first call may have charged.
KEY_REUSED = frozenset({"PAYPAL_REQUEST_ID_PREVIOUSLY_USED", "DUPLICATE_REQUEST_ID"})


def advice_for(code: str, network_advice_code: str = "") -> Advice:
    """Return what a refusal asks of us; `code` is an issue or one of our words for a processor."""
    if network_advice_code:
        return NETWORK_ADVICE.get(network_advice_code, Advice.STOP_AND_REVIEW)
    return DECLINES.get(code) or _WORDS.get(code, Advice.STOP_AND_REVIEW)


_WORDS = dict(PROCESSOR.values())


def wait_at_least_s(advice: Advice, network_advice_code: str) -> int:
    """Return the network's shortest wait before another try; 0 where it names none."""
    return NETWORK_WAIT_S.get(network_advice_code, 0) if advice is Advice.RETRY else 0
