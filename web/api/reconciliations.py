"""Reconciliations: begun, watched, and the breaks that each has seen as a file."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import reconciliations
from models.breaks import ReconciliationBreak, seen_by
from models.clock import now
from models.imports import may_ask_provider
from models.invoice_sheets import written
from models.reconciliations import LAG, LONGEST, Phase, ReconciliationRun, RunStatus
from models.tenants import Permission
from models.transactions import Provider
from web.api.import_files import CSV, respond_csv
from web.auth import allowed, caller
from web.lists import answer_page
from web.problems import DUPLICATE, Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import Moment, PageQuery
from worker.database import error_number, in_transaction, transaction

PREFIX = "/api/v1/reconciliations"
DAY = timedelta(days=1)
MOST_LINES = 100_000  # of a file: more than a person or a spreadsheet takes
COLUMNS = (
    *("id", "kind", "status", "object_id", "company_id", "transaction_id", "amount", "currency"),
    *("ours", "theirs", "happened_at", "first_seen", "last_seen", "age_days", "owner_id"),
    *("resolution", "note"),
)
SIDES = {"ours", "theirs"}

routes = Routes("reconciliations", __name__, url_prefix=PREFIX)


class Compared(StrEnum):
    """Whose book can be compared with ours."""

    STRIPE = "stripe"
    PAYPAL = "paypal"


class NewReconciliation(Input):
    """Which days are to be compared, in UTC."""

    provider: Compared
    start_date: date
    end_date: date | None = Field(
        None, description="The last day; if not given, until as late as the provider can tell."
    )


class ReconciliationAnswer(BaseModel):
    """A run: its window (the end not included), how far it is and what it has found."""

    id: UUID
    provider: Provider
    starts_at: Moment
    ends_at: Moment
    status: RunStatus
    phase: Phase
    provider_rows: int
    our_rows: int
    matched: int
    suspects: int
    confirmed: int
    opened: int
    closed: int
    waiting_until: Moment | None
    waiting_for: str | None
    error: str | None
    asked_by: UUID | None
    created_at: Moment
    updated_at: Moment
    finished_at: Moment | None


class ReconciliationsAnswer(BaseModel):
    """A page of runs, newest first."""

    data: list[ReconciliationAnswer]
    next_cursor: str | None


class ReconciliationPath(Input):
    """Which run."""

    run_id: UUID


@routes.get("", responses={200: ReconciliationsAnswer})
@allowed(Permission.OPERATIONS)
def list_reconciliations(query: PageQuery) -> Response:
    """List the runs, newest first."""
    ours = select(ReconciliationRun).where(ReconciliationRun.tenant_id == caller().tenant_id)
    return answer_page(ReconciliationRun, ours, query, shown)


@routes.post("", responses={202: ReconciliationAnswer})
@allowed(Permission.OPERATIONS)
def begin_reconciliation(body: NewReconciliation) -> Response:
    """Begin a run; a worker goes on chunk by chunk. One of a provider runs at a time, else 409.

    Nothing is charged, refunded or changed at the provider. Safe twice: a break is kept once.
    """
    provider = Provider(body.provider.value)
    starts_at, ends_at = _window(body, provider)
    try:
        row = in_transaction(_begin, None, provider, starts_at, ends_at)
    except IntegrityError as error:
        if error_number(error) != DUPLICATE:
            raise
        raise Problem(
            "conflict", f"A run of {provider} is under way. Wait until it ends."
        ) from None
    return respond(shown(row), 202, {"Location": f"{PREFIX}/{row.id}"})


def _window(body: NewReconciliation, provider: Provider) -> tuple[datetime, datetime]:
    """Return the window in UTC; what the provider cannot tell yet is left to a later run."""
    if body.end_date is not None and body.end_date < body.start_date:
        raise invalid("end_date", "is before start_date")
    told = (now() - LAG[provider]).replace(microsecond=0)
    starts_at = datetime.combine(body.start_date, time(), UTC)
    ends_at = told
    if body.end_date is not None and body.end_date < told.date():
        ends_at = datetime.combine(body.end_date + DAY, time(), UTC)
    if starts_at >= ends_at:
        raise invalid("start_date", f"is later than {provider} can tell of yet")
    if ends_at - starts_at > LONGEST:
        raise invalid("start_date", f"is more than {LONGEST.days} days before the end")
    return starts_at, ends_at


def _begin(
    session: Session, provider: Provider, starts_at: datetime, ends_at: datetime
) -> ReconciliationRun:
    who = caller()
    if not may_ask_provider(session, who.tenant_id):
        raise Problem(
            "forbidden",
            f"The account at {provider} is this installation's: its own operators compare it.",
        )
    return reconciliations.begin(
        session,
        tenant_id=who.tenant_id,
        provider=provider,
        starts_at=starts_at,
        ends_at=ends_at,
        asked_by=who.user_id,
    )


@routes.get("/<uuid:run_id>", responses={200: ReconciliationAnswer})
@allowed(Permission.OPERATIONS)
def read_reconciliation(path: ReconciliationPath) -> Response:
    """Return a run and how far it is."""
    with transaction() as session:
        return respond(shown(_found(session, path.run_id)))


@routes.get("/<uuid:run_id>/breaks.csv", responses={200: CSV})
@allowed(Permission.OPERATIONS)
def export_breaks(path: ReconciliationPath) -> Response:
    """Return the breaks that a run was the last to see, as a file.

    What a spreadsheet would take for a formula is quoted.
    """
    moment = now()
    with transaction() as session:
        _found(session, path.run_id)
        wanted = select(ReconciliationBreak).where(
            seen_by(caller().tenant_id), ReconciliationBreak.run_id == path.run_id
        )
        rows = [
            _line(each, moment)
            for each in session.scalars(wanted.order_by(ReconciliationBreak.id).limit(MOST_LINES))
        ]
    return respond_csv(written([list(COLUMNS), *rows]), f"breaks-{path.run_id}.csv")


def _line(row: ReconciliationBreak, moment: datetime) -> list[str]:
    line = []
    for name in COLUMNS:
        value: Any = _age_days(row, moment) if name == "age_days" else getattr(row, name)
        if name in SIDES and value is not None:
            value = "; ".join(f"{word}: {each}" for word, each in value.items())
        if isinstance(value, datetime):
            value = value.isoformat()
        line.append("" if value is None else str(value))
    return line


def _age_days(row: ReconciliationBreak, moment: datetime) -> int:
    return (moment - row.first_seen).days


def _found(session: Session, run_id: UUID) -> ReconciliationRun:
    row = session.get(ReconciliationRun, run_id)
    if row is None or row.tenant_id != caller().tenant_id:
        raise Problem("not-found", "No such reconciliation.")
    return row


def shown(row: ReconciliationRun) -> dict[str, Any]:
    """Return a run as it is answered."""
    return {name: getattr(row, name) for name in ReconciliationAnswer.model_fields}
