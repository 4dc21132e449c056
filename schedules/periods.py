"""When billing periods begin and end: by the wall clock of the company's zone, told in UTC.

The n-th boundary is the anchor's local date and time n intervals on. The anchor's day is kept: of
31 January the boundaries are 28 or 29 February, then 31 March. A wall time that a zone skips is
taken as much later as it skips; of one that comes twice the first is meant.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

_MONTHS_A_YEAR = 12
# Up to here a date can be counted on; whoever asks beyond has made a mistake.
LAST_YEAR = 9990


class Interval(StrEnum):
    """What a period is counted in."""

    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Every:
    """How long a period is: so many months or years."""

    interval: Interval
    count: int = 1

    @property
    def months(self) -> int:
        """Return it in months."""
        return self.count * (_MONTHS_A_YEAR if self.interval is Interval.YEAR else 1)


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` on and before `end`, both in UTC and to the second."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> int:
        """Return how long it is."""
        return int((self.end - self.start).total_seconds())


def boundary(anchor: datetime, zone: str, every: Every, number: int) -> datetime:
    """Return where the period after `number` periods begins, in UTC.

    Args:
        anchor: where the first period begins, aware; boundary 0.
        zone: an IANA name, such as Europe/Berlin.
    """
    if number == 0:
        return anchor.astimezone(UTC)
    wall = anchor.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
    return at_wall(_months_on(wall, every.months * number), zone)


def period(anchor: datetime, zone: str, every: Every, number: int) -> Period:
    """Return the period of this number; the first is 1 and begins at the anchor."""
    return Period(boundary(anchor, zone, every, number - 1), boundary(anchor, zone, every, number))


def days_on(moment: datetime, zone: str, days: int) -> datetime:
    """Return the same wall time so many days later, in UTC: a day of a clock change counts one."""
    wall = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
    return at_wall(wall + timedelta(days=days), zone)


def moved_to(anchor: datetime, zone: str, new_zone: str) -> datetime:
    """Return the anchor of the same wall time in another zone, in UTC."""
    wall = anchor.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
    return at_wall(wall, new_zone)


def at_wall(wall: datetime, zone: str) -> datetime:
    """Return when a zone's clocks show `wall`, in UTC."""
    # With fold=0 a skipped time has the offset from before the change, which leads past it.
    return wall.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def _months_on(wall: datetime, months: int) -> datetime:
    counted = wall.year * _MONTHS_A_YEAR + wall.month - 1 + months
    year, month = divmod(counted, _MONTHS_A_YEAR)
    if year > LAST_YEAR:
        raise OverflowError(f"no period ends in the year {year}")
    last = monthrange(year, month + 1)[1]
    return wall.replace(year=year, month=month + 1, day=min(wall.day, last))
