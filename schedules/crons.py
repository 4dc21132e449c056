"""When a cron expression comes next, on the clock of a company's zone. Pure.

A time that a clock skips is taken when the clock has been put forward, one that it shows twice is
taken once, as Debian's cron does it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FIELDS = 5
# More often than by the hour the figures are not rolled up anew.
SHORTEST = timedelta(hours=1)
_LOOKED_AT = 30


class BadCron(ValueError):
    """An expression that is no cron, never comes or comes too often; the message says which."""


def next_at(expression: str, *, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first time after a moment, in UTC.

    Raises:
        BadCron: it is none, or it never comes.
    """
    return _first(expression, after, zone, 1)[0]


def check(expression: str, *, after: datetime, zone: ZoneInfo) -> None:
    """Refuse what is no cron expression of five fields, never comes, or comes too often.

    Raises:
        BadCron: says why to a person.
    """
    if len(expression.split()) != FIELDS:
        raise BadCron("must have five fields: minute, hour, day, month and weekday")
    times = _first(expression, after, zone, _LOOKED_AT)
    if any(later - earlier < SHORTEST for earlier, later in pairwise(times)):
        raise BadCron("comes more often than once an hour")


def _first(expression: str, after: datetime, zone: ZoneInfo, number: int) -> list[datetime]:
    try:
        times = list(islice(CronSim(expression, after.astimezone(zone)), number))
    except CronSimError as error:
        raise BadCron(f"is no cron expression: {error}") from None
    if not times:
        raise BadCron("never comes")
    return [each.astimezone(UTC) for each in times]
