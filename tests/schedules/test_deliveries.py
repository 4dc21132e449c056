"""The steps of deliveries, and when an endpoint is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from schedules.deliveries import (
    FEWEST_FAILURES,
    GIVEN_UP_AFTER,
    LONGEST_ASKED_S,
    STEPS_S,
    is_given_up,
    next_attempt_at,
)

LAST = datetime(2026, 11, 23, 12, tzinfo=UTC)


def wait_s(tries: int, spread: float = 0.0, asked_s: float | None = None) -> float | None:
    at = next_attempt_at(tries, last=LAST, spread=spread, asked_s=asked_s)
    return None if at is None else (at - LAST).total_seconds()


def test_each_failure_waits_its_step_and_the_last_waits_for_nothing():
    minute, hour = 60, 3600
    told = [5, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 10 * hour]
    assert [wait_s(tries) for tries in range(1, 9)] == [*told, None]


@pytest.mark.parametrize(("spread", "more"), [(0.0, 1.0), (0.5, 1.05), (1.0, 1.1)])
def test_a_step_is_spread_by_up_to_a_tenth(spread, more):
    assert wait_s(2, spread) == pytest.approx(300 * more)


@pytest.mark.parametrize(
    ("asked_s", "waited_s"),
    [(None, 300), (0, 300), (299, 300), (301, 301), (10**9, LONGEST_ASKED_S)],
)
def test_what_is_asked_for_counts_where_it_is_longer_within_bounds(asked_s, waited_s):
    assert wait_s(2, asked_s=asked_s) == waited_s


def test_asking_for_time_adds_no_attempt():
    assert wait_s(len(STEPS_S) + 1, asked_s=60) is None


@pytest.mark.parametrize(
    ("failures", "for_s", "is_over"),
    [
        (FEWEST_FAILURES, 0, True),
        (FEWEST_FAILURES - 1, 0, False),
        (FEWEST_FAILURES, -1, False),
        (1000, -3600, False),
    ],
)
def test_days_and_failures_both_must_be_enough(failures, for_s, is_over):
    moment = LAST + GIVEN_UP_AFTER + timedelta(seconds=for_s)
    assert is_given_up(failing_since=LAST, failures=failures, moment=moment) is is_over
