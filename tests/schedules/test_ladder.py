"""The ladder as a pure table: every advice and count, any sequence, a thousand customers."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedules.declines import (
    ACTIONS,
    AUTHENTICATION,
    UNTOLD,
    Advice,
    CustomerAction,
    action_for,
    told_code,
)
from schedules.ladder import (
    MAX_CARD_DECLINES,
    SENTENCES,
    InvalidPolicy,
    Reason,
    RetryPolicy,
    Standing,
    Step,
    decide,
    spent,
    steps_ahead,
)
from tests.schedules.ninety_days import Customer
from tests.schedules.policy_table import Made, judge
from worker.gateways.paypal import codes as paypal
from worker.gateways.stripe import codes as stripe

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
DEFAULT = RetryPolicy()
CUSTOMERS = 1000


def standing(advice: Advice = Advice.RETRY, **values) -> Standing:
    given_values = {
        "declined_at": NOON,
        "retries": 0,
        "retries_on_advice": 0,
        "card_declines": 1,
        **values,
    }
    return Standing(advice=advice, **given_values)


ENDS = {
    Advice.ASK: (Step.ASKED, Reason.CUSTOMER_MUST_ACT),
    Advice.STOP: (Step.STOPPED, Reason.HARD_DECLINE),
    Advice.STOP_AND_REVIEW: (Step.IN_REVIEW, Reason.UNKNOWN_DECLINE),
    Advice.LOOK_UP: (Step.IN_REVIEW, Reason.POSSIBLE_DUPLICATE),
}
# By advice and retries made on it: whether one more may be scheduled.
AGAIN = {
    Advice.RETRY: (True, True, True, False),
    Advice.RETRY_TWICE: (True, True, False, False),
    Advice.RETRY_ONCE: (True, False, False, False),
}


def test_every_advice_is_answered_here():
    assert {*ENDS, *AGAIN} == set(Advice)


@pytest.mark.parametrize(("advice", "retries", "declines"), [*product(ENDS, range(4), (1, 10, 11))])
def test_what_is_not_soft_never_climbs(advice, retries, declines):
    decision = decide(standing(advice, retries=retries, card_declines=declines), DEFAULT)
    assert (decision.step, decision.reason) == ENDS[advice]
    assert decision.retry_at is None


@pytest.mark.parametrize(("advice", "retries"), [*product(AGAIN, range(4))])
def test_a_soft_decline_climbs_as_often_as_its_kind_may(advice, retries):
    decision = decide(standing(advice, retries=retries, retries_on_advice=retries), DEFAULT)
    if AGAIN[advice][retries]:
        assert decision.step is Step.SCHEDULED
        assert decision.retry_at == NOON + timedelta(hours=(24, 48, 72)[retries])
    else:
        reason = Reason.RETRIES_SPENT if retries == 3 else Reason.ADVICE_SPENT
        assert (decision.step, decision.reason) == (Step.EXHAUSTED, reason)
        assert decision.retry_at is None


def test_retries_after_other_declines_do_not_use_up_a_kinds_own():
    decision = decide(standing(Advice.RETRY_ONCE, retries=2, retries_on_advice=0), DEFAULT)
    assert decision.retry_at == NOON + timedelta(hours=72)


@pytest.mark.parametrize("advice", AGAIN)
def test_a_card_that_was_declined_ten_times_climbs_no_more(advice):
    last = standing(advice, card_declines=MAX_CARD_DECLINES)
    assert decide(last, DEFAULT).reason is Reason.CARD_SPENT
    ninth = standing(advice, card_declines=MAX_CARD_DECLINES - 1)
    assert decide(ninth, DEFAULT).step is Step.SCHEDULED


@pytest.mark.parametrize("policy", [RetryPolicy(()), RetryPolicy(is_enabled=False)])
def test_a_policy_that_is_off_schedules_nothing(policy):
    decision = decide(standing(), policy)
    assert (decision.step, decision.reason) == (Step.EXHAUSTED, Reason.POLICY_OFF)


def test_a_shorter_policy_ends_sooner():
    policy = RetryPolicy((1, 720))
    assert decide(standing(), policy).retry_at == NOON + timedelta(hours=1)
    assert decide(standing(retries=1), policy).retry_at == NOON + timedelta(days=30)
    assert decide(standing(retries=2), policy).reason is Reason.RETRIES_SPENT


@pytest.mark.parametrize("delays", [(24, 48, 72, 96), (0,), (721,), (24, -1), (24, 48, 1000)])
def test_a_policy_outside_the_limits_is_none(delays):
    with pytest.raises(InvalidPolicy):
        RetryPolicy(delays)


def test_a_networks_wait_outlasts_the_ladder():
    later = NOON + timedelta(days=10)
    decision = decide(standing(not_before=later), DEFAULT)
    assert (decision.retry_at, decision.reason) == (later, Reason.NETWORK_WAIT)


def test_a_networks_shorter_wait_does_not_hasten_the_ladder():
    decision = decide(standing(not_before=NOON + timedelta(hours=1)), DEFAULT)
    assert (decision.retry_at, decision.reason) == (
        NOON + timedelta(hours=24),
        Reason.SOFT_DECLINE,
    )


def test_a_retry_by_hand_keeps_the_date_that_stands():
    kept = NOON + timedelta(hours=5)
    decision = decide(standing(kept=kept), DEFAULT)
    assert (decision.retry_at, decision.reason) == (kept, Reason.SCHEDULE_KEPT)
    waiting = decide(standing(kept=kept, not_before=kept + timedelta(hours=1)), DEFAULT)
    assert waiting.retry_at == kept + timedelta(hours=1)


def test_a_date_that_has_passed_meanwhile_is_set_anew():
    decision = decide(standing(kept=NOON - timedelta(hours=1)), DEFAULT)
    assert decision.retry_at == NOON + timedelta(hours=24)


@pytest.mark.parametrize(
    ("declined_at", "first"),
    [
        # Clocks go forward in Berlin: the wall says a quarter past three, an hour later than 24 h.
        (
            datetime(2027, 3, 27, 2, 15, tzinfo=ZoneInfo("Europe/Berlin")),
            datetime(2027, 3, 28, 1, 15, tzinfo=UTC),
        ),
        # And back again.
        (
            datetime(2027, 10, 30, 2, 15, tzinfo=ZoneInfo("Europe/Berlin")),
            datetime(2027, 10, 31, 0, 15, tzinfo=UTC),
        ),
        (datetime(2027, 1, 31, 23, 59, tzinfo=UTC), datetime(2027, 2, 1, 23, 59, tzinfo=UTC)),
        (datetime(2028, 2, 28, 23, 0, tzinfo=UTC), datetime(2028, 2, 29, 23, 0, tzinfo=UTC)),
        (datetime(2027, 12, 31, 12, 0, tzinfo=UTC), datetime(2028, 1, 1, 12, 0, tzinfo=UTC)),
        # Half an hour off UTC.
        (
            datetime(2027, 5, 1, 0, 0, tzinfo=ZoneInfo("Asia/Kolkata")),
            datetime(2027, 5, 1, 18, 30, tzinfo=UTC),
        ),
    ],
)
def test_hours_are_hours_of_utc(declined_at, first):
    decision = decide(standing(declined_at=declined_at), DEFAULT)
    assert decision.retry_at == first
    assert decision.retry_at.utcoffset() == timedelta(0)
    assert decision.retry_at - declined_at.astimezone(UTC) == timedelta(hours=24)


@pytest.mark.parametrize("off", [timedelta(hours=-1), timedelta(hours=1)])
def test_a_clock_that_is_an_hour_off_moves_the_date_by_an_hour(off):
    right, wrong = decide(standing(), DEFAULT), decide(standing(declined_at=NOON + off), DEFAULT)
    assert wrong.retry_at - right.retry_at == off


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="has no time zone"):
        decide(standing(declined_at=NOON.replace(tzinfo=None)), DEFAULT)


def test_coming_steps_follow_each_other():
    assert steps_ahead(NOON, 1, DEFAULT) == [
        NOON,
        NOON + timedelta(hours=48),
        NOON + timedelta(hours=48 + 72),
    ]
    assert steps_ahead(NOON, 3, DEFAULT) == [NOON]


counts = st.integers(0, 12)
policies = st.lists(st.integers(1, 720), max_size=3).map(lambda hours: RetryPolicy(tuple(hours)))
times = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(max_examples=300)
@given(
    advice=st.sampled_from(Advice),
    retries=counts,
    on_advice=counts,
    declines=counts,
    declined_at=times,
    not_before=st.none() | times,
    kept=st.none() | times,
    policy=policies,
)
def test_whatever_stands_no_limit_is_passed(  # noqa: PLR0917
    advice, retries, on_advice, declines, declined_at, not_before, kept, policy
):
    given_standing = Standing(
        advice=advice,
        retries=retries,
        retries_on_advice=on_advice,
        card_declines=declines,
        declined_at=declined_at,
        not_before=not_before,
        kept=kept,
    )
    decision = decide(given_standing, policy)
    assert (decision.retry_at is not None) == (decision.step is Step.SCHEDULED)
    if decision.retry_at is None:
        return
    assert advice in AGAIN
    assert retries < min(3, len(policy.delays_h))
    assert on_advice < sum(AGAIN[advice])
    assert declines < 10
    assert decision.retry_at > declined_at
    assert not_before is None or decision.retry_at >= not_before
    if kept is None or kept <= declined_at:
        assert decision.retry_at >= declined_at + timedelta(hours=policy.delays_h[retries])


@settings(max_examples=200)
@given(advices=st.lists(st.sampled_from(sorted(AGAIN)), max_size=8), policy=policies)
def test_no_sequence_of_soft_declines_climbs_beyond_the_table(advices, policy):
    on_advice: Counter[Advice] = Counter()
    retries, moment = 0, NOON
    for declines, advice in enumerate(advices, start=1):
        decision = decide(
            standing(
                advice,
                declined_at=moment,
                retries=retries,
                retries_on_advice=on_advice[advice],
                card_declines=declines,
            ),
            policy,
        )
        if decision.step is not Step.SCHEDULED:
            break
        retries += 1
        on_advice[advice] += 1
        moment = decision.retry_at
    assert retries <= len(policy.delays_h)
    assert all(number <= sum(AGAIN[advice]) for advice, number in on_advice.items())
    assert moment - NOON == timedelta(hours=sum(policy.delays_h[:retries]))


def test_a_thousand_customers_over_ninety_days_stay_within_the_table():
    triggers: Counter[bool] = Counter()
    for seed in range(CUSTOMERS):
        attempts = Customer(seed).live()
        found = judge(attempts)
        assert not found, f"seed {seed}: {found[0]}"
        triggers.update(attempt.is_ladder for attempt in attempts)
    assert triggers[True] > CUSTOMERS
    assert triggers[False] > CUSTOMERS


@pytest.mark.parametrize(
    "attempts",
    [
        [("insufficient_funds", 0), ("insufficient_funds", 23)],
        [("stolen_card", 0), ("processing_error", 30)],
        [("approve_with_id", 0), ("approve_with_id", 24), ("approve_with_id", 80)],
        [("do_not_honor", hours) for hours in (0, 24, 72, 150)],
        [("processing_error", hours) for hours in (0, 24, 72, 144, 300)],
    ],
)
def test_the_judge_sees_what_is_outside_the_table(attempts):
    made = [
        Made(NOON + timedelta(hours=hours), "an invoice", "a card", number > 0, code)
        for number, (code, hours) in enumerate(attempts)
    ]
    assert judge(made[:-1]) == []
    assert judge(made)


def test_the_judge_sees_a_networks_wait_and_a_spent_card():
    waiting = Made(NOON, "an invoice", "a card", False, "do_not_honor", "30")  # noqa: FBT003
    early = Made(NOON + timedelta(days=9), "an invoice", "a card", True)  # noqa: FBT003
    assert judge([waiting, early])
    many = [
        Made(NOON + timedelta(days=day), f"invoice {day}", "a card", False, "do_not_honor")  # noqa: FBT003
        for day in range(11)
    ]
    assert judge(many[:10]) == []
    assert judge(many)


def test_every_reason_and_action_is_a_sentence():
    assert SENTENCES.keys() == set(Reason)
    assert ACTIONS.keys() == set(CustomerAction)
    assert all(said.endswith(".") for said in (*SENTENCES.values(), *ACTIONS.values()))


@pytest.mark.parametrize("advice", Advice)
def test_every_advice_says_what_the_customer_must_do(advice):
    assert action_for(advice) in CustomerAction
    told = {action_for(advice, code) for code in ("", "insufficient_funds", "expired_card")}
    asks = {Advice.ASK, Advice.STOP, Advice.RETRY_ONCE, Advice.RETRY_TWICE}
    assert (CustomerAction.NONE not in told) == (advice in asks)


def test_only_the_browser_helps_where_the_bank_wants_the_customer():
    for code in AUTHENTICATION:
        assert action_for(Advice.ASK, code) is CustomerAction.AUTHENTICATE
    assert action_for(Advice.ASK, "expired_card") is CustomerAction.UPDATE_CARD
    assert action_for(Advice.ASK, "card_not_supported") is CustomerAction.USE_ANOTHER_METHOD


def test_whoever_pays_by_paypal_is_asked_for_another_way():
    asked = [code for code, advice in paypal.DECLINES.items() if advice is Advice.ASK]
    assert {action_for(Advice.ASK, code) for code in asked} == {CustomerAction.USE_ANOTHER_METHOD}


def test_every_provider_keeps_the_same_things_from_the_customer():
    assert {code.lower() for code in paypal.UNTOLD} | stripe.UNTOLD == UNTOLD


def test_what_a_thief_must_not_hear_is_told_as_a_decline():
    assert {told_code(code) for code in UNTOLD} == {"card_declined"}
    assert told_code("LOST_OR_STOLEN") == "card_declined"
    assert told_code("insufficient_funds") == "insufficient_funds"


def test_a_limit_that_is_met_by_now_is_seen_before_the_retry():
    assert spent(standing(), DEFAULT) is None
    assert spent(standing(retries=3), DEFAULT) is Reason.RETRIES_SPENT
