"""Reports that are asked for by the clock: named, paused, deleted."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field, StrictBool
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import report_queries, reports
from models.clock import now
from models.ids import new_id
from models.report_queries import BadQuery
from models.reports import (
    MOST_SCHEDULES,
    Asker,
    ReportSchedule,
    ReportType,
    ScheduleStatus,
)
from models.tenants import Permission
from schedules import crons
from web.api.reports import Name, ReportQuery, asker, problem_of, theirs
from web.auth import allowed, caller
from web.lists import answer_page
from web.problems import Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import ONE_LINE, Moment, PageQuery
from worker.database import in_transaction, transaction

PREFIX = "/api/v1/report-schedules"
routes = Routes("report_schedules", __name__, url_prefix=PREFIX)

Cron = Annotated[str, Field(min_length=9, max_length=100, pattern=ONE_LINE)]


class NewSchedule(Input):
    """A question and when it is asked: five fields of cron, on the clock of the company's zone."""

    report_name: Name
    report_type: ReportType
    query: ReportQuery
    cron: Cron = Field(examples=["0 7 * * 1"])
    mail: StrictBool = Field(default=True, description="Send `report_ready` with a link.")
    all_companies: StrictBool = Field(
        default=False, description="Of operators: over all companies of the tenant; without mail."
    )


class ScheduleChange(Input):
    """What is to be otherwise; what is left out stays."""

    report_name: Name | None = None
    query: ReportQuery | None = None
    cron: Cron | None = None
    mail: StrictBool | None = None
    status: ScheduleStatus | None = None


class SchedulePath(Input):
    """Which schedule."""

    schedule_id: UUID


class ScheduleAnswer(BaseModel):
    """A schedule. `next_run_at` is when it is asked next, unless it is paused."""

    id: UUID
    company_id: UUID | None
    report_name: str
    report_type: ReportType
    query_params: dict[str, Any]
    cron: str
    mail: bool
    status: ScheduleStatus
    asked_by: UUID
    next_run_at: Moment | None
    last_run_at: Moment | None
    runs: int
    created_at: Moment
    updated_at: Moment


class SchedulesAnswer(BaseModel):
    """A page of schedules, newest first."""

    data: list[ScheduleAnswer]
    next_cursor: str | None


@routes.get("", responses={200: SchedulesAnswer})
@allowed(Permission.ANALYTICS_READ)
def list_schedules(query: PageQuery) -> Response:
    """List schedules, newest first."""
    wanted = select(ReportSchedule).where(
        theirs(ReportSchedule.tenant_id, ReportSchedule.company_id)
    )
    return answer_page(ReportSchedule, wanted, query, shown)


@routes.post("", responses={201: ScheduleAnswer})
@allowed(Permission.ANALYTICS_WRITE)
def create_schedule(body: NewSchedule) -> Response:
    """Have a report made by the clock. Its days are a `period`, which moves along."""
    who = asker(all_companies=body.all_companies)
    schedule = in_transaction(_create, who.company_id, who, body)
    return respond(shown(schedule), 201, {"Location": f"{PREFIX}/{schedule.id}"})


def _create(session: Session, who: Asker, body: NewSchedule) -> ReportSchedule:
    scope = (
        ReportSchedule.company_id == who.company_id
        if who.company_id
        else ReportSchedule.company_id.is_(None)
    )
    has = session.scalar(
        select(func.count(ReportSchedule.id)).where(
            ReportSchedule.tenant_id == who.tenant_id, scope
        )
    )
    if (has or 0) >= MOST_SCHEDULES:
        raise Problem("conflict", f"There are {MOST_SCHEDULES} schedules, as many as may be.")
    schedule = ReportSchedule(
        id=new_id(),
        tenant_id=who.tenant_id,
        company_id=who.company_id,
        report_name=body.report_name,
        report_type=body.report_type,
        sends_mail=body.mail,
        status=ScheduleStatus.ACTIVE,
        asked_by=who.user_id,
        runs=0,
    )
    _set_query(session, schedule, body.query)
    _set_cron(session, schedule, body.cron)
    session.add(schedule)
    session.flush()
    return schedule


def _set_query(session: Session, schedule: ReportSchedule, query: ReportQuery) -> None:
    if query.period is None:
        raise invalid("query.period", "is needed: a schedule's days move along")
    today = reports.today_of(session, schedule.company_id, now())
    params = query.params()
    try:
        report_queries.resolve(
            schedule.report_type, params, today=today, spans=schedule.company_id is None
        )
    except BadQuery as error:
        raise problem_of(error) from None
    schedule.query_params = params


def _set_cron(session: Session, schedule: ReportSchedule, cron: str) -> None:
    """Set when it is asked; from now on, whatever was due."""
    zone = reports.zone_of(session, schedule.company_id)
    moment = now()
    try:
        crons.check(cron, after=moment, zone=zone)
    except crons.BadCron as error:
        raise invalid("cron", str(error)) from None
    schedule.cron = cron
    schedule.next_run_at = crons.next_at(cron, after=moment, zone=zone)


@routes.get("/<uuid:schedule_id>", responses={200: ScheduleAnswer})
@allowed(Permission.ANALYTICS_READ)
def read_schedule(path: SchedulePath) -> Response:
    """Return a schedule; its reports are those of the list with its `schedule_id`."""
    with transaction() as session:
        return respond(shown(_found(session, path.schedule_id)))


@routes.patch("/<uuid:schedule_id>", responses={200: ScheduleAnswer})
@allowed(Permission.ANALYTICS_WRITE)
def change_schedule(path: SchedulePath, body: ScheduleChange) -> Response:
    """Change, pause or resume a schedule. What fell into its pause is not made up for."""
    return respond(in_transaction(_change, caller().company_in_sight, path.schedule_id, body))


def _change(session: Session, schedule_id: UUID, body: ScheduleChange) -> dict[str, Any]:
    schedule = _found(session, schedule_id, is_locked=True)
    if body.report_name is not None:
        schedule.report_name = body.report_name
    if body.query is not None:
        _set_query(session, schedule, body.query)
    if body.mail is not None:
        schedule.sends_mail = body.mail
    is_resumed = body.status is ScheduleStatus.ACTIVE is not schedule.status
    if body.status is not None:
        schedule.status = body.status
    if body.cron is not None or is_resumed:
        _set_cron(session, schedule, body.cron or schedule.cron)
    session.flush()
    return shown(schedule)


@routes.delete("/<uuid:schedule_id>", responses={204: None})
@allowed(Permission.ANALYTICS_WRITE)
def delete_schedule(path: SchedulePath) -> Response:
    """Delete a schedule; the reports that it has made stay until they expire."""
    in_transaction(_delete, None, path.schedule_id)
    return Response(status=204)


def _delete(session: Session, schedule_id: UUID) -> None:
    session.delete(_found(session, schedule_id, is_locked=True))


def _found(session: Session, schedule_id: UUID, *, is_locked: bool = False) -> ReportSchedule:
    wanted = select(ReportSchedule).where(
        ReportSchedule.id == schedule_id,
        theirs(ReportSchedule.tenant_id, ReportSchedule.company_id),
    )
    schedule = session.scalars(wanted.with_for_update() if is_locked else wanted).one_or_none()
    if schedule is None:
        raise Problem("not-found", "No such schedule.")
    return schedule


def shown(schedule: ReportSchedule) -> dict[str, Any]:
    """Return a schedule as it is answered."""
    is_active = schedule.status is ScheduleStatus.ACTIVE
    return {
        **{
            name: getattr(schedule, name)
            for name in ScheduleAnswer.model_fields
            if name not in {"mail", "next_run_at"}
        },
        "mail": schedule.sends_mail,
        "next_run_at": schedule.next_run_at if is_active else None,
    }
