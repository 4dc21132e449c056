"""Cron expressions on a company's clock, also when the clock is put forward or back."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.crons import SHORTEST, BadCron, check, next_at

BERLIN = ZoneInfo("Europe/Berlin")


def runs(expression: str, after: datetime, number: int) -> list[datetime]:
    found = []
    for _ in range(number):
        after = next_at(expression, after=after, zone=BERLIN)
        found.append(after)
    return found


def test_seven_in_the_morning_stays_seven_when_the_clock_changes():
    spring = runs("0 7 * * *", datetime(2026, 3, 27, 12, tzinfo=UTC), 3)
    assert [each.hour for each in spring] == [6, 5, 5]
    autumn = runs("0 7 * * *", datetime(2026, 10, 23, 12, tzinfo=UTC), 3)
    assert [each.hour for each in autumn] == [5, 6, 6]


def test_a_time_that_is_skipped_is_taken_once_and_one_that_comes_twice_too():
    spring = runs("30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=UTC), 2)
    assert spring == [
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
    ]
    autumn = runs("30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=UTC), 2)
    assert [each.date().day for each in autumn] == [25, 26]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("* * * * *", "more often"),
        ("*/30 9 * * *", "more often"),
        ("0 0 31 2 *", "no cron"),
        ("0 0 * *", "five fields"),
        ("0 0 * * * *", "five fields"),
        ("now", "five fields"),
        ("a b c d e", "no cron"),
    ],
)
def test_what_never_comes_or_too_often_is_refused(expression, said):
    with pytest.raises(BadCron, match=said):
        check(expression, after=datetime(2026, 11, 24, tzinfo=UTC), zone=BERLIN)


@given(
    minute=st.integers(0, 59),
    hours=st.sampled_from(["*", "7", "*/6", "0,12"]),
    days=st.sampled_from(["*", "1", "L", "1-5"]),
    after=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001  made aware below
)
def test_the_next_time_is_always_later(minute, hours, days, after):
    times = runs(f"{minute} {hours} {days} * *", after.replace(tzinfo=UTC), 4)
    assert times[0] > after.replace(tzinfo=UTC)
    assert all(later - earlier >= SHORTEST for earlier, later in pairwise(times))
