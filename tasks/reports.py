"""Reports: answering what was asked, and asking again what the clock asks for.

reports.run      read the figures and keep the answer
reports.sweep    beat's ring: claims schedules whose time has come, and forgets old reports
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from models import report_answers, report_queries, reports
from models.clock import now
from models.outbox import Owed, OwedStatus, enqueue
from models.report_queries import BadQuery, Query
from models.reports import (
    AnalyticsReport,
    Asker,
    ReportSchedule,
    ReportStatus,
    ScheduleStatus,
)
from schedules import crons
from worker.app import Debt, calling_task, periodic
from worker.database import in_transaction
from worker.report_database import TooLong, reading
from worker.tally import tally

log = logging.getLogger(__name__)

READY = "report_ready"


@dataclass(frozen=True)
class Asked:
    """What a run needs."""

    report_id: UUID
    tenant_id: UUID
    company_id: UUID | None
    query: Query


def _claim(session: Session, debt: Debt, *, report_id: str) -> Asked | None:
    report = reports.lock(session, UUID(report_id))
    if report is None or report.status is not ReportStatus.PENDING:
        debt.end(session)
        return None
    query = report_queries.read(report.query_params)
    return Asked(report.id, report.tenant_id, report.company_id, query)


def _give_up(session: Session, owed: Owed, error: str) -> None:
    """End a report whose task is dead, so that who waits is told."""
    if owed.status is OwedStatus.DEAD:
        _fail(session, UUID(owed.arguments["report_id"]), "It could not be made. We look into it.")
        log.error("a report was given up: %s", error)


@calling_task("reports.run", claim=_claim, on_failure=_give_up)
def run(debt: Debt, asked: Asked) -> None:
    """Answer a report. Safe twice: it only reads, and what was answered is answered once."""
    try:
        with reading(company_id=asked.company_id) as session:
            results = report_answers.run(
                session, asked.query, tenant_id=asked.tenant_id, company_id=asked.company_id
            )
    except TooLong as error:
        in_transaction(_end_failed, asked.company_id, debt, asked.report_id, str(error))
        return
    in_transaction(_keep, asked.company_id, debt, asked.report_id, results)


def _keep(session: Session, debt: Debt, report_id: UUID, results: dict[str, Any]) -> None:
    debt.end(session)
    report = reports.lock(session, report_id)
    if report is None or report.status is not ReportStatus.PENDING:
        return
    report.is_cut = results.pop("is_cut")
    report.results = results
    report.row_count = len(results["rows"])
    report.status, report.generated_at = ReportStatus.DONE, now()
    tally(session, "reports.ended", kind=str(report.report_type), outcome=str(report.status))
    _tell(session, report)


def _end_failed(session: Session, debt: Debt, report_id: UUID, error: str) -> None:
    debt.end(session)
    _fail(session, report_id, error)


def _fail(session: Session, report_id: UUID, error: str) -> None:
    report = reports.lock(session, report_id)
    if report is None or report.status is not ReportStatus.PENDING:
        return
    report.status, report.error, report.fresh_key = ReportStatus.FAILED, error, None
    tally(session, "reports.ended", kind=str(report.report_type), outcome=str(report.status))


def _tell(session: Session, report: AnalyticsReport) -> None:
    """Owe the mail about a report that the clock has asked for; an answer by hand is looked at."""
    schedule = session.get(ReportSchedule, report.schedule_id) if report.schedule_id else None
    if schedule is None or not schedule.sends_mail or report.company_id is None:
        return
    enqueue(
        session,
        "notifications.notify",
        company_id=report.company_id,
        template=READY,
        subject="analytics_report",
        subject_id=report.id,
        number=0,
        told={
            "name": report.report_name,
            "from": report.query_params["from"],
            "to": report.query_params["to"],
            "rows": report.row_count or 0,
            "report_id": str(report.id),
        },
    )


@periodic("reports.sweep")
def sweep() -> None:
    """Ask what the clock asks for. Safe in any number of copies: a time has one report."""
    moment = now()
    while in_transaction(_ask_due, None, moment):
        pass
    while in_transaction(reports.forget_expired, None, moment=moment):
        pass


def _ask_due(session: Session, moment: datetime) -> int:
    found = reports.due_schedules(session, moment=moment)
    for schedule in found:
        _ask(session, schedule, moment)
    return len(found)


def _ask(session: Session, schedule: ReportSchedule, moment: datetime) -> None:
    """Ask once for what has become due, however often it would have been, and set the next time."""
    due_at = schedule.next_run_at
    zone = reports.zone_of(session, schedule.company_id)
    today = due_at.astimezone(zone).date()
    schedule.next_run_at = crons.next_at(schedule.cron, after=moment, zone=zone)
    schedule.last_run_at = due_at
    schedule.runs += 1
    try:
        params = report_queries.resolve(
            schedule.report_type,
            schedule.query_params,
            today=today,
            spans=schedule.company_id is None,
        )
    except BadQuery as error:
        # A metric that it asks for is gone since.
        schedule.status = ScheduleStatus.PAUSED
        log.warning("schedule %s asks for what there is no more: %s", schedule.id, error)
        return
    reports.ask(
        session,
        Asker(schedule.tenant_id, schedule.company_id, schedule.asked_by),
        name=schedule.report_name,
        kind=schedule.report_type,
        params=params,
        moment=moment,
        schedule=schedule,
        due_at=due_at.astimezone(UTC),
    )
