from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.gateways.base import Advice
from worker.gateways.stripe import codes
from worker.gateways.stripe.codes import Signals, advice_for, wait_at_least_s

HOUR_S = 3600
DAY_S = 86_400

# The agreed table, written out a second time on purpose: a slip in the data shows here.
BY_ADVICE_CODE = {
    "do_not_try_again": Advice.STOP,
    "confirm_card_data": Advice.ASK,
    "try_again_later": Advice.RETRY,
}
BY_NETWORK_ADVICE = {
    "01": (Advice.ASK, 0),
    "02": (Advice.RETRY, 72 * HOUR_S),
    "03": (Advice.STOP, 0),
    "21": (Advice.STOP, 0),
    "24": (Advice.RETRY, HOUR_S),
    "25": (Advice.RETRY, DAY_S),
    "26": (Advice.RETRY, 2 * DAY_S),
    "27": (Advice.RETRY, 4 * DAY_S),
    "28": (Advice.RETRY, 6 * DAY_S),
    "29": (Advice.RETRY, 8 * DAY_S),
    "30": (Advice.RETRY, 10 * DAY_S),
    "04": (Advice.STOP_AND_REVIEW, 0),
    "22": (Advice.STOP_AND_REVIEW, 0),
    "40": (Advice.STOP_AND_REVIEW, 0),
    "41": (Advice.STOP_AND_REVIEW, 0),
    "43": (Advice.STOP_AND_REVIEW, 0),
}
BY_DECLINE = {
    "insufficient_funds": Advice.RETRY,
    "card_velocity_exceeded": Advice.RETRY,
    "withdrawal_count_limit_exceeded": Advice.RETRY,
    "processing_error": Advice.RETRY,
    "issuer_not_available": Advice.RETRY,
    "try_again_later": Advice.RETRY,
    "reenter_transaction": Advice.RETRY,
    "approve_with_id": Advice.RETRY_ONCE,
    "do_not_honor": Advice.RETRY_TWICE,
    "generic_decline": Advice.RETRY_TWICE,
    "call_issuer": Advice.RETRY_TWICE,
    "no_action_taken": Advice.RETRY_TWICE,
    "authentication_required": Advice.ASK,
    "payment_intent_authentication_failure": Advice.ASK,
    "setup_intent_authentication_failure": Advice.ASK,
    "expired_card": Advice.ASK,
    "incorrect_cvc": Advice.ASK,
    "invalid_cvc": Advice.ASK,
    "incorrect_zip": Advice.ASK,
    "invalid_expiry_month": Advice.ASK,
    "invalid_expiry_year": Advice.ASK,
    "new_account_information_available": Advice.ASK,
    "card_not_supported": Advice.ASK,
    "currency_not_supported": Advice.ASK,
    "incorrect_number": Advice.STOP,
    "lost_card": Advice.STOP,
    "stolen_card": Advice.STOP,
    "pickup_card": Advice.STOP,
    "revocation_of_authorization": Advice.STOP,
    "revocation_of_all_authorizations": Advice.STOP,
    "highest_risk_level": Advice.STOP,
    "transaction_not_allowed": Advice.STOP,
    "fraudulent": Advice.STOP,
    "merchant_blacklist": Advice.STOP,
    "restricted_card": Advice.STOP,
    "security_violation": Advice.STOP,
    "stop_payment_order": Advice.STOP,
    "do_not_try_again": Advice.STOP,
    "invalid_account": Advice.STOP,
    "pin_try_exceeded": Advice.STOP,
    "previously_declined_do_not_retry": Advice.STOP,
    "duplicate_transaction": Advice.LOOK_UP,
}
BY_BANK_RETURN = {
    "insufficient_funds": Advice.RETRY_TWICE,
    "account_closed": Advice.STOP,
    "no_account": Advice.STOP,
    "debit_not_authorized": Advice.STOP,
    "bank_account_declined": Advice.STOP,
    "bank_account_restricted": Advice.STOP,
    "bank_account_unusable": Advice.STOP,
    "payment_method_bank_account_blocked": Advice.STOP,
    "payment_intent_mandate_invalid": Advice.ASK,
}
VISA_STOPS = ["04", "07", "12", "14", "15", "41", "43", "46", "57", "R0", "R1", "R3"]


@pytest.mark.parametrize(("code", "advice"), BY_DECLINE.items())
def test_a_decline_code_is_answered_as_the_table_says(code: str, advice: Advice) -> None:
    assert advice_for(Signals(code="card_declined", decline_code=code)) is advice
    assert advice_for(Signals(code=code)) is advice
    assert wait_at_least_s(Signals(decline_code=code)) == 0


@pytest.mark.parametrize(("code", "advice"), BY_ADVICE_CODE.items())
def test_an_advice_outranks_every_code(code: str, advice: Advice) -> None:
    for other in ("insufficient_funds", "stolen_card", "never_heard_of"):
        assert advice_for(Signals(advice_code=code, decline_code=other)) is advice
    assert advice_for(Signals(advice_code=code, network_advice_code="03")) is advice


@pytest.mark.parametrize(("code", "expected"), BY_NETWORK_ADVICE.items())
def test_a_networks_advice_outranks_the_decline_code(
    code: str, expected: tuple[Advice, int]
) -> None:
    signals = Signals(network_advice_code=code, decline_code="do_not_honor")

    assert (advice_for(signals), wait_at_least_s(signals)) == expected


@pytest.mark.parametrize(("code", "advice"), BY_BANK_RETURN.items())
def test_a_debit_that_came_back_is_presented_twice_more_at_most(code: str, advice: Advice) -> None:
    assert advice_for(Signals(code=code, is_bank=True)) is advice
    # A bank's words mean nothing of a card.
    assert advice_for(Signals(code=code)) is BY_DECLINE.get(code, Advice.STOP_AND_REVIEW)


@pytest.mark.parametrize("code", VISA_STOPS)
def test_visas_category_1_is_never_tried_again(code: str) -> None:
    visa = Signals(brand="visa", network_decline_code=code, decline_code="do_not_honor")
    amex = Signals(brand="amex", network_decline_code=code, decline_code="do_not_honor")

    assert advice_for(visa) is Advice.STOP
    assert advice_for(amex) is Advice.RETRY_TWICE


def test_visas_other_refusals_go_by_their_decline_code() -> None:
    soft = Signals(brand="visa", network_decline_code="51", decline_code="insufficient_funds")

    assert advice_for(soft) is Advice.RETRY


def test_the_networks_wait_holds_when_stripes_own_advice_decided() -> None:
    again = Signals(advice_code="try_again_later", network_advice_code="27")
    stopped = Signals(advice_code="do_not_try_again", network_advice_code="27")

    assert wait_at_least_s(again) == 4 * DAY_S
    assert wait_at_least_s(stopped) == 0


@pytest.mark.parametrize("signal", ["decline_code", "advice_code", "network_advice_code", "code"])
@given(word=st.text(min_size=1))
def test_a_signal_that_is_not_listed_stops_for_a_person(signal: str, word: str) -> None:
    listed = BY_DECLINE | BY_ADVICE_CODE | BY_NETWORK_ADVICE
    if word not in listed:
        assert advice_for(Signals(**{signal: word})) is Advice.STOP_AND_REVIEW


def test_a_decline_that_says_nothing_stops_for_a_person() -> None:
    assert advice_for(Signals()) is Advice.STOP_AND_REVIEW


def test_the_tables_hold_what_is_listed_here_and_no_more() -> None:
    assert codes.DECLINES == BY_DECLINE
    assert codes.ADVICE == BY_ADVICE_CODE
    assert codes.BANK_RETURNS == BY_BANK_RETURN
    assert {code: advice for code, (advice, _) in BY_NETWORK_ADVICE.items()} == codes.NETWORK_ADVICE
    assert set(VISA_STOPS) == codes.VISA_CATEGORY_1


def test_every_advice_has_a_cause() -> None:
    caused = {*codes.DECLINES.values(), *codes.ADVICE.values(), *codes.NETWORK_ADVICE.values()}

    assert caused == set(Advice)


def test_what_a_customer_is_not_told_stops_the_card() -> None:
    assert {codes.DECLINES[code] for code in codes.UNTOLD} == {Advice.STOP}
