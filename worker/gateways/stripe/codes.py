"""What Stripe's and the card networks' decline signals ask of us, as data.

The order of decision: `advice_code`, then `network_advice_code`, then Visa's category 1 by
`network_decline_code`, then `decline_code`. Advice outranks the code. A signal that is not listed
stops and asks for a person: it is never a reason to charge again.
"""

from __future__ import annotations

from dataclasses import dataclass

from schedules import declines
from schedules.declines import Advice
from worker.gateways.networks import NETWORK_ADVICE, NETWORK_WAIT_S, VISA_CATEGORY_1

ADVICE = {
    "do_not_try_again": Advice.STOP,
    "confirm_card_data": Advice.ASK,
    "try_again_later": Advice.RETRY,
}

_BY_ADVICE = {
    Advice.RETRY: (
        "insufficient_funds card_velocity_exceeded withdrawal_count_limit_exceeded"
        " processing_error issuer_not_available try_again_later reenter_transaction"
    ),
    Advice.RETRY_ONCE: "approve_with_id",
    Advice.RETRY_TWICE: "do_not_honor generic_decline call_issuer no_action_taken",
    # The two failures of 3-D Secure are error codes, not decline codes: the customer failed or
    # left the challenge and may try it again.
    Advice.ASK: (
        "authentication_required payment_intent_authentication_failure"
        " setup_intent_authentication_failure"
        " expired_card incorrect_cvc invalid_cvc incorrect_zip invalid_expiry_month"
        " invalid_expiry_year new_account_information_available"
        " card_not_supported currency_not_supported"
    ),
    Advice.STOP: (
        "incorrect_number lost_card stolen_card pickup_card revocation_of_authorization"
        " revocation_of_all_authorizations highest_risk_level transaction_not_allowed"
        " fraudulent merchant_blacklist restricted_card security_violation stop_payment_order"
        " do_not_try_again invalid_account pin_try_exceeded previously_declined_do_not_retry"
    ),
    Advice.LOOK_UP: "duplicate_transaction",
}
DECLINES = {code: advice for advice, codes in _BY_ADVICE.items() for code in codes.split()}

# Of these the customer is told "declined" and no more.
UNTOLD = declines.UNTOLD & DECLINES.keys()

# A bank that sends a debit back says why in the error's code. Its scheme (Nacha) lets a debit be
# presented twice more for want of money, and never again once the bank or the holder forbids it.
BANK_RETURNS = {
    "insufficient_funds": Advice.RETRY_TWICE,
    **dict.fromkeys(
        (
            "account_closed no_account debit_not_authorized bank_account_declined"
            " bank_account_restricted bank_account_unusable payment_method_bank_account_blocked"
        ).split(),
        Advice.STOP,
    ),
    "payment_intent_mandate_invalid": Advice.ASK,
}

# These say that our request was wrong, though Stripe tells them as declines.
OUR_FAULTS = frozenset({"invalid_amount"})


@dataclass(frozen=True, kw_only=True)
class Signals:
    """Everything a decline told us; empty where it said nothing. `brand` is Stripe's, in lower."""

    code: str = ""
    decline_code: str = ""
    advice_code: str = ""
    network_advice_code: str = ""
    network_decline_code: str = ""
    brand: str = ""
    is_bank: bool = False


def advice_for(signals: Signals) -> Advice:
    """Return what a decline asks of us; a signal that is not listed stops and asks for a person."""
    if signals.advice_code:
        return ADVICE.get(signals.advice_code, Advice.STOP_AND_REVIEW)
    if signals.network_advice_code:
        return NETWORK_ADVICE.get(signals.network_advice_code, Advice.STOP_AND_REVIEW)
    if signals.brand == "visa" and signals.network_decline_code in VISA_CATEGORY_1:
        return Advice.STOP
    if signals.is_bank and signals.code in BANK_RETURNS:
        return BANK_RETURNS[signals.code]
    return DECLINES.get(signals.decline_code or signals.code, Advice.STOP_AND_REVIEW)


RETRIES = frozenset({Advice.RETRY, Advice.RETRY_ONCE, Advice.RETRY_TWICE})


def wait_at_least_s(signals: Signals) -> int:
    """Return the network's shortest wait before another try; 0 where it names none.

    It holds whenever the decline may be tried again, also when Stripe's own advice decided that.
    """
    if advice_for(signals) not in RETRIES:
        return 0
    return NETWORK_WAIT_S.get(signals.network_advice_code, 0)
