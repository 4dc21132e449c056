"""Calendar months, and stretches of time that follow one another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_LAST_MONTH = 12


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` on and before `end`, both in UTC."""

    start: datetime
    end: datetime

    def next(self) -> Span:
        """Return the one after it, as long."""
        return Span(self.end, self.end + (self.end - self.start))

    def following(self, *, until: datetime | None) -> Iterator[Span]:
        """Return those after it, each as long, up to the one that `until` lies in."""
        span = self
        while until is not None and until >= span.end:
            span = span.next()
            yield span

    def until(self, moment: datetime) -> Span:
        """Return the part that is over at a time that lies in it, and that moment."""
        return Span(self.start, min(self.end, moment + timedelta(microseconds=1)))

    def but(self, other: Span, *, around: datetime) -> Span:
        """Return what is left of it around a time that does not lie in `other`."""
        if other.start > around:
            return Span(self.start, min(self.end, other.start))
        return Span(max(self.start, other.end), self.end)


def month_of(moment: datetime, zone: str) -> Span:
    """Return the calendar month of a zone that a time lies in.

    Args:
        zone: an IANA name, such as Europe/Berlin.
    """
    local = moment.astimezone(ZoneInfo(zone))
    year, month = local.year, local.month
    after = (year + 1, 1) if month == _LAST_MONTH else (year, month + 1)
    return Span(_midnight(year, month, 1, zone), _midnight(*after, 1, zone))


def days_of(span: Span, zone: str) -> list[tuple[date, Span]]:
    """Return the days of a zone that a span has, in order; the first and last may be parts."""
    found: list[tuple[date, Span]] = []
    start = span.start
    while start < span.end:
        day = start.astimezone(ZoneInfo(zone)).date()
        following = day + timedelta(days=1)
        end = min(_midnight(following.year, following.month, following.day, zone), span.end)
        found.append((day, Span(start, end)))
        start = end
    return found


def _midnight(year: int, month: int, day: int, zone: str) -> datetime:
    # Where the first hour is skipped, the offset from before leads to the moment of the change.
    return datetime(year, month, day, tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)
