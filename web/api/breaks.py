"""Breaks: what we and a provider do not agree about, mended where that is safe, else seen to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field, StrictBool
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from models import repairs
from models.breaks import BreakKind, BreakStatus, ReconciliationBreak, Resolution, seen_by
from models.clock import now
from models.operations import Action
from models.tenants import Permission, Role, User
from models.transactions import Provider
from web.api.operations import write_down
from web.api.reconciliations import Compared
from web.auth import allowed, caller
from web.lists import answer_page
from web.problems import Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import WRITTEN, Moment, PageQuery
from worker.database import in_transaction, transaction

routes = Routes("breaks", __name__, url_prefix="/api/v1/breaks")


class BreaksQuery(PageQuery):
    """Which breaks."""

    status: BreakStatus | None = None
    kind: BreakKind | None = None
    provider: Compared | None = None
    run_id: UUID | None = Field(None, description="Those that this run was the last to see.")


class BreakPath(Input):
    """Which break."""

    break_id: UUID


class Assignment(Input):
    """Who sees to it: an operator, or nobody."""

    user_id: UUID | None


class Settlement(Input):
    """How it was seen to."""

    note: str = Field(min_length=1, max_length=2000, pattern=WRITTEN)


class BreakAnswer(BaseModel):
    """What does not agree, with both sides as they were last seen."""

    id: UUID
    kind: BreakKind
    status: BreakStatus
    provider: Provider
    subject: str
    object_id: str
    company_id: UUID | None
    transaction_id: UUID | None
    run_id: UUID | None
    amount: str | None
    currency: str | None
    ours: dict[str, Any] | None
    theirs: dict[str, Any] | None
    is_repairable: StrictBool
    repair_error: str | None
    owner_id: UUID | None
    resolution: Literal["agreed", "repaired", "accepted"] | None
    note: str | None
    resolved_by: UUID | None
    resolved_at: Moment | None
    happened_at: Moment | None
    first_seen: Moment
    last_seen: Moment


class BreaksAnswer(BaseModel):
    """A page of breaks, newest first."""

    data: list[BreakAnswer]
    next_cursor: str | None


def _is_seen() -> ColumnElement[bool]:
    """Return the condition that a break is the caller's to see.

    The platform's operators see all, also those of which nobody knows whose they are; another
    tenant's those of its own companies. Whoever names a company sees that one's.
    """
    who = caller()
    return seen_by(who.tenant_id, who.acting_for)


@routes.get("", responses={200: BreaksAnswer})
@allowed(Permission.OPERATIONS)
def list_breaks(query: BreaksQuery) -> Response:
    """List the breaks, newest first."""
    wanted = select(ReconciliationBreak).where(_is_seen())
    for name in ("status", "kind", "provider", "run_id"):
        value = getattr(query, name)
        if value is not None:
            given = Provider(value.value) if name == "provider" else value
            wanted = wanted.where(getattr(ReconciliationBreak, name) == given)
    return answer_page(ReconciliationBreak, wanted, query, shown)


@routes.get("/<uuid:break_id>", responses={200: BreakAnswer})
@allowed(Permission.OPERATIONS)
def read_break(path: BreakPath) -> Response:
    """Return a break with both sides, and whether it can be mended by itself."""
    with transaction() as session:
        return respond(shown(_found(session, path.break_id)))


@routes.post("/<uuid:break_id>/repair", responses={202: BreakAnswer})
@allowed(Permission.OPERATIONS)
def repair_break(path: BreakPath) -> Response:
    """Ask the provider about a break that is safe to mend, and believe it; a worker does.

    Nothing is charged or refunded. What differs still stays open, and says why in `repair_error`.
    Safe twice: what is so already stays so.
    """
    return respond(in_transaction(_act, None, path.break_id, _repair), 202)


@routes.post("/<uuid:break_id>/resolve", responses={200: BreakAnswer})
@allowed(Permission.OPERATIONS)
def resolve_break(path: BreakPath, body: Settlement) -> Response:
    """Say that a break was seen to, and how. It stays so until either side changes."""
    if not body.note.strip():
        raise invalid("note", "says nothing")

    def resolve(session: Session, row: ReconciliationBreak) -> None:
        row.status, row.resolution = BreakStatus.RESOLVED, Resolution.ACCEPTED
        row.note, row.resolved_by, row.resolved_at = body.note, caller().user_id, now()
        _write_down(session, Action.RESOLVE, row, body.note)

    return respond(in_transaction(_act, None, path.break_id, resolve))


@routes.post("/<uuid:break_id>/assign", responses={200: BreakAnswer})
@allowed(Permission.OPERATIONS)
def assign_break(path: BreakPath, body: Assignment) -> Response:
    """Say which operator sees to a break, or that nobody does."""

    def assign(session: Session, row: ReconciliationBreak) -> None:
        if body.user_id is not None:
            _check_operator(session, body.user_id)
        row.owner_id = body.user_id

    return respond(in_transaction(_act, None, path.break_id, assign))


def _repair(session: Session, row: ReconciliationBreak) -> None:
    if not repairs.is_repairable(row):
        raise Problem(
            "conflict", "Nobody may guess here: it is for a person to see to, and to resolve."
        )
    row.repair_error = None
    repairs.owe(session, row)
    _write_down(session, Action.REPLAY, row, None)


def _check_operator(session: Session, user_id: UUID) -> None:
    user = session.get(User, user_id)
    is_ours = user is not None and user.tenant_id == caller().tenant_id
    if user is None or not (is_ours and user.is_active and user.role == Role.OPERATOR):
        raise invalid("user_id", "is no operator here")


def _act(
    session: Session, break_id: UUID, act: Callable[[Session, ReconciliationBreak], None]
) -> dict[str, Any]:
    """Act on an open break, locked."""
    _found(session, break_id)
    row = repairs.lock(session, break_id)
    if row is None:
        raise Problem("not-found", "No such break.")
    if row.status != BreakStatus.OPEN:
        raise Problem("conflict", f"The break is {row.status} already.")
    act(session, row)
    session.flush()
    return shown(row)


def _write_down(
    session: Session, action: Action, row: ReconciliationBreak, note: str | None
) -> None:
    write_down(session, action, "break", row.id, company_id=row.company_id, note=note)


def _found(session: Session, break_id: UUID) -> ReconciliationBreak:
    query = select(ReconciliationBreak).where(ReconciliationBreak.id == break_id, _is_seen())
    found = session.scalars(query).one_or_none()
    if found is None:
        raise Problem("not-found", "No such break.")
    return found


def shown(row: ReconciliationBreak) -> dict[str, Any]:
    """Return a break as it is answered."""
    told = {
        name: getattr(row, name)
        for name in BreakAnswer.model_fields
        if name not in ("is_repairable", "amount")
    }
    amount = None if row.amount is None else f"{row.amount:.2f}"
    return told | {"is_repairable": repairs.is_repairable(row), "amount": amount}
