"""Periods by the wall clock of a zone, and parts of amounts that sum to the whole."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedules.periods import Every, Interval, Period, at_wall, boundary, days_on, moved_to, period
from schedules.proration import share, unused, used

MONTHLY, YEARLY = Every(Interval.MONTH), Every(Interval.YEAR)
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe",
    "Pacific/Apia", "America/Sao_Paulo", "Africa/Casablanca", "Pacific/Kiritimati",
)  # fmt: skip
zones = st.sampled_from(ZONES)
anchors = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001  hypothesis adds the zone
    max_value=datetime(2040, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=0))
intervals = st.builds(Every, st.sampled_from(Interval), st.integers(1, 14))


def at(*when: int, zone: str = "UTC") -> datetime:
    return datetime(*when, tzinfo=ZoneInfo(zone)).astimezone(UTC)  # type: ignore[misc,arg-type]


def days(anchor: datetime, every: Every, number: int, zone: str = "UTC") -> list[str]:
    found = [boundary(anchor, zone, every, each) for each in range(number)]
    return [f"{each.astimezone(ZoneInfo(zone)):%Y-%m-%d}" for each in found]


def test_the_anchors_day_is_kept_through_short_months():
    assert days(at(2027, 1, 31), MONTHLY, 5) == [
        "2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31",
    ]  # fmt: skip
    assert days(at(2028, 1, 30), MONTHLY, 3) == ["2028-01-30", "2028-02-29", "2028-03-30"]


def test_a_leap_day_comes_back_every_fourth_year():
    assert days(at(2028, 2, 29), YEARLY, 5) == [
        "2028-02-29", "2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29",
    ]  # fmt: skip


def test_the_day_is_the_companys_and_not_that_of_utc():
    # 1 March in Auckland is still February in UTC.
    anchor = at(2027, 1, 31, 9, zone="Pacific/Auckland")
    assert anchor.day == 30
    assert days(anchor, MONTHLY, 3, "Pacific/Auckland") == [
        "2027-01-31",
        "2027-02-28",
        "2027-03-31",
    ]


def test_the_wall_clock_stays_when_the_clocks_change():
    anchor = at(2027, 3, 1, 9, zone="Europe/Berlin")
    assert [boundary(anchor, "Europe/Berlin", MONTHLY, each).hour for each in range(3)] == [8, 7, 7]


def test_a_time_that_is_skipped_goes_forward_and_of_one_that_comes_twice_the_first_is_meant():
    # 28 March 2027, 2:00 to 3:00 in Berlin; 31 October 2027, 3:00 to 2:00.
    anchor = at(2027, 2, 28, 2, 30, zone="Europe/Berlin")
    assert boundary(anchor, "Europe/Berlin", MONTHLY, 1) == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)
    anchor = at(2027, 8, 31, 2, 30, zone="Europe/Berlin")
    assert boundary(anchor, "Europe/Berlin", MONTHLY, 2) == datetime(
        2027, 10, 31, 0, 30, tzinfo=UTC
    )


def test_a_company_that_moves_keeps_its_wall_time():
    anchor = at(2027, 1, 31, 9, zone="Europe/Berlin")
    assert moved_to(anchor, "Europe/Berlin", "Asia/Tokyo") == at(2027, 1, 31, 9, zone="Asia/Tokyo")


def test_a_day_is_a_day_also_when_it_has_23_hours():
    start = at(2027, 3, 27, 12, zone="Europe/Berlin")
    assert days_on(start, "Europe/Berlin", 1) - start == timedelta(hours=23)


def test_a_period_that_no_calendar_reaches_is_refused():
    with pytest.raises(OverflowError):
        boundary(at(2027, 1, 1), "UTC", YEARLY, 9000)


@settings(max_examples=150, deadline=None)
@given(anchors, zones, intervals, st.integers(0, 40))
def test_periods_follow_each_other_without_gap_and_the_day_is_kept(anchor, zone, every, first):
    bounds = [boundary(anchor, zone, every, first + each) for each in range(6)]
    assert all(before < after for before, after in pairwise(bounds))
    assert period(anchor, zone, every, first + 1) == Period(bounds[0], bounds[1])
    wall = anchor.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    for number, bound in enumerate(bounds, first):
        months = wall.month - 1 + every.months * number
        year, month = wall.year + months // 12, months % 12 + 1
        day = min(wall.day, monthrange(year, month)[1])
        expected = wall.replace(year=year, month=month, day=day, fold=0)
        told = bound.astimezone(ZoneInfo(zone))
        if number == 0:
            assert bound == anchor
        elif at_wall(expected, zone).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == expected:
            assert told.replace(tzinfo=None, fold=0) == expected
            assert told.fold == 0
        else:  # the zone skips it, in Samoa once a whole day
            assert told.replace(tzinfo=None) > expected


amounts = st.decimals(-(10**9), 10**9, places=2)
whole_amounts = st.integers(-(10**9), 10**9).map(
    lambda each: Decimal(each).quantize(Decimal("0.01"))
)
moments = st.lists(st.integers(-100, 3_000_000), max_size=8)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from([0, 2]), moments, st.integers(1, 2_900_000))
def test_the_parts_of_a_period_sum_to_the_whole(data, places, cuts, length):
    amount = data.draw(whole_amounts if places == 0 else amounts)
    start = datetime(2027, 1, 1, tzinfo=UTC)
    whole = Period(start, start + timedelta(seconds=length))
    edges = [start, *sorted(start + timedelta(seconds=each) for each in cuts), whole.end]
    edges = [max(start, min(edge, whole.end)) for edge in edges]
    parts = [share(amount, whole, a, b, places=places) for a, b in pairwise(edges)]
    assert sum(parts) == amount
    assert all(part == round(part, places) for part in parts)
    for edge in edges:
        left = unused(amount, whole, edge, places=places)
        assert used(amount, whole, edge, places=places) + left == amount
        exact = amount * Decimal((edge - start).total_seconds()) / length
        assert abs(used(amount, whole, edge, places=places) - exact) <= Decimal(10) ** -places / 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2_591_999), st.integers(0, 10**6)), max_size=6))
def test_any_number_of_changes_costs_what_each_was_used(changes):
    """Change by change: what is left of the old comes back, what is left of the new is asked."""
    start = datetime(2027, 4, 1, tzinfo=UTC)
    month = Period(start, start + timedelta(days=30))
    asked = Decimal("99.99")
    billed, segments, since = asked, [], start
    for seconds, cents in sorted(changes):
        at, after = start + timedelta(seconds=seconds), Decimal(cents) / 100
        billed += unused(after, month, at, places=2) - unused(asked, month, at, places=2)
        segments.append(share(asked, month, since, at, places=2))
        asked, since = after, at
    segments.append(share(asked, month, since, month.end, places=2))
    assert billed == sum(segments)


def test_half_a_cent_goes_to_the_even_one():
    start = datetime(2027, 1, 1, tzinfo=UTC)
    half = Period(start, start + timedelta(seconds=2))
    middle = start + timedelta(seconds=1)
    told = [used(Decimal(each), half, middle, places=2) for each in ("0.01", "0.03", "-0.01")]
    assert told == [Decimal("0.00"), Decimal("0.02"), Decimal("0.00")]
    # Rounded by itself, the other half would be lost as well.
    assert unused(Decimal("0.01"), half, middle, places=2) == Decimal("0.01")
