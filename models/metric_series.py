"""Metrics over days, weeks or months: from what roll-ups keep to the lines of a chart.

What is kept adds up over days: a share over a week is that of the week's two sums, and a level is
what stood before and all that came. Money of other currencies is told in one; what has no rate
stands in a line of its own currency, and is in no sum of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Date, SQLColumnExpression, cast, func, select
from sqlalchemy.orm import Session

from models.analytics_events import Day
from models.daily_metrics import DailyMetric, Values, parts_of
from models.fx import NoConversion, Rates, rounded
from models.metric_registry import METRICS, Metric, Unit
from models.money import CURRENCIES
from models.overview import Scope

_SHARE = Decimal("0.0001")
_CENTS = Decimal("0.01")


class Granularity(StrEnum):
    """What a point of a line is about. A week begins on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Row(NamedTuple):
    """What a part of a metric comes to in one day, week or month, named by its first day."""

    name: str
    date: Day
    currency: str
    dimension: str
    value: Decimal


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which metrics, over which days, both included."""

    metrics: tuple[str, ...]
    since: date
    until: date
    granularity: Granularity = Granularity.DAY
    by_dimension: bool = False

    def before(self) -> Asked:
        """Return the same of as many days right before."""
        days = (self.until - self.since).days + 1
        since, until = self.since - timedelta(days=days), self.since - timedelta(days=1)
        return Asked(
            metrics=self.metrics,
            since=since,
            until=until,
            granularity=self.granularity,
            by_dimension=self.by_dimension,
        )

    def begins(self) -> list[date]:
        """Return the first day of each point; that of the first may be before `since`."""
        return list(dict.fromkeys(map(self.begin_of, days_of(self.since, self.until))))

    def begin_of(self, day: date) -> date:
        """Return the first day of the point that a day is in."""
        if self.granularity is Granularity.WEEK:
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self.granularity is Granularity.MONTH else day

    def parts(self) -> set[str]:
        """Return the names under which what is asked for is kept."""
        return {part for name in self.metrics for part in parts_of(METRICS[name])}


@dataclass(frozen=True)
class Sums:
    """What is kept of what was asked for.

    Attributes:
        rows: by point.
        opening: of levels, what all days before come to; their date says nothing.
        whole: of what does not add up over points, what the whole time comes to.
    """

    rows: list[Row]
    opening: list[Row] = field(default_factory=list)
    whole: dict[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One metric, of one currency and dimension where it has them."""

    metric: Metric
    currency: str
    dimension: str
    points: Sequence[tuple[date, Decimal | None]]
    total: Decimal | None


def days_of(since: date, until: date) -> Iterator[date]:
    """Return all days from one to another."""
    return (since + timedelta(days=number) for number in range((until - since).days + 1))


def stored(session: Session, scope: Scope, asked: Asked, *, but: date | None) -> Sums:
    """Return what roll-ups keep of it: two statements, and two for what counts companies.

    Args:
        but: a day that is left out, for it is read elsewhere.
    """
    metrics = [METRICS[name] for name in asked.metrics]
    counted = {each.name for each in metrics if each.is_of_companies}
    within: list[Any] = [DailyMetric.date.between(asked.since, asked.until)]
    if but is not None:
        within.append(DailyMetric.date != but)
    summed = sorted(asked.parts() - counted)
    rows = _rows(session, scope, asked, summed, within, _begin(asked.granularity))
    levels = sorted(
        part
        for each in metrics
        if each.is_level or each.is_per_level
        for part in parts_of(each)
        if not part.endswith(":terms")
    )
    before = [DailyMetric.date < asked.since]
    opening = _rows(session, scope, asked, levels, before, cast(asked.since, Date))
    found = Sums(rows, opening)
    for name in sorted(counted):
        _count_companies(session, scope, asked, name, found)
    return found


def with_day(sums: Sums, asked: Asked, day: date, values: Values) -> Sums:
    """Return sums with those of one more day, which they lack."""
    parts = asked.parts()
    rows = [
        Row(
            cell.name,
            asked.begin_of(day),
            cell.currency,
            cell.dimension if asked.by_dimension else "",
            value,
        )
        for cell, value in values.items()
        if cell.name in parts
    ]
    return Sums([*sums.rows, *rows], sums.opening, sums.whole)


def _begin(granularity: Granularity) -> SQLColumnExpression[Any]:
    day = DailyMetric.date
    if granularity is Granularity.WEEK:
        return func.subdate(day, func.weekday(day))
    if granularity is Granularity.MONTH:
        return func.subdate(day, func.dayofmonth(day) - 1)
    return day


def _rows(
    session: Session,
    scope: Scope,
    asked: Asked,
    names: Sequence[str],
    within: Iterable[Any],
    begin: SQLColumnExpression[Any],
) -> list[Row]:
    if not names:
        return []
    kept = DailyMetric
    keys = [kept.metric_name, begin.label("starts"), kept.currency]
    if asked.by_dimension:
        keys.append(kept.dimension)
    query = (
        select(*keys, func.sum(kept.metric_value))
        .where(kept.metric_name.in_(names), *within)
        .group_by(kept.metric_name, "starts", *keys[2:])
    )
    found = session.execute(scope.of(query, kept.company_id)).all()
    if asked.by_dimension:
        return [Row(*row) for row in found]
    return [Row(name, day, currency, "", value) for name, day, currency, value in found]


def _count_companies(session: Session, scope: Scope, asked: Asked, name: str, found: Sums) -> None:
    starts: Any = _begin(asked.granularity).label("starts")
    number = func.count(DailyMetric.company_id.distinct())
    mine = (
        DailyMetric.metric_name == name,
        DailyMetric.date.between(asked.since, asked.until),
    )
    by_point = select(starts, number).where(*mine).group_by("starts")
    for day, companies in session.execute(scope.of(by_point, DailyMetric.company_id)):
        found.rows.append(Row(name, day, "", "", Decimal(companies)))
    whole = session.execute(scope.of(select(number).where(*mine), DailyMetric.company_id))
    found.whole[name] = Decimal(whole.scalar_one())


@dataclass
class Teller:
    """Tells money in one currency, and remembers of which there was an old rate, or none."""

    to: str
    rates: Rates
    stale: dict[str, datetime | None] = field(default_factory=dict)

    def tell(self, row: Row) -> Row:
        """Return a row in the one currency, exact; as it is if there is no rate."""
        if row.currency in {"", self.to}:
            return row
        try:
            quote = self.rates.quote(row.currency, self.to)
        except NoConversion:
            self.stale[row.currency] = None
            return row
        if quote.is_stale:
            self.stale[row.currency] = quote.as_of
        return row._replace(currency=self.to, value=row.value * quote.rate)


_Key = tuple[str, str]
_ByPoint = dict[date, Decimal]


def lines(asked: Asked, sums: Sums, teller: Teller, *, today: date) -> list[Line]:
    """Return the lines of what was asked for; of each metric there is one at least.

    Args:
        today: points that begin later have no value.
    """
    rows = _added(map(teller.tell, sums.rows))
    opening = _added(map(teller.tell, sums.opening))
    begins = [each for each in asked.begins() if each <= today]
    later = [each for each in asked.begins() if each > today]
    found = []
    for metric in (METRICS[name] for name in asked.metrics):
        drawer = _Drawer(metric, rows, opening, sums.whole, begins)
        for currency, dimension in drawer.keys(teller.to):
            points, total = drawer.draw((currency, dimension))
            found.append(
                Line(
                    metric=metric,
                    currency=currency if metric.is_money else "",
                    dimension=dimension,
                    points=[*points, *((each, None) for each in later)],
                    total=total,
                )
            )
    return found


_Added = Mapping[str, Mapping[_Key, _ByPoint]]


def _added(rows: Iterable[Row]) -> _Added:
    found: dict[str, dict[_Key, _ByPoint]] = {}
    for row in rows:
        points = found.setdefault(row.name, {}).setdefault((row.currency, row.dimension), {})
        points[row.date] = points.get(row.date, Decimal(0)) + row.value
    return found


@dataclass(frozen=True)
class _Drawer:
    """Draws the lines of one metric."""

    metric: Metric
    rows: _Added
    opening: _Added
    whole: Mapping[str, Decimal]
    begins: Sequence[date]

    def keys(self, to: str) -> list[_Key]:
        """Return the currencies and dimensions of which there is anything."""
        known = {
            key
            for part in parts_of(self.metric)
            for each in (self.rows, self.opening)
            for key in each.get(part, {})
        }
        currency = to if self.metric.sums_money else ""
        if not self.metric.is_money:
            # A share has no currency: what has no rate is in none.
            known = {key for key in known if key[0] == currency}
        return sorted(known) or [(currency, "")]

    def draw(self, key: _Key) -> tuple[list[tuple[date, Decimal | None]], Decimal | None]:
        """Return the points and what they come to."""
        if self.metric.is_level:
            return self._level(key)
        if self.metric.per:
            return self._share(key)
        points = self._of(self.metric.name, key)
        total = self.whole.get(self.metric.name, sum(points.values(), Decimal(0)))
        told = self._teller(key)
        return [(each, told(points[each])) for each in self.begins], told(total)

    def _level(self, key: _Key) -> tuple[list[tuple[date, Decimal | None]], Decimal | None]:
        told, points = self._teller(key), self._of(self.metric.name, key)
        stood = self._before(self.metric.name, key)
        found: list[tuple[date, Decimal | None]] = []
        for each in self.begins:
            stood += points[each]
            found.append((each, told(stood)))
        return found, told(stood)

    def _share(self, key: _Key) -> tuple[list[tuple[date, Decimal | None]], Decimal | None]:
        terms = self._of(f"{self.metric.name}:terms", key)
        per = self._of(f"{self.metric.name}:per", key)
        if not self.metric.is_per_level:
            whole = _share(sum(terms.values(), Decimal(0)), sum(per.values(), Decimal(0)))
            return [(each, _share(terms[each], per[each])) for each in self.begins], whole
        began = stood = self._before(f"{self.metric.name}:per", key)
        found = []
        for each in self.begins:
            found.append((each, _share(terms[each], stood)))
            stood += per[each]
        return found, _share(sum(terms.values(), Decimal(0)), began)

    def _of(self, part: str, key: _Key) -> _ByPoint:
        known = self.rows.get(part, {}).get(key, {})
        return {each: known.get(each, Decimal(0)) for each in self.begins}

    def _before(self, part: str, key: _Key) -> Decimal:
        return sum(self.opening.get(part, {}).get(key, {}).values(), Decimal(0))

    def _teller(self, key: _Key) -> Callable[[Decimal], Decimal]:
        if self.metric.unit is Unit.COUNT:
            return lambda value: value.quantize(Decimal(1))
        if not self.metric.is_money:
            return lambda value: value.quantize(_SHARE)
        currency = key[0]
        if currency not in CURRENCIES:
            return lambda value: value.quantize(_CENTS)
        return lambda value: rounded(value, currency)


def _share(part: Decimal, whole: Decimal) -> Decimal | None:
    return (part / whole).quantize(_SHARE) if whole > 0 else None
