"""Imports: begun, watched, cancelled, and what they refused."""

from __future__ import annotations

from hashlib import sha256
from typing import Any
from uuid import UUID

from flask import Response, request
from pydantic import BaseModel, Field, StrictBool
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import imports
from models.clock import now
from models.imports import (
    Import,
    ImportFile,
    ImportKind,
    ImportPhase,
    ImportRefusal,
    ImportStatus,
)
from models.invoice_sheets import written
from models.paging import page
from models.tenants import Permission
from web.api.import_files import CSV, PREFIX, respond_csv
from web.auth import allowed, caller
from web.bodies import canonical
from web.idempotency import given_key, keyed
from web.lists import answer_page
from web.problems import DUPLICATE, Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import Moment, PageQuery, cursor_of
from worker.database import error_number, in_transaction, transaction

routes = Routes("imports", __name__, url_prefix=PREFIX)

NAMES = {
    ImportKind.STRIPE_CUSTOMERS: "customers from Stripe",
    ImportKind.INVOICES_CSV: "invoices from a file",
}
REPORT = ("line", "subject", "column", "value", "reason")


class NewImport(Input):
    """What is to be imported."""

    kind: ImportKind
    file_id: UUID | None = Field(None, description="Of a file that was sent; for invoices.")
    dry_run_id: UUID | None = Field(
        None, description="A dry run whose file is imported now, instead of file_id."
    )
    dry_run: StrictBool = Field(default=False, description="Check everything, change nothing.")
    refuse_all_if_any: StrictBool = Field(
        default=False, description="Import nothing as soon as one thing is refused."
    )
    announce: StrictBool = Field(
        default=False,
        description="Send the events and mails of a new invoice for each that is open.",
    )


class ImportCounts(BaseModel):
    """What became of what was seen; of payment methods beside."""

    seen: int
    made: int
    updated: int
    skipped: int
    refused: int
    methods_made: int
    methods_updated: int
    methods_skipped: int


class ImportAnswer(BaseModel):
    """An import, and how far it is. `total` is null where nobody can tell."""

    id: UUID
    kind: ImportKind
    status: ImportStatus
    phase: ImportPhase
    dry_run: bool
    refuse_all_if_any: bool
    announce: bool
    file_id: UUID | None
    total: int | None
    pages: int
    counts: ImportCounts
    refusals: int
    waiting_until: Moment | None
    waiting_for: str | None
    error: str | None
    created_at: Moment
    updated_at: Moment
    finished_at: Moment | None


class ImportsAnswer(BaseModel):
    """A page of imports, newest first."""

    data: list[ImportAnswer]
    next_cursor: str | None


class ImportPath(Input):
    """Which import."""

    import_id: UUID


class RefusalsQuery(Input):
    """Which page of the report. `cursor` is the `next_cursor` of the page before."""

    cursor: str | None = Field(None, pattern="^[A-Za-z0-9_-]{22}$")
    limit: int = Field(50, ge=1, le=100)


class RefusalAnswer(BaseModel):
    """A line of a file, or a customer, that was refused; `value` is shortened."""

    line: int | None
    subject: str | None
    column: str
    value: str
    reason: str


class RefusalsAnswer(BaseModel):
    """A page of the report, in the order of the file."""

    data: list[RefusalAnswer]
    next_cursor: str | None


@routes.get("", responses={200: ImportsAnswer})
@allowed(Permission.OPERATIONS)
def list_imports(query: PageQuery) -> Response:
    """List the tenant's imports, newest first."""
    ours = select(Import).where(Import.tenant_id == caller().tenant_id)
    return answer_page(Import, ours, query, shown)


@routes.post("", responses={201: ImportAnswer})
@allowed(Permission.OPERATIONS)
@keyed
def begin_import(body: NewImport) -> Response:
    """Begin an import; a worker goes on page by page. One of a kind runs at a time, else 409.

    Safe twice: what is here already is skipped, or brought up to date. With an `Idempotency-Key`
    the same request is answered with the same import.
    """
    key = given_key()
    fingerprint = sha256(canonical(request.get_json())).hexdigest()
    if (known := in_transaction(_by_key, None, key, fingerprint)) is not None:
        return _replayed(known)
    try:
        row = in_transaction(_begin, None, body, key, fingerprint)
    except IntegrityError as error:
        if error_number(error) != DUPLICATE:
            raise
        if (known := in_transaction(_by_key, None, key, fingerprint)) is not None:
            return _replayed(known)
        raise in_transaction(_busy, None, body.kind) from None
    return respond(shown(row), 201, {"Location": f"{PREFIX}/{row.id}"})


def _replayed(row: Import) -> Response:
    headers = {"Location": f"{PREFIX}/{row.id}", "Idempotent-Replayed": "true"}
    return respond(shown(row), 201, headers)


def _by_key(session: Session, key: str | None, fingerprint: str) -> Import | None:
    if key is None:
        return None
    row = session.scalars(
        select(Import).where(Import.tenant_id == caller().tenant_id, Import.idempotency_key == key)
    ).one_or_none()
    if row is not None and row.fingerprint != fingerprint:
        raise Problem("key-reused")
    return row


def _busy(session: Session, kind: ImportKind) -> Problem:
    running = session.scalar(
        select(Import.id).where(Import.running_key == imports.running_key(caller().tenant_id, kind))
    )
    which = f" ({running})" if running else ""
    return Problem(
        "conflict",
        f"An import of {NAMES[kind]} is running already{which}. Wait until it ends, or cancel it.",
    )


def _begin(session: Session, body: NewImport, key: str | None, fingerprint: str) -> Import:
    who = caller()
    is_of_invoices = body.kind is ImportKind.INVOICES_CSV
    file = _file(session, body) if is_of_invoices else None
    if not is_of_invoices:
        _check_customers(session, body)
    return imports.begin(
        session,
        tenant_id=who.tenant_id,
        kind=body.kind,
        asked_by=who.user_id,
        is_dry_run=body.dry_run,
        refuses_all=body.refuse_all_if_any and not body.dry_run,
        announces=body.announce,
        file=file,
        idempotency_key=key,
        fingerprint=fingerprint,
    )


def _check_customers(session: Session, body: NewImport) -> None:
    if body.file_id or body.dry_run_id:
        raise invalid("file_id", "goes with invoices_csv only")
    if body.announce:
        raise invalid("announce", "goes with invoices_csv only")
    if not imports.may_ask_provider(session, caller().tenant_id):
        raise Problem(
            "forbidden",
            "The account at Stripe is this installation's: its own operators list who is in it.",
        )


def _file(session: Session, body: NewImport) -> ImportFile:
    """Return the file that is to be imported."""
    if (body.file_id is None) == (body.dry_run_id is None):
        raise invalid("file_id", "or dry_run_id must be given, and not both")
    file_id = body.file_id
    if body.dry_run_id is not None:
        tried = _found(session, body.dry_run_id)
        if tried.kind is not body.kind or not tried.is_dry_run:
            raise invalid("dry_run_id", "is not a dry run of a file")
        file_id = tried.file_id
    file = session.get(ImportFile, file_id)
    if file is None or file.tenant_id != caller().tenant_id:
        raise Problem("not-found", "No such file.")
    if not file.pages:
        raise Problem("conflict", "The file was kept for 30 days and is forgotten: send it again.")
    return file


@routes.get("/<uuid:import_id>", responses={200: ImportAnswer})
@allowed(Permission.OPERATIONS)
def read_import(path: ImportPath) -> Response:
    """Return an import and how far it is."""
    with transaction() as session:
        return respond(shown(_found(session, path.import_id)))


@routes.post("/<uuid:import_id>/cancel", responses={200: ImportAnswer})
@allowed(Permission.OPERATIONS)
def cancel_import(path: ImportPath) -> Response:
    """Stop an import after what it is at; what it has made stays. Twice is once."""
    row = in_transaction(_cancel, None, path.import_id)
    return respond(shown(row))


def _cancel(session: Session, import_id: UUID) -> Import:
    _found(session, import_id)
    row = imports.lock(session, import_id)
    if row is None or not (row.is_running or row.status == ImportStatus.CANCELED):
        raise Problem("conflict", "The import has ended already.")
    if row.is_running:
        imports.end(row, ImportStatus.CANCELED, moment=now())
    return row


@routes.get("/<uuid:import_id>/refusals", responses={200: RefusalsAnswer})
@allowed(Permission.OPERATIONS)
def list_refusals(path: ImportPath, query: RefusalsQuery) -> Response:
    """List every line, or customer, that was refused, and why."""
    after = PageQuery(cursor=query.cursor, limit=query.limit).after
    with transaction() as session:
        _found(session, path.import_id)
        wanted = _report(path.import_id)
        if after is not None:
            wanted = wanted.where(ImportRefusal.id > after)
        found = page(list(session.scalars(wanted.limit(query.limit + 1))), query.limit)
    return respond(
        {
            "data": [_shown_refusal(each) for each in found.rows],
            "next_cursor": cursor_of(found.next_after),
        }
    )


@routes.get("/<uuid:import_id>/refusals.csv", responses={200: CSV})
@allowed(Permission.OPERATIONS)
def export_refusals(path: ImportPath) -> Response:
    """Return the whole report as a file; what a spreadsheet would take for a formula is quoted."""
    with transaction() as session:
        _found(session, path.import_id)
        rows = [
            [str(value) if value is not None else "" for value in _shown_refusal(each).values()]
            for each in session.scalars(_report(path.import_id))
        ]
    return respond_csv(written([list(REPORT), *rows]), f"refused-{path.import_id}.csv")


def _report(import_id: UUID) -> Any:
    refusals = select(ImportRefusal).where(ImportRefusal.import_id == import_id)
    return refusals.order_by(ImportRefusal.id)


def _shown_refusal(each: ImportRefusal) -> dict[str, Any]:
    return {
        "line": each.line,
        "subject": each.subject,
        "column": each.field,
        "value": each.value,
        "reason": each.reason,
    }


def _found(session: Session, import_id: UUID) -> Import:
    row = session.get(Import, import_id)
    if row is None or row.tenant_id != caller().tenant_id:
        raise Problem("not-found", "No such import.")
    return row


def shown(row: Import) -> dict[str, Any]:
    """Return an import as it is answered."""
    return {
        "id": row.id,
        "kind": row.kind,
        "status": row.status,
        "phase": row.phase,
        "dry_run": row.is_dry_run,
        "refuse_all_if_any": row.refuses_all,
        "announce": row.announces,
        "file_id": row.file_id,
        "total": row.total,
        "pages": row.pages,
        "counts": {name: getattr(row, name) for name in ImportCounts.model_fields},
        "refusals": row.refusals,
        "waiting_until": row.waiting_until,
        "waiting_for": row.waiting_for,
        "error": row.error,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "finished_at": row.finished_at,
    }
