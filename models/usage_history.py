"""How much a company uses of a module: the current period, those before it, and day by day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from models.modules import CompanyModule
from models.usage import ModuleUsage, UsageTotal, span_at
from schedules.months import Span, days_of, month_of

# Periods before the current one that are told.
PERIODS = 12
# Days that are told; of a longer period the latest.
DAYS = 31


@dataclass(frozen=True)
class Used:
    """How much was used in a period, and when the company was told that it is much."""

    span: Span
    used: int = 0
    warned_at: datetime | None = None
    critical_at: datetime | None = None


def current(
    session: Session,
    module_id: UUID,
    held: CompanyModule | None,
    *,
    moment: datetime,
    zone: str,
) -> Used:
    """Return the period that `moment` lies in, as what was used then would be counted."""
    total = session.scalars(
        select(UsageTotal).where(
            UsageTotal.module_id == module_id,
            UsageTotal.period_start <= moment,
            UsageTotal.period_end > moment,
        )
    ).one_or_none()
    if total is not None:
        return _used(total)
    return Used(span_at(held, moment, zone) if held else month_of(moment, zone))


def before(session: Session, module_id: UUID, moment: datetime) -> Sequence[Used]:
    """Return the latest periods that ended at `moment` or before, newest first."""
    totals = session.scalars(
        select(UsageTotal)
        .where(UsageTotal.module_id == module_id, UsageTotal.period_end <= moment)
        .order_by(UsageTotal.period_start.desc())
        .limit(PERIODS)
    )
    return [_used(total) for total in totals]


def by_day(session: Session, module_id: UUID, span: Span, zone: str) -> list[tuple[date, int]]:
    """Return how much was used on each day of a zone that a period has, oldest first: one query.

    The first and the last may be parts of a day.
    """
    days = days_of(span, zone)[-DAYS:]
    # By where the days end: the database has no time zones.
    number = case(*((ModuleUsage.at < part.end, place) for place, (_, part) in enumerate(days)))
    rows = session.execute(
        select(number.label("number"), func.sum(ModuleUsage.quantity).label("used"))
        .where(
            ModuleUsage.module_id == module_id,
            ModuleUsage.at >= days[0][1].start,
            ModuleUsage.at < days[-1][1].end,
        )
        .group_by("number")
    )
    used = {row.number: int(row.used) for row in rows}
    return [(day, used.get(place, 0)) for place, (day, _) in enumerate(days)]


def _used(total: UsageTotal) -> Used:
    return Used(total.span, total.used, total.warned_at, total.critical_at)
