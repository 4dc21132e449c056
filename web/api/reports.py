"""Reports: asked for, read, taken as a file."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field, StrictBool
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, Session, undefer

from models import report_queries, reports
from models.clock import now
from models.report_queries import PERIODS, BadQuery
from models.reports import AnalyticsReport, Asker, ReportStatus, ReportType
from models.tenants import Permission, Role
from web.auth import allowed, caller
from web.lists import answer_page
from web.problems import DUPLICATE, FieldError, Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import WRITTEN, Day, Moment, PageQuery
from worker.database import error_number, in_transaction, transaction
from worker.report_files import PARQUET, csv_of, parquet_of

PREFIX = "/api/v1/reports"
routes = Routes("reports", __name__, url_prefix=PREFIX)

Word = Annotated[str, Field(min_length=1, max_length=100)]
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=WRITTEN)]
FORMATS: dict[str, dict[str, Any]] = {
    kind: {"description": "The file", "content": {kind: {"schema": schema}}}
    for kind, schema in (
        ("text/csv", {"type": "string"}),
        (PARQUET, {"type": "string", "format": "binary"}),
    )
}


class ReportFilter(Input):
    """What of the figures is looked at."""

    field: Word
    op: Word = "eq"
    value: Word | list[Word]


class ReportOrder(Input):
    """By which column the rows are ordered."""

    by: Word
    direction: Literal["asc", "desc"] = "asc"


class ReportQuery(Input):
    """What is asked. `from` to `to`, both included, or a `period`; the rest by the report's type.

    Reports of `revenue` and `usage` take `granularity`, and of `revenue` a `currency`; `custom`
    ones take `metrics`, `dimensions`, `filters`, `order` and `limit`.
    """

    from_: Day | None = Field(None, alias="from")
    to: Day | None = None
    period: Word | None = Field(None, description=f"One of {', '.join(PERIODS)}.")
    granularity: Word | None = None
    currency: Word | None = None
    metrics: list[Word] | None = Field(None, max_length=50)
    dimensions: list[Word] | None = Field(None, max_length=20)
    filters: list[ReportFilter] | None = Field(None, max_length=20)
    order: list[ReportOrder] | None = Field(None, max_length=20)
    limit: int | None = None

    def params(self) -> dict[str, Any]:
        """Return what was given, as it is kept."""
        return self.model_dump(by_alias=True, exclude_unset=True, mode="json")


class NewReport(Input):
    """A question. The same one within an hour is answered by the same report."""

    report_type: ReportType
    report_name: Name | None = None
    query: ReportQuery
    all_companies: StrictBool = Field(
        default=False, description="Of operators: over all companies of the tenant."
    )


class ReportPath(Input):
    """Which report."""

    report_id: UUID


class ReportsQuery(PageQuery):
    """Which reports."""

    report_type: ReportType | None = None
    schedule_id: UUID | None = None


class ReportAnswer(BaseModel):
    """A report. `is_cut`: there would have been more rows than the limit."""

    id: UUID
    company_id: UUID | None
    report_name: str
    report_type: ReportType
    query_params: dict[str, Any]
    status: ReportStatus
    error: str | None
    row_count: int | None
    is_cut: bool
    schedule_id: UUID | None
    asked_by: UUID
    generated_at: Moment | None
    expires_at: Moment
    created_at: Moment


class ReportResults(BaseModel):
    """Columns, each with its kind (`date`, `text`, `number`), and rows of text or null."""

    columns: list[dict[str, Any]]
    rows: list[list[str | None]]


class WholeReportAnswer(ReportAnswer):
    """A report with what came of it; null until it is done."""

    results: ReportResults | None


class ReportsAnswer(BaseModel):
    """A page of reports, newest first."""

    data: list[ReportAnswer]
    next_cursor: str | None


def theirs(
    tenant_id: InstrumentedAttribute[Any], company_id: InstrumentedAttribute[Any]
) -> ColumnElement[bool]:
    """Return the condition that a row is the company's; an operator sees the tenant's own too."""
    who = caller()
    if who.role is not Role.OPERATOR:
        return and_(tenant_id == who.tenant_id, company_id == who.company_id)
    if who.company_in_sight is None:
        return tenant_id == who.tenant_id
    return and_(
        tenant_id == who.tenant_id, or_(company_id == who.company_in_sight, company_id.is_(None))
    )


def asker(*, all_companies: bool) -> Asker:
    """Return who asks; all of a tenant's companies are for its operators."""
    who = caller()
    if all_companies and who.role is not Role.OPERATOR:
        raise invalid("all_companies", "is for operators")
    return Asker(who.tenant_id, None if all_companies else who.company_id, who.user_id)


def problem_of(error: BadQuery) -> Problem:
    """Return the 422 that names each part of a query that is wrong."""
    errors = [FieldError(f"query.{path}" if path else "query", said) for path, said in error.wrong]
    return Problem("invalid", f"{errors[0].field} {errors[0].detail}", errors=errors)


@routes.get("", responses={200: ReportsAnswer})
@allowed(Permission.ANALYTICS_READ)
def list_reports(query: ReportsQuery) -> Response:
    """List reports, newest first, without their results."""
    wanted = select(AnalyticsReport).where(
        theirs(AnalyticsReport.tenant_id, AnalyticsReport.company_id)
    )
    if query.report_type is not None:
        wanted = wanted.where(AnalyticsReport.report_type == query.report_type)
    if query.schedule_id is not None:
        wanted = wanted.where(AnalyticsReport.schedule_id == query.schedule_id)
    return answer_page(AnalyticsReport, wanted, query, shown)


@routes.post("", responses={200: ReportAnswer, 202: ReportAnswer})
@allowed(Permission.ANALYTICS_WRITE)
def ask_for_report(body: NewReport) -> Response:
    """Ask for a report; a worker makes it. 200 where the same question has its answer already.

    The same question within an hour is the same report, so asking twice makes one.
    """
    who = asker(all_companies=body.all_companies)
    for is_last in (False, True):
        try:
            report = in_transaction(_ask, who.company_id, who, body)
            break
        except IntegrityError as error:
            # Somebody has asked the same meanwhile: theirs is found now.
            if is_last or error_number(error) != DUPLICATE:
                raise
    status = 200 if report.status is ReportStatus.DONE else 202
    return respond(shown(report), status, {"Location": f"{PREFIX}/{report.id}"})


def _ask(session: Session, who: Asker, body: NewReport) -> AnalyticsReport:
    moment = now()
    today = reports.today_of(session, who.company_id, moment)
    try:
        params = report_queries.resolve(
            body.report_type, body.query.params(), today=today, spans=who.company_id is None
        )
    except BadQuery as error:
        raise problem_of(error) from None
    key = reports.fingerprint(who, body.report_type, params)
    known = reports.fresh(session, key, moment=moment)
    if known is not None:
        return known
    if reports.waiting(session, who) >= reports.MOST_WAITING:
        raise Problem(
            "too-many-requests",
            f"{reports.MOST_WAITING} reports wait already: ask again when one is done.",
            headers={"Retry-After": "30"},
        )
    name = body.report_name or body.report_type.capitalize()
    return reports.ask(session, who, name=name, kind=body.report_type, params=params, moment=moment)


@routes.get("/<uuid:report_id>", responses={200: WholeReportAnswer})
@allowed(Permission.ANALYTICS_READ)
def read_report(path: ReportPath) -> Response:
    """Return a report with its results."""
    report = _read(path.report_id)
    return respond({**shown(report), "results": report.results})


@routes.get("/<uuid:report_id>.json", responses={200: ReportResults})
@allowed(Permission.ANALYTICS_READ)
def download_json(path: ReportPath) -> Response:
    """Return a report's columns and rows as a JSON file."""
    return _file(path, "json", "application/json", json.dumps(_done(path).results))


@routes.get("/<uuid:report_id>.csv", responses={200: FORMATS["text/csv"]})
@allowed(Permission.ANALYTICS_READ)
def download_csv(path: ReportPath) -> Response:
    """Return a report as CSV; what a spreadsheet would take for a formula is quoted."""
    return _file(path, "csv", "text/csv; charset=utf-8", csv_of(_done(path).results or {}))


@routes.get("/<uuid:report_id>.parquet", responses={200: FORMATS[PARQUET]})
@allowed(Permission.ANALYTICS_READ)
def download_parquet(path: ReportPath) -> Response:
    """Return a report as Parquet: days as dates, values as exact decimals."""
    return _file(path, "parquet", PARQUET, parquet_of(_done(path).results or {}))


def _file(path: ReportPath, suffix: str, kind: str, content: str | bytes) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="report-{path.report_id}.{suffix}"'}
    return Response(content, 200, headers, content_type=kind)


@routes.delete("/<uuid:report_id>", responses={204: None})
@allowed(Permission.ANALYTICS_WRITE)
def delete_report(path: ReportPath) -> Response:
    """Delete a report, whoever of the company has asked for it. What runs for it then ends."""
    in_transaction(_delete, None, path.report_id)
    return Response(status=204)


def _delete(session: Session, report_id: UUID) -> None:
    _found(session, report_id)
    report = reports.lock(session, report_id)
    if report is None:
        raise Problem("not-found", "No such report.")
    session.delete(report)


def _read(report_id: UUID) -> AnalyticsReport:
    with transaction() as session:
        return _found(session, report_id)


def _done(path: ReportPath) -> AnalyticsReport:
    report = _read(path.report_id)
    if report.status is ReportStatus.FAILED:
        raise Problem("conflict", f"The report has failed: {report.error}")
    if report.status is not ReportStatus.DONE:
        raise Problem("conflict", "The report is not done yet.", headers={"Retry-After": "2"})
    return report


def _found(session: Session, report_id: UUID) -> AnalyticsReport:
    report = session.scalars(
        select(AnalyticsReport)
        .where(
            AnalyticsReport.id == report_id,
            theirs(AnalyticsReport.tenant_id, AnalyticsReport.company_id),
        )
        .options(undefer(AnalyticsReport.results))
    ).one_or_none()
    if report is None:
        raise Problem("not-found", "No such report.")
    return report


def shown(report: AnalyticsReport) -> dict[str, Any]:
    """Return a report as it is answered, without its results."""
    return {name: getattr(report, name) for name in ReportAnswer.model_fields}
