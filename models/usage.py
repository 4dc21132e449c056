"""Use of modules: what was recorded, and how much it comes to in each period.

Each record is a row, once by its key. How much a company used of a module in a period stands in a
total that is counted up in the same transaction, under the lock of the company's module: so the
limits are looked at with the exact figure, and a threshold is crossed by exactly one record.

The periods of a module follow one another without a gap in time that matters and never overlap: a
record is counted in the one that its time lies in. They are those of the subscription that the
module comes with, as `begin_period` tells them, and else calendar months in the company's zone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from uuid import UUID

from sqlalchemy import CHAR, BigInteger, ForeignKey, Index, String, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Changing, CompanyOwned
from models.modules import (
    MOST_AHEAD,
    CompanyModule,
    Limits,
    Module,
    lock_active,
    lock_all_of,
)
from models.subscriptions import ends_foreseen
from models.tenants import Company, people_among
from schedules.months import Span, month_of

# Late use still counts in its period, but a wrong year is a mistake.
MOST_LATE = timedelta(days=400)
# A month and a day: no calendar month that a time lies in reaches further.
_NEAR = timedelta(days=32)


class ModuleUsage(CompanyOwned):
    """So much use at one time. Only ever added; `created_at` is when it was recorded."""

    __tablename__ = "module_usage"
    __table_args__ = (
        UniqueConstraint("company_id", "idempotency_key"),
        Index("idx_module_usage_at", "company_id", "module_id", "at"),
    )

    module_id: Mapped[UUID] = mapped_column(ForeignKey("modules.id"))
    user_id: Mapped[UUID | None]
    idempotency_key: Mapped[str] = mapped_column(String(255, collation="utf8mb4_bin"))
    # Of what was sent: tells a repetition from another record under the same key.
    fingerprint: Mapped[str] = mapped_column(CHAR(32))
    quantity: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]


class UsageTotal(CompanyOwned, Changing):
    """How much a company used of a module in a period, and when it was told that it is much."""

    __tablename__ = "module_usage_totals"
    __table_args__ = (UniqueConstraint("company_id", "module_id", "period_start"),)

    module_id: Mapped[UUID] = mapped_column(ForeignKey("modules.id"))
    period_start: Mapped[datetime]
    period_end: Mapped[datetime]
    used: Mapped[int] = mapped_column(BigInteger, default=0)
    warned_at: Mapped[datetime | None]
    critical_at: Mapped[datetime | None]

    @property
    def span(self) -> Span:
        """Return its period."""
        return Span(self.period_start, self.period_end)


class Level(StrEnum):
    """How much it is, as the specification's alerts say it."""

    WARNING = "warning"
    CRITICAL = "critical"


class Verdict(StrEnum):
    """What became of one record."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    KEY_REUSED = "key_reused"
    NOT_SUBSCRIBED = "not_subscribed"
    UNKNOWN_USER = "unknown_user"
    LIMIT_REACHED = "limit_reached"
    TOO_LATE = "too_late"
    IN_THE_FUTURE = "in_the_future"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Use to be recorded. Without a time it is of now."""

    module_id: UUID
    key: str
    quantity: int
    at: datetime | None = None
    user_id: UUID | None = None

    @property
    def fingerprint(self) -> str:
        """Return what tells this from another one under the same key."""
        at = self.at.isoformat() if self.at else ""
        told = f"{self.module_id} {self.quantity} {at} {self.user_id or ''}"
        return hashlib.blake2s(told.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What became of a reading: its row where there is one, and the total that it met."""

    verdict: Verdict
    row: ModuleUsage | None = None
    total: UsageTotal | None = None
    limits: Limits | None = None


@dataclass(frozen=True)
class Crossing:
    """A threshold that was reached for the first time in a period."""

    total: UsageTotal
    held: CompanyModule
    module: Module
    level: Level
    threshold: int


@dataclass
class Recorded:
    """What became of each reading, in order, and what that crossed.

    `late` are subscriptions that have use to bill of what ended before it was recorded.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    crossings: list[Crossing] = field(default_factory=list)
    late: set[UUID] = field(default_factory=set)


def used(
    session: Session, company_id: UUID, module_id: UUID, start: datetime, end: datetime
) -> int:
    """Return how much was used from `start` on and before `end`: exact, summed from each record."""
    total = session.scalar(
        select(func.coalesce(func.sum(ModuleUsage.quantity), 0)).where(
            ModuleUsage.company_id == company_id,
            ModuleUsage.module_id == module_id,
            ModuleUsage.at >= start,
            ModuleUsage.at < end,
        )
    )
    return int(total or 0)


def begin_period(
    session: Session, company_id: UUID, module_id: UUID, start: datetime, end: datetime
) -> None:
    """Set the period that a module's use is counted in from now on, as its subscription has it.

    What was recorded from `start` on is counted anew; a period that was to last longer ends there.
    Twice is once. The company must have the module.
    """
    row = lock_active(session, module_id)
    if row is None:
        raise LookupError(f"company {company_id} has no module {module_id}")
    if (row.period_start, row.period_end) == (start, end):
        return
    row.period_start, row.period_end = start, end
    _count_anew(session, row, Span(start, end))


def record(
    session: Session, company_id: UUID, readings: Sequence[Reading], *, moment: datetime
) -> Recorded:
    """Store and count what was used; the session must be the company's.

    Whoever records tells of the crossings as well: see `worker.usage`. Two who send the same key
    at once may meet a duplicate key; the transaction is then to be run again.
    """
    return _Recording(session, company_id, readings, moment).run()


class _Recording:
    """One transaction's readings, with all rows that they meet locked and at hand."""

    def __init__(
        self, session: Session, company_id: UUID, readings: Sequence[Reading], moment: datetime
    ) -> None:
        self.session = session
        self.company_id = company_id
        self.readings = readings
        self.moment = moment
        self.ever_held = lock_all_of(session, {each.module_id for each in readings})
        self.held = {row.module_id: row for row in self.ever_held}
        self.ends = ends_foreseen(session, {row.subscription_id for row in self.held.values()})
        self.modules = {
            module.id: module
            for module in session.scalars(select(Module).where(Module.id.in_(self.held)))
        }
        self.known = _known(session, [each.key for each in readings])
        company = session.get_one(Company, company_id)
        self.zone = company.time_zone
        self.users = people_among(session, company, {each.user_id for each in readings})
        self.totals = self._totals_near()
        self.recorded = Recorded()

    def run(self) -> Recorded:
        for reading in self.readings:
            self.recorded.outcomes.append(self._take(reading))
        self.session.flush()
        return self.recorded

    def _take(self, reading: Reading) -> Outcome:
        known = self.known.get(reading.key)
        if known is not None:
            is_same = known.fingerprint == reading.fingerprint
            return Outcome(Verdict.DUPLICATE if is_same else Verdict.KEY_REUSED, known)
        at = reading.at or self.moment
        if (refusal := self._refusal(reading, at)) is not None:
            return Outcome(refusal)
        held = self.held[reading.module_id]
        limits = held.limits(self.modules[reading.module_id])
        total = self._total(held, at)
        if limits.hard_limit is not None and total.used + reading.quantity > limits.hard_limit:
            return Outcome(Verdict.LIMIT_REACHED, total=total, limits=limits)
        row = ModuleUsage(
            company_id=self.company_id,
            module_id=reading.module_id,
            user_id=reading.user_id,
            idempotency_key=reading.key,
            fingerprint=reading.fingerprint,
            quantity=reading.quantity,
            at=at,
        )
        self.session.add(row)
        self.known[reading.key] = row
        total.used += reading.quantity
        self._count_late(reading, at)
        self._watch(total, held, limits)
        return Outcome(Verdict.RECORDED, row, total, limits)

    def _refusal(self, reading: Reading, at: datetime) -> Verdict | None:
        those = (row for row in self.ever_held if row.module_id == reading.module_id)
        if not any(row.was_had(at) and not self._is_over(row, at) for row in those):
            return Verdict.NOT_SUBSCRIBED
        if reading.user_id not in self.users:
            return Verdict.UNKNOWN_USER
        if at > self.moment + MOST_AHEAD:
            return Verdict.IN_THE_FUTURE
        return Verdict.TOO_LATE if at < self.moment - MOST_LATE else None

    def _is_over(self, row: CompanyModule, at: datetime) -> bool:
        """Whether its subscription is to have ended by then, though nobody has come by yet."""
        return row.subscription_id in self.ends and at >= self.ends[row.subscription_id]

    def _count_late(self, reading: Reading, at: datetime) -> None:
        """Keep what is recorded now for the next invoice, if that of its time is made."""
        for row in reversed(self.ever_held):
            if row.module_id == reading.module_id and row.is_billed(at):
                if row.subscription_id and row.unsubscribed_at and not row.late_units:
                    self.recorded.late.add(row.subscription_id)
                row.late_units += reading.quantity
                return

    def _watch(self, total: UsageTotal, held: CompanyModule, limits: Limits) -> None:
        """Note each threshold that is reached and was not before in this period."""
        module = self.modules[held.module_id]
        for level, threshold in (
            (Level.WARNING, limits.warning_at),
            (Level.CRITICAL, limits.critical_at),
        ):
            if threshold is None or total.used < threshold or _told_at(total, level) is not None:
                continue
            _set_told(total, level, self.moment)
            self.recorded.crossings.append(Crossing(total, held, module, level, threshold))

    def _total(self, held: CompanyModule, at: datetime) -> UsageTotal:
        totals = self.totals.setdefault(held.module_id, [])
        for total in totals:
            if total.period_start <= at < total.period_end:
                return total
        span = span_at(held, at, self.zone)
        for total in totals:
            span = span.but(total.span, around=at)
        made = _new_total(self.company_id, held.module_id, span)
        self.session.add(made)
        totals.append(made)
        return made

    def _totals_near(self) -> dict[UUID, list[UsageTotal]]:
        """Load the totals that a reading lies in, or whose periods end the one that it begins."""
        times = [each.at or self.moment for each in self.readings]
        found: dict[UUID, list[UsageTotal]] = {}
        for total in self.session.scalars(
            select(UsageTotal)
            .where(
                UsageTotal.module_id.in_(self.held),
                UsageTotal.period_end > min(times) - _NEAR,
                UsageTotal.period_start < max(times) + _NEAR,
            )
            # What was read before the lock may have been counted up since.
            .execution_options(populate_existing=True)
        ):
            found.setdefault(total.module_id, []).append(total)
        return found


def _told_at(total: UsageTotal, level: Level) -> datetime | None:
    return total.warned_at if level is Level.WARNING else total.critical_at


def _set_told(total: UsageTotal, level: Level, moment: datetime) -> None:
    if level is Level.WARNING:
        total.warned_at = moment
    else:
        total.critical_at = moment


def _known(session: Session, keys: Sequence[str]) -> dict[str, ModuleUsage]:
    rows = session.scalars(select(ModuleUsage).where(ModuleUsage.idempotency_key.in_(keys)))
    return {row.idempotency_key: row for row in rows}


def _new_total(company_id: UUID, module_id: UUID, span: Span) -> UsageTotal:
    return UsageTotal(
        company_id=company_id,
        module_id=module_id,
        period_start=span.start,
        period_end=span.end,
        used=0,
    )


def span_at(held: CompanyModule, at: datetime, zone: str) -> Span:
    """Return the period that a time lies in, as far as the module's row can tell.

    A renewal that has not come yet is taken to last as long as the period before it.
    """
    if held.period_start is None or held.period_end is None:
        return month_of(at, zone)
    span = Span(held.period_start, held.period_end)
    if at < span.start:
        return month_of(at, zone).but(span, around=at)
    while at >= span.end:
        span = span.next()
    return span


def _count_anew(session: Session, held: CompanyModule, span: Span) -> None:
    """Have totals from the period's start on that follow it, with what was recorded in each."""
    totals = session.scalars(
        select(UsageTotal)
        .where(UsageTotal.module_id == held.module_id, UsageTotal.period_end > span.start)
        .order_by(UsageTotal.period_start)
        .execution_options(populate_existing=True)
    ).all()
    kept: dict[datetime, UsageTotal] = {}
    for total in totals:
        if total.period_start < span.start:
            total.period_end = span.start
            total.used = _used_in(session, total)
        elif total.period_start == span.start:
            kept[span.start] = total
        else:
            session.delete(total)
    session.flush()
    last = session.scalar(
        select(func.max(ModuleUsage.at)).where(ModuleUsage.module_id == held.module_id)
    )
    total = kept.get(span.start) or _new_total(held.company_id, held.module_id, span)
    for each in chain([span], span.following(until=last)):
        if each is not span:
            total = _new_total(held.company_id, held.module_id, each)
        session.add(total)
        total.period_end = each.end
        total.used = _used_in(session, total)
    session.flush()


def _used_in(session: Session, total: UsageTotal) -> int:
    return used(session, total.company_id, total.module_id, total.period_start, total.period_end)
