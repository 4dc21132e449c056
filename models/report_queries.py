"""The language of reports: metrics, by what they are grouped, filters, order and limit.

    {"metrics": ["revenue", "refunds"], "from": "2026-01-01", "to": "2026-06-30",
     "dimensions": ["month", "currency"],
     "filters": [{"field": "currency", "op": "in", "value": ["EUR", "INR"]}],
     "order": [{"by": "month"}, {"by": "revenue", "direction": "desc"}], "limit": 100}

Every name is looked up in a table: metrics in the one registry, the rest below. Nothing that a
caller sends becomes part of a statement but as a bound value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from models.metric_registry import METRICS, Metric
from models.money import CURRENCIES
from models.reports import ReportType

# Of each a group is made; one of the times at most.
TIMES = ("date", "week", "month")
DIMENSIONS = (*TIMES, "currency", "dimension", "company")
FIELDS = ("currency", "dimension", "company")
OPERATORS = ("eq", "ne", "in", "not_in")
COMPARISONS = ("eq", "ne", "gt", "gte", "lt", "lte")
MOST_METRICS = 20
MOST_VALUES = 100
MOST_ROWS = 10_000
MOST_DAYS = 1_100
FIRST_DAY = date(2000, 1, 1)
# What a ready report asks for. A metric that is kept without a currency has none in its row.
REVENUE = ("revenue", "refunds", "net_revenue")
USAGE = ("usage",)
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,4})?", re.ASCII)


class BadQuery(ValueError):
    """A question that cannot be asked: each part that is wrong, with its path and a sentence."""

    def __init__(self, wrong: Sequence[tuple[str, str]]) -> None:
        self.wrong = tuple(wrong)
        super().__init__("; ".join(f"{path} {said}" for path, said in self.wrong))


@dataclass(frozen=True)
class Filter:
    """One condition: of a field of the roll-ups, or of a metric's value in its row."""

    field: str
    op: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """A question that is known to be right; both days are included."""

    metrics: tuple[str, ...]
    since: date
    until: date
    dimensions: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()  # a column, and whether it is descending
    limit: int = MOST_ROWS

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of a row's values in their order."""
        return (*self.dimensions, *self.metrics)


def _month_before(today: date) -> tuple[date, date]:
    until = today.replace(day=1) - timedelta(days=1)
    return until.replace(day=1), until


def _week_before(today: date) -> tuple[date, date]:
    monday = today - timedelta(days=today.weekday() + 7)
    return monday, monday + timedelta(days=6)


def _days_before(number: int) -> Callable[[date], tuple[date, date]]:
    return lambda today: (today - timedelta(days=number), today - timedelta(days=1))


# What moves along with the day: whole days that are over, but for those "to date".
PERIODS: dict[str, Callable[[date], tuple[date, date]]] = {
    "yesterday": _days_before(1),
    "last_7_days": _days_before(7),
    "last_30_days": _days_before(30),
    "last_90_days": _days_before(90),
    "previous_week": _week_before,
    "previous_month": _month_before,
    "previous_year": lambda today: (date(today.year - 1, 1, 1), date(today.year - 1, 12, 31)),
    "month_to_date": lambda today: (today.replace(day=1), today),
    "year_to_date": lambda today: (today.replace(month=1, day=1), today),
}


def resolve(
    kind: ReportType | str, params: Mapping[str, Any], *, today: date, spans: bool
) -> dict[str, Any]:
    """Return a question as it is kept: known to be right, its days fixed, defaults in place.

    Args:
        today: which day it is for whoever asks.
        spans: whether it is about all of a tenant's companies.

    Raises:
        BadQuery: names each part that is wrong.
    """
    reader = _Reader(params, spans=spans)
    since, until = reader.days(today)
    asked = reader.custom() if kind == ReportType.CUSTOM else reader.ready(ReportType(kind))
    if reader.wrong:
        raise BadQuery(reader.wrong)
    return {"from": since.isoformat(), "to": until.isoformat(), **asked}


def read(params: Mapping[str, Any]) -> Query:
    """Return the question that `resolve` has found right."""
    return Query(
        metrics=tuple(params["metrics"]),
        since=date.fromisoformat(params["from"]),
        until=date.fromisoformat(params["to"]),
        dimensions=tuple(params["dimensions"]),
        filters=tuple(
            Filter(each["field"], each["op"], tuple(each["value"])) for each in params["filters"]
        ),
        order=tuple((each["by"], each["direction"] == "desc") for each in params["order"]),
        limit=params["limit"],
    )


class _Reader:
    """Reads what was asked and collects what is wrong with it, rather than the first of it."""

    def __init__(self, params: Mapping[str, Any], *, spans: bool) -> None:
        self.params = params
        self.spans = spans
        self.wrong: list[tuple[str, str]] = []

    def refuse(self, path: str, said: str) -> None:
        self.wrong.append((path, said))

    def days(self, today: date) -> tuple[date, date]:
        """Return the first and the last day."""
        period, given = self.params.get("period"), [self.params.get(n) for n in ("from", "to")]
        if period is not None:
            if any(given):
                self.refuse("period", "and from or to do not go together")
            elif period not in PERIODS:
                self.refuse("period", f"must be one of {', '.join(PERIODS)}")
            else:
                return PERIODS[period](today)
            return today, today
        if not all(given):
            self.refuse("from", "and to are needed, or a period")
            return today, today
        since, until = (date.fromisoformat(each) for each in given if each)
        if until < since:
            self.refuse("to", "is before from")
        elif (until - since).days >= MOST_DAYS:
            self.refuse("to", f"is more than {MOST_DAYS} days after from")
        if since < FIRST_DAY:
            self.refuse("from", f"must not be before {FIRST_DAY}")
        return since, until

    def ready(self, kind: ReportType) -> dict[str, Any]:
        """Return the question that a ready report stands for."""
        taken = {"from", "to", "period", "granularity"}
        if kind is ReportType.REVENUE:
            taken.add("currency")
        self._only(taken, f"goes with custom reports, and not with {kind}")
        granularity = self.params.get("granularity") or "date"
        granularity = "date" if granularity == "day" else granularity
        if granularity not in TIMES:
            self.refuse("granularity", "must be one of day, week, month")
        currency = self.params.get("currency")
        if currency is not None and currency not in CURRENCIES:
            self.refuse("currency", "is not a currency that can be charged")
        filters = [{"field": "currency", "op": "eq", "value": [currency]}] if currency else []
        by = "currency" if kind is ReportType.REVENUE else "dimension"
        return {
            "metrics": list(REVENUE if kind is ReportType.REVENUE else USAGE),
            "dimensions": [granularity, by],
            "filters": filters,
            "order": [{"by": granularity, "direction": "asc"}, {"by": by, "direction": "asc"}],
            "limit": MOST_ROWS,
        }

    def custom(self) -> dict[str, Any]:
        """Return a question of the caller's own."""
        self._only(
            {"from", "to", "period", "metrics", "dimensions", "filters", "order", "limit"},
            "goes with ready reports, and not with custom",
        )
        dimensions = self._dimensions()
        metrics = self._metrics()
        filters = [
            self._filter(f"filters.{at}", each, metrics)
            for at, each in enumerate(self.params.get("filters") or [])
        ]
        for at, name in enumerate(metrics):
            self._check_currency(f"metrics.{at}", METRICS[name], dimensions, filters)
        limit = self.params.get("limit")
        limit = MOST_ROWS if limit is None else limit
        if not 1 <= limit <= MOST_ROWS:
            self.refuse("limit", f"must be from 1 to {MOST_ROWS}")
        return {
            "metrics": metrics,
            "dimensions": dimensions,
            "filters": filters,
            "order": self._order((*dimensions, *metrics)),
            "limit": limit,
        }

    def _only(self, taken: set[str], said: str) -> None:
        for name, value in self.params.items():
            if name not in taken and value is not None:
                self.refuse(name, said)

    def _names(self, path: str, known: Sequence[str], most: int) -> list[str]:
        """Return the names that are known, each once."""
        found: list[str] = []
        given = self.params.get(path) or []
        if len(given) > most:
            self.refuse(path, f"has more than {most}")
            return found
        for at, name in enumerate(given):
            if name not in known:
                self.refuse(f"{path}.{at}", f"is not known; known are {', '.join(known)}")
            elif name in found:
                self.refuse(f"{path}.{at}", "is there twice")
            else:
                found.append(name)
        return found

    def _metrics(self) -> list[str]:
        # What needs all days before is told by series; a report is of its own days alone.
        known = [
            name
            for name, metric in METRICS.items()
            if not metric.needs_history and (self.spans or not metric.is_for_operators)
        ]
        found = self._names("metrics", known, MOST_METRICS)
        if not self.params.get("metrics"):
            self.refuse("metrics", "names none")
        return found

    def _dimensions(self) -> list[str]:
        found = self._names("dimensions", DIMENSIONS, len(DIMENSIONS))
        if sum(name in TIMES for name in found) > 1:
            self.refuse("dimensions", "has more than one of date, week and month")
        if "company" in found and not self.spans:
            self.refuse(
                f"dimensions.{found.index('company')}",
                "goes with all_companies, which is for operators",
            )
        return found

    def _filter(self, path: str, given: Mapping[str, Any], metrics: list[str]) -> dict[str, Any]:
        """Return a condition with its values in a list."""
        field, op, value = given["field"], given.get("op", "eq"), given["value"]
        values = value if isinstance(value, list) else [value]
        is_metric = field in metrics
        if not is_metric and field not in FIELDS:
            self.refuse(
                f"{path}.field",
                f"must be one of {', '.join(FIELDS)}, or a metric that is asked for",
            )
        elif op not in (COMPARISONS if is_metric else OPERATORS):
            known = COMPARISONS if is_metric else OPERATORS
            self.refuse(f"{path}.op", f"must be one of {', '.join(known)}")
        elif isinstance(value, list) != (op in {"in", "not_in"}):
            self.refuse(f"{path}.value", "is a list with in and not_in, and else one value")
        elif not 1 <= len(values) <= MOST_VALUES:
            self.refuse(f"{path}.value", f"must be 1 to {MOST_VALUES} values")
        elif field == "company" and not self.spans:
            self.refuse(f"{path}.field", "goes with all_companies, which is for operators")
        else:
            self._check_values(path, "metric" if is_metric else field, values)
        return {"field": field, "op": op, "value": values}

    def _check_values(self, path: str, kind: str, values: list[str]) -> None:
        is_right, said = _VALUES[kind]
        if not all(map(is_right, values)):
            self.refuse(f"{path}.value", said)

    def _check_currency(
        self, path: str, metric: Metric, dimensions: list[str], filters: list[dict[str, Any]]
    ) -> None:
        """Refuse a sum of amounts in several currencies, which would be of none."""
        if not metric.is_money or "currency" in dimensions:
            return
        if not any(
            (each["field"], each["op"]) == ("currency", "eq") and each["value"] for each in filters
        ):
            self.refuse(
                path,
                f"({metric.name}) is money: group by currency, or filter by one with eq",
            )

    def _order(self, columns: Sequence[str]) -> list[dict[str, str]]:
        order = []
        for at, each in enumerate(self.params.get("order") or []):
            if each["by"] not in columns:
                self.refuse(f"order.{at}.by", "must be a metric or dimension that is asked for")
            order.append({"by": each["by"], "direction": each.get("direction", "asc")})
        return order


def _is_id(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True


# What the values of a filter must be.
_VALUES: dict[str, tuple[Callable[[str], bool], str]] = {
    "currency": (lambda value: value in CURRENCIES or not value, "must be currencies, as in EUR"),
    "dimension": (lambda _: True, ""),
    "company": (_is_id, "must be ids of companies"),
    "metric": (lambda value: bool(_NUMBER.fullmatch(value)), "must be a number, as in 100.00"),
}
