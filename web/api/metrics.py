"""Metrics: which there are, and how they went over days."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from models import daily_metrics, metric_series
from models.clock import now
from models.daily_metrics import Cell, Values
from models.fx import rates_at
from models.metric_registry import METRICS, Metric, Unit
from models.metric_series import Asked, Granularity, Line, Sums, Teller
from models.overview import Scope
from models.reports import today_of
from models.tenants import Permission, Role
from web.auth import allowed, caller
from web.problems import Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import Currency, Day, Moment
from web.totals import wanted_currency
from worker.caching import get_or_fetch
from worker.database import transaction
from worker.figures import LIFE_S, series_of
from worker.figures import today_of as key_of_today
from worker.fx.policy import fx_policy

routes = Routes("metrics", __name__, url_prefix="/api/v1/metrics")

MOST_POINTS = 1100
# Of all metrics, whose names are in one line.
MOST_NAMED = 2000
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2100, 1, 1)
DEFAULT_DAYS = 30
# Who looks at today again within this time sees the same.
TODAY_S = 10.0


class MetricAnswer(BaseModel):
    """A metric. `dimension` is what its parts are by, and empty where it has none."""

    name: str
    about: str
    unit: Unit
    dimension: str
    is_level: bool
    is_for_operators: bool


class MetricsAnswer(BaseModel):
    """All metrics that the caller may ask for."""

    data: list[MetricAnswer]


class SeriesQuery(Input):
    """What over which days, both included, in the company's time zone."""

    metrics: Annotated[str, Field(min_length=1, max_length=MOST_NAMED)] = Field(
        description="Names, with commas between them."
    )
    from_: Day | None = Field(None, alias="from", description="30 days until `to` by default.")
    to: Day | None = Field(None, description="Today by default.")
    granularity: Granularity = Granularity.DAY
    by: Literal["dimension"] | None = Field(None, description="A line for each part.")
    compare: Literal["previous"] | None = Field(
        None, description="Along with as many days right before."
    )
    currency: Currency | None = Field(
        None, description="What money is told in; the company's by default."
    )


class PointAnswer(BaseModel):
    """A value, named by the first day of its time; null where there is none."""

    date: Day
    value: str | None


class PreviousAnswer(BaseModel):
    """The line of the days before."""

    from_: Day = Field(alias="from")
    to: Day
    points: list[PointAnswer]
    total: str | None


class SeriesAnswer(BaseModel):
    """One line. `total` is of the whole time: of a level its end, of a share that of all."""

    metric: str
    unit: Unit
    currency: str
    dimension: str
    points: list[PointAnswer]
    total: str | None
    previous: PreviousAnswer | None = None


class StaleRateAnswer(BaseModel):
    """A currency whose rate is old. With no `as_of` there is none: it is in lines of its own."""

    currency: str
    as_of: Moment | None


class AllSeriesAnswer(BaseModel):
    """The lines of all metrics that were asked for."""

    data: list[SeriesAnswer]
    from_: Day = Field(alias="from")
    to: Day
    granularity: Granularity
    currency: str
    stale_rates: list[StaleRateAnswer]


@routes.get("", responses={200: MetricsAnswer})
@allowed()
def list_metrics() -> Response:
    """List the metrics that there are."""
    _check()
    names = MetricAnswer.model_fields
    data = [
        {name: getattr(each, name) for name in names} for each in METRICS.values() if _is_for(each)
    ]
    return respond({"data": data})


def _check() -> None:
    """Refuse whoever may not read; an operator need not name a company."""
    if Permission.ANALYTICS_READ not in caller().permissions:
        raise Problem("forbidden", f"This needs the permission {Permission.ANALYTICS_READ}.")


def _is_for(metric: Metric) -> bool:
    return not metric.is_for_operators or caller().role is Role.OPERATOR


@routes.get("/series", responses={200: AllSeriesAnswer})
@allowed()
def read_series(query: SeriesQuery) -> Response:
    """Return how metrics went: one line each, or one for each part.

    Past days are as they were rolled up, a few minutes old at most; today is read as it is now. An
    operator who names no company sees all of the tenant's together, today as it was rolled up, and
    days as each company has them.
    """
    _check()
    who = caller()
    scope = Scope(who.tenant_id, who.company_in_sight)
    with transaction(company_id=scope.company_id) as session:
        today = today_of(session, scope.company_id, now())
        to = wanted_currency(session, query.currency)
    asked = _asked(query, scope, today)
    spans = [asked, asked.before()] if query.compare else [asked]
    sums = [_sums(scope, each, today) for each in spans]
    with transaction(company_id=scope.company_id) as session:
        teller = _teller(session, to, sums)
    drawn = [
        metric_series.lines(each, found, teller, today=today)
        for each, found in zip(spans, sums, strict=True)
    ]
    data = [_shown(each) for each in drawn[0]]
    if query.compare:
        _compare(data, drawn[1], spans[1])
    stale = [
        {"currency": currency, "as_of": as_of} for currency, as_of in sorted(teller.stale.items())
    ]
    return respond(
        {
            "data": data,
            "from": asked.since,
            "to": asked.until,
            "granularity": asked.granularity,
            "currency": to,
            "stale_rates": stale,
        }
    )


def _asked(query: SeriesQuery, scope: Scope, today: date) -> Asked:
    until = query.to or max(today, query.from_ or today)
    since = query.from_ or until - timedelta(days=DEFAULT_DAYS - 1)
    if since < FIRST_DAY:
        raise invalid("from", f"must be {FIRST_DAY} or later")
    if until > LAST_DAY:
        raise invalid("to", f"must be {LAST_DAY} or earlier")
    if since > until:
        raise invalid("to", "must not be before from")
    asked = Asked(
        metrics=_names(query.metrics, scope),
        since=since,
        until=until,
        granularity=query.granularity,
        by_dimension=query.by is not None,
    )
    if len(asked.begins()) > MOST_POINTS:
        raise invalid(
            "from", f"makes more than {MOST_POINTS} points: ask for fewer days, weeks or months"
        )
    return asked


def _names(text: str, scope: Scope) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        metric = METRICS.get(name)
        if metric is None or not _is_for(metric):
            raise invalid("metrics", f"has no {name!r}: see GET /api/v1/metrics")
        if metric.is_of_companies and scope.company_id is not None:
            raise invalid("metrics", f"{name} is told over all companies: name none")
    return names


def _sums(scope: Scope, asked: Asked, today: date) -> Sums:
    """Return what it comes to: past days as they are kept for an hour, today as it is now."""
    company_id = scope.company_id
    if company_id is None:
        return _stored(scope, asked, None)
    words = [*asked.metrics, asked.since, asked.until, asked.granularity, asked.by_dimension, today]
    digest = hashlib.sha256(",".join(map(str, words)).encode()).hexdigest()[:32]
    sums = get_or_fetch(
        series_of(company_id, digest),
        life_s=LIFE_S,
        kind=Sums,
        fetch=lambda: _stored(scope, asked, today),
    ) or _stored(scope, asked, today)
    if not asked.since <= today <= asked.until:
        return sums
    values = get_or_fetch(
        key_of_today(company_id, today.isoformat()),
        life_s=TODAY_S,
        kind=list[tuple[Cell, Decimal]],
        fetch=lambda: list(_live(scope, today).items()),
    )
    return metric_series.with_day(sums, asked, today, dict(values or []))


def _stored(scope: Scope, asked: Asked, but: date | None) -> Sums:
    with transaction(company_id=scope.company_id) as session:
        return metric_series.stored(session, scope, asked, but=but)


def _live(scope: Scope, today: date) -> Values:
    company_id = scope.company_id
    if company_id is None:
        return {}
    with transaction(company_id=company_id) as session:
        return daily_metrics.live(session, company_id, today)


def _teller(session: Session, to: str, sums: Sequence[Sums]) -> Teller:
    """Return who tells money by the newest rates, also by old ones: those are named."""
    needed = {row.currency for each in sums for row in (*each.rows, *each.opening)}
    policy = replace(fx_policy(), refuses_stale=False)
    others = needed - {"", to}
    rates = rates_at(
        session, moment=now(), policy=policy, currencies=others | {to} if others else set()
    )
    return Teller(to, rates)


def _shown(line: Line) -> dict[str, Any]:
    return {
        "metric": line.metric.name,
        "unit": line.metric.unit,
        "currency": line.currency,
        "dimension": line.dimension,
        **_points(line),
    }


def _points(line: Line) -> dict[str, Any]:
    return {
        "points": [{"date": day, "value": _text(value)} for day, value in line.points],
        "total": _text(line.total),
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _compare(data: Sequence[dict[str, Any]], drawn: Sequence[Line], before: Asked) -> None:
    """Add the line of the days before to each; of a part that there was not, one of nothing."""
    known = {(each.metric.name, each.currency, each.dimension): each for each in drawn}
    for line in data:
        found = known.get((line["metric"], line["currency"], line["dimension"]))
        nothing = {"points": [{"date": day, "value": None} for day in before.begins()]}
        line["previous"] = {
            "from": before.since,
            "to": before.until,
            **(_points(found) if found else {**nothing, "total": None}),
        }
