"""The answer to a report's question, from the events by the terms of the registry.

Every statement is one SELECT with bound values, fenced by the session's company; over all companies
of a tenant it is fenced by the tenant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from operator import eq, ge, gt, le, lt, ne
from typing import Any
from uuid import UUID

from sqlalchemy import (
    DECIMAL,
    ColumnElement,
    Select,
    SQLColumnExpression,
    case,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.orm import Session

from models.analytics_events import AnalyticsEvent as Event
from models.analytics_events import Source
from models.base import across_companies
from models.metric_registry import METRICS, Metric, Of, Term
from models.report_queries import TIMES, Filter, Query
from models.tenants import Company

# A share or a mean has no end; four places are what a roll-up keeps.
PLACES = 4
VALUE: DECIMAL[Decimal] = DECIMAL(30, PLACES)
_BECAUSE = "an operator asks about all companies of the tenant, which the statement names"

_CURRENCY = func.coalesce(Event.currency, "")
DIMENSIONS: Mapping[str, SQLColumnExpression[Any]] = {
    "date": Event.date,
    "week": func.subdate(Event.date, func.weekday(Event.date)),
    "month": func.subdate(Event.date, func.dayofmonth(Event.date) - 1),
    "currency": _CURRENCY,
    "dimension": Event.dimension,
    "company": Event.company_id,
}
_COMPARE: Mapping[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "eq": eq,
    "ne": ne,
    "gt": gt,
    "gte": ge,
    "lt": lt,
    "lte": le,
}


def run(
    session: Session, query: Query, *, tenant_id: UUID, company_id: UUID | None
) -> dict[str, Any]:
    """Return `columns`, `rows` of text, and whether there would have been more (`is_cut`).

    Args:
        session: the company's, or of none for all companies of the tenant.
    """
    statement = _statement(query)
    if company_id is None:
        ours = select(Company.id).where(Company.tenant_id == tenant_id)
        statement = across_companies(statement.where(Event.company_id.in_(ours)), because=_BECAUSE)
    else:
        statement = statement.where(Event.company_id == company_id)
    found = session.execute(statement).all()
    return {
        "columns": [_column(name) for name in query.columns],
        "rows": [list(map(_text, row)) for row in found[: query.limit]],
        "is_cut": len(found) > query.limit,
    }


def _statement(query: Query) -> Select[Any]:
    metrics = [METRICS[name] for name in query.metrics]
    groups = {name: DIMENSIONS[name] for name in query.dimensions}
    values = {metric.name: _value(metric) for metric in metrics}
    columns = {**groups, **values}
    events = sorted(frozenset().union(*(metric.events for metric in metrics)))
    shown: list[Any] = [column.label(f"c_{name}") for name, column in columns.items()]
    statement: Select[Any] = (
        select(*shown)
        .where(
            Event.date.between(query.since, query.until),
            Event.name.in_(events),
            Event.source == Source.OWN,
        )
        .group_by(*groups.values())
        .limit(query.limit + 1)
    )
    for each in query.filters:
        if each.field in values:
            statement = statement.having(_compared(values[each.field], each))
        else:
            statement = statement.where(_filtered(each))
    ordered = [(columns[by].desc() if down else columns[by].asc()) for by, down in query.order]
    # What is not told apart by the order is by its group, so that a limit cuts the same each time.
    return statement.order_by(*ordered, *groups.values())


def _value(metric: Metric) -> ColumnElement[Any]:
    total = _sum(metric.terms)
    if not metric.per:
        return total
    return func.round(cast(total, VALUE) / func.nullif(_sum(metric.per), 0), PLACES)


def _sum(terms: Sequence[Term]) -> ColumnElement[Any]:
    whole: ColumnElement[Any] | None = None
    for term in terms:
        each = func.coalesce(func.sum(case((_is_of(term), _part(term)))), 0)
        whole = each if whole is None else whole + each
    if whole is None:
        raise ValueError("a metric of no terms")
    return whole


def _is_of(term: Term) -> ColumnElement[bool]:
    is_of = Event.name == term.event
    return is_of & Event.dimension.in_(term.only) if term.only else is_of


def _part(term: Term) -> ColumnElement[Any]:
    parts: dict[Of, SQLColumnExpression[Any]] = {
        Of.AMOUNT: Event.amount,
        Of.QUANTITY: Event.quantity,
        Of.EVENTS: literal(1),
    }
    return parts[term.of] * literal(term.sign)


def _filtered(each: Filter) -> ColumnElement[bool]:
    column = DIMENSIONS[each.field]
    values = [UUID(value) for value in each.values] if each.field == "company" else each.values
    if each.op in {"eq", "in"}:
        return column.in_(values)
    return column.not_in(values)


def _compared(value: ColumnElement[Any], each: Filter) -> ColumnElement[bool]:
    [wanted] = each.values
    return _COMPARE[each.op](value, Decimal(wanted))


def _column(name: str) -> dict[str, str | None]:
    if name in METRICS:
        return {"name": name, "kind": "number", "unit": str(METRICS[name].unit)}
    return {"name": name, "kind": "date" if name in TIMES else "text", "unit": None}


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, date):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
