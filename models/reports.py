"""Reports: what was asked of the figures, what came of it, and what is asked again by the clock.

A report is a company's, or of all companies of a tenant (`company_id` is NULL), which its operators
alone see. The same question within an hour is the same report: `fresh_key` is the question while
its answer is fresh, so that however many ask at once make one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import (
    CHAR,
    JSON,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    delete,
    func,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Changing, words
from models.ids import new_id
from models.outbox import enqueue
from models.tenants import Company

# How long the same question gets the same answer.
FRESH_FOR = timedelta(hours=1)
# How long a report is kept.
KEPT_FOR = timedelta(days=90)
MOST_WAITING = 20
MOST_SCHEDULES = 50
RUN = "reports.run"


class ReportType(StrEnum):
    """What is asked: one of the ready questions, or one's own."""

    REVENUE = "revenue"
    USAGE = "usage"
    CUSTOM = "custom"


class ReportStatus(StrEnum):
    """Where a report stands."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class ScheduleStatus(StrEnum):
    """Whether the clock asks."""

    ACTIVE = "active"
    PAUSED = "paused"


class AnalyticsReport(Changing):
    """One question and its answer. `query_params` has the days as they were when it was asked."""

    __tablename__ = "analytics_reports"
    __table_args__ = (
        UniqueConstraint("fresh_key"),
        UniqueConstraint("schedule_id", "due_at"),
        Index("idx_company_created", "company_id", "created_at"),
        Index("idx_analytics_reports_company_id", "company_id", "id"),
        Index("idx_analytics_reports_tenant_id", "tenant_id", "id"),
        Index("idx_analytics_reports_expires_at", "expires_at"),
        {"info": {"company_owned": False}},
    )

    company_id: Mapped[UUID | None]
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    report_name: Mapped[str] = mapped_column(String(255))
    report_type: Mapped[ReportType] = mapped_column(String(50))
    query_params: Mapped[dict[str, Any]] = mapped_column(JSON)
    # `columns` and `rows`; large, so that only who wants them reads them.
    results: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), deferred=True)
    row_count: Mapped[int | None] = mapped_column(Integer)
    is_cut: Mapped[bool] = mapped_column(Boolean, default=False)
    status: Mapped[ReportStatus] = mapped_column(words(ReportStatus), default=ReportStatus.PENDING)
    error: Mapped[str | None] = mapped_column(Text)
    asked_by: Mapped[UUID]
    schedule_id: Mapped[UUID | None]
    due_at: Mapped[datetime | None]
    fresh_key: Mapped[str | None] = mapped_column(CHAR(64))
    generated_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]


class ReportSchedule(Changing):
    """A question that is asked again by the clock of the company, and told of by mail."""

    __tablename__ = "report_schedules"
    __table_args__ = (
        Index("idx_report_schedules_company_id", "company_id", "id"),
        Index("idx_report_schedules_tenant_id", "tenant_id", "id"),
        Index("idx_report_schedules_due", "status", "next_run_at"),
        {"info": {"company_owned": False}},
    )

    company_id: Mapped[UUID | None]
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    report_name: Mapped[str] = mapped_column(String(255))
    report_type: Mapped[ReportType] = mapped_column(String(50))
    query_params: Mapped[dict[str, Any]] = mapped_column(JSON)
    cron: Mapped[str] = mapped_column(String(100))
    sends_mail: Mapped[bool] = mapped_column(Boolean, default=True)
    status: Mapped[ScheduleStatus] = mapped_column(
        words(ScheduleStatus), default=ScheduleStatus.ACTIVE
    )
    asked_by: Mapped[UUID]
    next_run_at: Mapped[datetime]
    last_run_at: Mapped[datetime | None]
    runs: Mapped[int] = mapped_column(Integer, default=0)


@dataclass(frozen=True)
class Asker:
    """Who asks, and of whose figures: a company's, or all of the tenant's."""

    tenant_id: UUID
    company_id: UUID | None
    user_id: UUID


def zone_of(session: Session, company_id: UUID | None) -> ZoneInfo:
    """Return the zone that decides which day it is; UTC for all of a tenant's companies."""
    if company_id is None:
        return ZoneInfo("UTC")
    return ZoneInfo(session.get_one(Company, company_id).time_zone)


def today_of(session: Session, company_id: UUID | None, moment: datetime) -> date:
    """Return which day it is for whoever a report is of."""
    return moment.astimezone(zone_of(session, company_id)).date()


def fingerprint(asker: Asker, kind: ReportType, params: Mapping[str, Any]) -> str:
    """Return what is the same for the same question about the same companies."""
    told = [str(asker.tenant_id), str(asker.company_id), str(kind), params]
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def fresh(session: Session, key: str, *, moment: datetime) -> AnalyticsReport | None:
    """Return the report that answers a question, if it is fresh; an old one gives its key up."""
    found = session.scalars(
        select(AnalyticsReport).where(AnalyticsReport.fresh_key == key).with_for_update()
    ).one_or_none()
    if found is None:
        return None
    if found.created_at > moment - FRESH_FOR and found.status is not ReportStatus.FAILED:
        return found
    found.fresh_key = None
    session.flush()
    return None


def ask(  # noqa: PLR0913  a question
    session: Session,
    asker: Asker,
    *,
    name: str,
    kind: ReportType,
    params: dict[str, Any],
    moment: datetime,
    schedule: ReportSchedule | None = None,
    due_at: datetime | None = None,
) -> AnalyticsReport:
    """Make a report and owe its run.

    Raises:
        IntegrityError: somebody asks the same at this moment.
    """
    report = AnalyticsReport(
        id=new_id(),
        tenant_id=asker.tenant_id,
        company_id=asker.company_id,
        report_name=name,
        report_type=kind,
        query_params=params,
        status=ReportStatus.PENDING,
        asked_by=asker.user_id,
        schedule_id=schedule.id if schedule else None,
        due_at=due_at,
        fresh_key=None if schedule else fingerprint(asker, kind, params),
        created_at=moment,
        expires_at=moment + KEPT_FOR,
    )
    session.add(report)
    session.flush()
    enqueue(session, "reports.run", company_id=asker.company_id, report_id=report.id)
    return report


def lock(session: Session, report_id: UUID) -> AnalyticsReport | None:
    """Return a report, locked until the commit."""
    return session.scalars(
        select(AnalyticsReport)
        .where(AnalyticsReport.id == report_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def waiting(session: Session, asker: Asker) -> int:
    """Return how many reports wait for their answer."""
    query = select(func.count(AnalyticsReport.id)).where(
        AnalyticsReport.tenant_id == asker.tenant_id,
        AnalyticsReport.company_id == asker.company_id
        if asker.company_id
        else AnalyticsReport.company_id.is_(None),
        AnalyticsReport.status == ReportStatus.PENDING,
    )
    return session.scalar(query) or 0


def forget_expired(session: Session, *, moment: datetime, limit: int = 100) -> int:
    """Delete reports that were kept long enough."""
    old = session.scalars(
        select(AnalyticsReport.id)
        .where(AnalyticsReport.expires_at < moment)
        .order_by(AnalyticsReport.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for report_id in old:
        session.execute(delete(AnalyticsReport).where(AnalyticsReport.id == report_id))
    return len(old)


def due_schedules(session: Session, *, moment: datetime, limit: int = 50) -> list[ReportSchedule]:
    """Lock schedules whose time has come."""
    return list(
        session.scalars(
            select(ReportSchedule)
            .where(
                ReportSchedule.status == ScheduleStatus.ACTIVE,
                ReportSchedule.next_run_at <= moment,
            )
            .order_by(ReportSchedule.next_run_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    )
