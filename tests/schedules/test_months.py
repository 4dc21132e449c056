from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from schedules.months import Span, days_of, month_of


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "moment", "start", "end"),
    [
        ("UTC", "2026-11-23T10:00", "2026-11-01T00:00", "2026-12-01T00:00"),
        ("UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("Asia/Kolkata", "2026-10-31T18:30", "2026-10-31T18:30", "2026-11-30T18:30"),
        ("Asia/Kolkata", "2026-10-31T18:29", "2026-09-30T18:30", "2026-10-31T18:30"),
        # Its clocks change within the month.
        ("Europe/Berlin", "2026-03-15T00:00", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("America/New_York", "2024-02-29T12:00", "2024-02-01T05:00", "2024-03-01T05:00"),
        # The first of this month began an hour late: midnight was skipped.
        ("America/Asuncion", "2017-10-01T12:00", "2017-10-01T04:00", "2017-11-01T03:00"),
    ],
)
def test_a_month_begins_and_ends_at_its_zones_midnights(zone, moment, start, end):
    assert month_of(at(moment), zone) == Span(at(start), at(end))


@pytest.mark.parametrize(
    "zone", ["UTC", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe"]
)
def test_months_and_their_days_follow_one_another_without_a_gap(zone):
    moment = at("2024-01-15T00:00")
    span = month_of(moment, zone)
    for _ in range(36):
        days = days_of(span, zone)
        assert [day for day, _ in days] == [
            days[0][0] + timedelta(days=number) for number in range(len(days))
        ]
        assert days[0][0].day == 1
        assert (days[0][1].start, days[-1][1].end) == (span.start, span.end)
        assert all(one[1].end == two[1].start for one, two in pairwise(days))
        following = month_of(span.end, zone)
        assert following.start == span.end
        span = following


def test_the_days_at_the_ends_of_a_span_may_be_parts():
    span = Span(at("2026-11-15T12:00"), at("2026-11-17T01:00"))
    assert days_of(span, "UTC") == [
        (date(2026, 11, 15), Span(span.start, at("2026-11-16T00:00"))),
        (date(2026, 11, 16), Span(at("2026-11-16T00:00"), at("2026-11-17T00:00"))),
        (date(2026, 11, 17), Span(at("2026-11-17T00:00"), span.end)),
    ]
