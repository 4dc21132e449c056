"""What each day of a company came to: roll-ups of its events, made anew when the day changed.

A day that changed is marked in `analytics_dirty_days` by the transaction that changed it. Whoever
rolls it up claims the mark, reads the day's events once, and writes what differs. In the same
commit the mark ends if it is what it was before the events were read; a mark made meanwhile stays,
and the day is rolled up again. A claim that was lost to another writes nothing.

What is kept is what adds up: of a share or a mean its two sums (`<name>:terms`, `<name>:per`), of a
level the day's change. What is nothing has no row.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    DECIMAL,
    ColumnElement,
    Date,
    Index,
    Select,
    UniqueConstraint,
    func,
    select,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.analytics_events import WORD, AnalyticsEvent, Day, DirtyDay, Source
from models.base import CURRENCY, Base, CompanyOwned, across_companies
from models.clock import now
from models.ids import new_id
from models.metric_registry import METRICS, Metric, Of, Term

log = logging.getLogger(__name__)

VALUE: DECIMAL[Decimal] = DECIMAL(19, 4)
# More than a value's column can have.
LIMIT = Decimal(10) ** 15
# Longer than any batch takes that is well; then another may have its days.
LEASE = timedelta(minutes=2)
# Days of one transaction, which reads their events by one statement.
BATCH = 100
_BECAUSE = "roll-ups are made for all companies by one run"


class DailyMetric(CompanyOwned):
    """What one metric, or one of its two sums, came to on one day."""

    __tablename__ = "analytics_daily_metrics"
    __table_args__ = (
        UniqueConstraint(
            *("company_id", "metric_name", "date", "currency", "dimension"),
            name="uq_analytics_daily_metrics",
        ),
        Index("idx_analytics_daily_metrics_day", "company_id", "date"),
    )

    metric_name: Mapped[str] = mapped_column(WORD)
    date: Mapped[Day] = mapped_column(Date)
    currency: Mapped[str] = mapped_column(CURRENCY, default="", server_default="")
    dimension: Mapped[str] = mapped_column(WORD, default="", server_default="")
    metric_value: Mapped[Decimal] = mapped_column(VALUE)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now, sort_order=91)


class MetricsCheck(Base):
    """That the roll-ups of all days are looked through, once a day."""

    __tablename__ = "analytics_checks"
    __table_args__ = (UniqueConstraint("day"),)

    day: Mapped[Day] = mapped_column(Date)


class Cell(NamedTuple):
    """What a value is of."""

    company_id: UUID
    date: Day
    name: str
    currency: str
    dimension: str


Values = dict[Cell, Decimal]


class ClaimLost(Exception):
    """Another has the days: the lease was over before they were written."""


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A day that is to be rolled up, as its mark was before the events are read."""

    mark_id: UUID
    company_id: UUID
    date: date
    marked: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Days that are one run's to roll up, for a while."""

    token: UUID
    days: Sequence[Claimed]


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a batch came to: days that changed, and how many days are dirty again."""

    changed: Collection[tuple[UUID, date]]
    dirty: int


def parts_of(metric: Metric) -> Mapping[str, tuple[Term, ...]]:
    """Return what is kept of a metric by name, each with the terms that it is the sum of."""
    if metric.per:
        return {f"{metric.name}:terms": metric.terms, f"{metric.name}:per": metric.per}
    return {metric.name: metric.terms}


class _Part(NamedTuple):
    """What an event adds to, and by what of it the sums are told apart."""

    name: str
    term: Term
    has_currency: bool
    has_dimension: bool


def _parts_by_event() -> dict[str, list[_Part]]:
    found: dict[str, list[_Part]] = {}
    for metric in METRICS.values():
        for name, terms in parts_of(metric).items():
            for term in terms:
                part = _Part(name, term, metric.sums_money, bool(metric.dimension))
                found.setdefault(term.event, []).append(part)
    return found


_BY_EVENT = _parts_by_event()


def claim(session: Session, *, before: datetime, most: int = BATCH) -> Claim | None:
    """Take days that changed and that nobody else has; None if there are none.

    To be committed at once, so that whoever marks a day waits for no roll-up.

    Args:
        before: only what nobody has had since; new marks come first.
    """
    rows = session.execute(
        across_companies(
            select(DirtyDay.id, DirtyDay.company_id, DirtyDay.date, DirtyDay.marked)
            .where(DirtyDay.claimed_until < before)
            .order_by(DirtyDay.claimed_until, DirtyDay.id)
            .limit(most)
            .with_for_update(skip_locked=True),
            because=_BECAUSE,
        )
    ).all()
    if not rows:
        return None
    token = new_id()
    session.execute(
        across_companies(
            update(DirtyDay)
            .where(DirtyDay.id.in_([row.id for row in rows]))
            .values(claim=token, claimed_until=now() + LEASE),
            because=_BECAUSE,
        ),
        execution_options={"synchronize_session": False},
    )
    # In the order in which those who mark days lock them: nobody waits in a circle.
    days = sorted(rows, key=lambda row: (row.company_id, row.date))
    return Claim(
        token=token,
        days=[
            Claimed(mark_id=row.id, company_id=row.company_id, date=row.date, marked=row.marked)
            for row in days
        ],
    )


def roll_up(session: Session, claimed: Claim) -> Written:
    """Write what the claimed days came to, and end the marks that were made before.

    Safe twice, and beside others: see the module's first lines.

    Raises:
        ClaimLost: nothing may be written.
    """
    counted = _of_claim(session, claimed)
    changed = _write(session, before=_kept_of(session, claimed), after=counted)
    return Written(changed=changed, dirty=_end_marks(session, claimed))


def derive(groups: Iterable[Sequence[Any]]) -> Values:
    """Return what is kept of events that are grouped.

    Args:
        groups: company, date, name, currency, dimension, then the count and the two sums.
    """
    found: Values = {}
    for company_id, day, event, currency, dimension, events, amount, quantity in groups:
        sums = {Of.EVENTS: Decimal(events), Of.AMOUNT: amount, Of.QUANTITY: quantity}
        for name, term, has_currency, has_dimension in _BY_EVENT[event]:
            value = sums[term.of]
            if value is None or (term.only and dimension not in term.only):
                continue
            cell = Cell(
                company_id,
                day,
                name,
                currency if has_currency else "",
                dimension if has_dimension else "",
            )
            found[cell] = found.get(cell, Decimal(0)) + value * term.sign
    kept = {cell: _kept_value(cell, value) for cell, value in found.items() if value}
    return {cell: value for cell, value in kept.items() if abs(value) < LIMIT}


def _kept_value(cell: Cell, value: Decimal) -> Decimal:
    if abs(value) >= LIMIT:
        log.error("%s of %s on %s is too much to be kept", cell.name, cell.company_id, cell.date)
    # A company counts once a day.
    return min(value, Decimal(1)) if cell.name in _OF_COMPANIES else value


_OF_COMPANIES = {name for name, metric in METRICS.items() if metric.is_of_companies}


def live(session: Session, company_id: UUID, day: date) -> Values:
    """Return what a day comes to by now, read from its events."""
    query = _grouped(
        AnalyticsEvent.company_id == company_id,
        AnalyticsEvent.date == day,
    )
    return derive(session.execute(query).all())


def differing(
    session: Session, company_id: UUID, since: date, until: date
) -> tuple[set[date], int]:
    """Return the days on which roll-ups are not what the events say, and how many were compared.

    What is marked is being seen to. The transaction must see one moment: a roll-up, its events
    and its mark change together, so at no moment does a day differ that is not marked.
    """
    between = (AnalyticsEvent.date >= since, AnalyticsEvent.date <= until)
    query = _grouped(AnalyticsEvent.company_id == company_id, *between)
    counted = derive(session.execute(query).all())
    kept = _kept(session, company_id, DailyMetric.date.between(since, until))
    marked = set(session.scalars(select(DirtyDay.date).where(DirtyDay.company_id == company_id)))
    wrong = {
        cell.date
        for cell in counted.keys() | kept.keys()
        if counted.get(cell, Decimal(0)) != kept.get(cell, Decimal(0))
    }
    return wrong - marked, len({cell.date for cell in counted})


def span_of(session: Session, company_id: UUID) -> tuple[date, date] | None:
    """Return the first and the last day of which there is an event or a roll-up."""
    ends = []
    for column, owner in (
        (AnalyticsEvent.date, AnalyticsEvent.company_id),
        (DailyMetric.date, DailyMetric.company_id),
    ):
        row = session.execute(
            select(func.min(column), func.max(column)).where(owner == company_id)
        ).one()
        ends += [day for day in row if day is not None]
    return (min(ends), max(ends)) if ends else None


def _grouped(*conditions: Any) -> Select[Any]:
    event = AnalyticsEvent
    currency = func.coalesce(event.currency, "")
    keys = (event.company_id, event.date, event.name, currency, event.dimension)
    sums: tuple[Any, ...] = (func.count(), func.sum(event.amount), func.sum(event.quantity))
    return (
        select(*keys, *sums)
        .where(event.source == Source.OWN, event.name.in_(sorted(_BY_EVENT)), *conditions)
        .group_by(*keys)
    )


def _of_claim(session: Session, claimed: Claim) -> Values:
    """Return what the events of all claimed days come to: one statement, by the index of days."""
    query = (
        _grouped(
            DirtyDay.id.in_([each.mark_id for each in claimed.days]),
            DirtyDay.claim == claimed.token,
        )
        .join_from(
            DirtyDay,
            AnalyticsEvent,
            (AnalyticsEvent.company_id == DirtyDay.company_id)
            & (AnalyticsEvent.date == DirtyDay.date),
        )
        .prefix_with("STRAIGHT_JOIN")
    )
    return derive(session.execute(across_companies(query, because=_BECAUSE)).all())


def _kept_of(session: Session, claimed: Claim) -> Values:
    days: dict[UUID, list[date]] = {}
    for each in claimed.days:
        days.setdefault(each.company_id, []).append(each.date)
    found: Values = {}
    for company_id, wanted in days.items():
        found |= _kept(session, company_id, DailyMetric.date.in_(wanted))
    return found


def _kept(session: Session, company_id: UUID, within: ColumnElement[bool]) -> Values:
    """Return what is kept of a company; its id is of each row, and made once."""
    row = DailyMetric
    rows = session.execute(
        across_companies(
            select(row.date, row.metric_name, row.currency, row.dimension, row.metric_value).where(
                row.company_id == company_id, within
            ),
            because=_BECAUSE,
        )
    )
    return {
        Cell(company_id, day, name, currency, dimension): value
        for day, name, currency, dimension, value in rows
    }


# Each statement of several rows is far below the server's limit.
_ROWS = 1000
_KEY = ("company_id", "date", "metric_name", "currency", "dimension")
_COLUMNS = ("id", *_KEY, "metric_value", "created_at", "updated_at")
_UPSERT = (
    f"INSERT INTO analytics_daily_metrics (`{'`, `'.join(_COLUMNS)}`) "  # noqa: S608  our own names
    f"VALUES ({', '.join(['%s'] * len(_COLUMNS))}) "
    "ON DUPLICATE KEY UPDATE metric_value = VALUES(metric_value), updated_at = VALUES(updated_at)"
)
_DELETE = (
    "DELETE FROM analytics_daily_metrics WHERE "  # noqa: S608  our own names
    + " AND ".join(f"`{name}` = %s" for name in _KEY)
)


def _write(session: Session, *, before: Values, after: Values) -> set[tuple[UUID, date]]:
    """Write what differs; return the days on which anything did."""
    moment = f"{now():%Y-%m-%d %H:%M:%S.%f}"
    new = [cell for cell, value in after.items() if before.get(cell) != value]
    gone = sorted(before.keys() - after.keys())
    rows = [
        (new_id().bytes, cell.company_id.bytes, *cell[1:], after[cell], moment, moment)
        for cell in sorted(new)
    ]
    connection = session.connection()
    for start in range(0, len(rows), _ROWS):
        connection.exec_driver_sql(_UPSERT, rows[start : start + _ROWS])
    if gone:
        connection.exec_driver_sql(_DELETE, [(c.company_id.bytes, *c[1:]) for c in gone])
    return {(cell.company_id, cell.date) for cell in (*new, *gone)}


def _end_marks(session: Session, claimed: Claim) -> int:
    """End the marks that are what they were; leave the others for the next run; count those."""
    connection = session.connection()
    left = 0
    for each in claimed.days:
        mine = (each.mark_id.bytes, claimed.token.bytes)
        if connection.exec_driver_sql(_END, (*mine, each.marked)).rowcount == 1:
            continue
        let_go = (now().replace(tzinfo=None), *mine)
        if connection.exec_driver_sql(_LET_GO, let_go).rowcount != 1:
            raise ClaimLost(f"{each.date} of company {each.company_id}")
        left += 1
    return left


_END = "DELETE FROM analytics_dirty_days WHERE id = %s AND claim = %s AND marked = %s"
_LET_GO = (
    "UPDATE analytics_dirty_days SET claim = NULL, claimed_until = %s WHERE id = %s AND claim = %s"
)
