"""What operators see and do: whose rows they may, dry runs, acts written down, the invariants."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field, StrictBool, model_validator
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.operations import Action, OperatorAct
from models.outbox import enqueue
from models.tenants import Company, Permission
from web.auth import allowed, caller
from web.openapi import WAITS
from web.problems import Problem, invalid, unavailable
from web.routes import Input, Routes, respond
from web.schemas import Moment
from web.waiting import preference, wait_for
from worker import replies, telemetry
from worker.database import transaction
from worker.judge import Verdict, companies_in, ids_in, judge

PREFIX = "/api/v1/operations"
routes = Routes("operations", __name__, url_prefix=PREFIX)

# How many may be replayed by one request, and how many of them may be foreseen.
MOST = 500
MOST_FORESEEN = 20
JUDGED_FOR_S = 10.0


class Again(Input):
    """Replaying one: now, or only what it would change."""

    dry_run: StrictBool = Field(
        default=False, description="Change nothing; tell what would change."
    )
    note: str | None = Field(None, max_length=2000, description="Why, for whoever reads the acts.")


class Several(Again):
    """Which to replay, by their ids; a filter does as well."""

    ids: list[UUID] | None = Field(None, min_length=1, max_length=MOST)

    @model_validator(mode="after")
    def _names_them(self) -> Several:
        if (self.ids is None) == (getattr(self, "filter", None) is None):
            raise ValueError("give either ids or a filter")
        return self


class ChangeAnswer(BaseModel):
    """A row that would be written: of each column what it is and what it would be."""

    table: str
    id: UUID | None
    how: Literal["insert", "update", "delete"]
    columns: dict[str, list[Any]]


class ForeseenAnswer(BaseModel):
    """What replaying one would do. Of a call to a provider what it would be; it is not made."""

    id: UUID
    changes: list[ChangeAnswer]
    more_changes: int
    owes: list[dict[str, Any]]
    announces: list[dict[str, Any]]
    ends: list[UUID]
    call: dict[str, Any] | None
    error: str | None
    waits: str | None


class ReplayAnswer(BaseModel):
    """What is owed again; in a dry run what would be, and what that would change."""

    dry_run: bool
    replayed: list[UUID]
    # Matched by the filter and not among them: ask again.
    left: int
    foreseen: list[ForeseenAnswer]


class ActAnswer(BaseModel):
    """What an operator did."""

    at: Moment
    action: Action
    user_id: UUID
    note: str | None


class VerdictAnswer(BaseModel):
    """Whether a sentence holds; `holds` is null when there was no time to look."""

    invariant: str
    holds: bool | None
    violations: list[str]
    # Rows of other tenants that break it.
    hidden: int


class InvariantsAnswer(BaseModel):
    """The verdict on every sentence; `holds` is null when some were not looked at."""

    holds: bool | None
    data: list[VerdictAnswer]


def whose(company_id: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Return the condition that a row is the caller's to see.

    An operator sees the rows of their tenant's companies and those of no company, or of the one
    company that they name.
    """
    who = caller()
    if who.acting_for is not None:
        return company_id == who.acting_for
    ours = select(Company.id).where(Company.tenant_id == who.tenant_id)
    return or_(company_id.is_(None), company_id.in_(ours))


def write_down(
    session: Session,
    action: Action,
    subject: str,
    subject_id: UUID,
    *,
    company_id: UUID | None,
    note: str | None,
) -> None:
    """Add an act of the caller's, in the transaction that does it."""
    session.add(
        OperatorAct(
            tenant_id=caller().tenant_id,
            user_id=caller().user_id,
            company_id=company_id,
            action=action,
            subject=subject,
            subject_id=subject_id,
            note=note,
            request_id=telemetry.current().get("request_id"),
        )
    )


def shown_act(act: OperatorAct) -> dict[str, Any]:
    """Return an act as it is answered."""
    return {"at": act.created_at, "action": act.action, "user_id": act.user_id, "note": act.note}


def all_found(wanted: list[UUID], found: list[UUID], noun: str) -> None:
    """Refuse the whole request if one that it names is not there."""
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise Problem("not-found", f"No such {noun}: {', '.join(map(str, missing[:5]))}.")


def most_of(asked: Again) -> int:
    """Return how many a filter may choose."""
    return MOST_FORESEEN if asked.dry_run else MOST


def foresee(*, dead_letters: list[UUID] | None = None, events: list[UUID] | None = None) -> Any:
    """Have a worker say what replaying these would change.

    Raises:
        Problem: 422 for too many at once, 503 when no worker has answered in time.
    """
    wanted = [*(dead_letters or ()), *(events or ())]
    if len(wanted) > MOST_FORESEEN:
        raise invalid("ids", f"are more than the {MOST_FORESEEN} of which a dry run can tell")
    reply_key = replies.new_key()
    with transaction() as session:
        enqueue(
            session,
            "operations.preview",
            tenant_id=caller().tenant_id,
            reply=reply_key,
            dead_letters=list(map(str, dead_letters or ())),
            events=list(map(str, events or ())),
        )
    answer = wait_for(reply_key, preference())
    if answer is None:
        raise unavailable("No worker has answered in time.")
    return answer["data"]


def replayed(ids: list[UUID], *, left: int = 0, foreseen: Any = None) -> Response:
    """Answer what was replayed, or would be."""
    body = {
        "dry_run": foreseen is not None,
        "replayed": ids,
        "left": left,
        "foreseen": foreseen or [],
    }
    return respond(body, headers=preference().headers if foreseen is not None else None)


def waits(view: Any) -> Any:
    """Mark a view that waits for a worker, and so heeds `Prefer`."""
    setattr(view, WAITS, True)
    return view


@routes.get("/invariants", responses={200: InvariantsAnswer})
@allowed(Permission.OPERATIONS)
def read_invariants() -> Response:
    """Run the invariants over the whole book, for ten seconds at most.

    Rows of other tenants that break one are counted and not shown.
    """
    verdicts = judge(limit_s=JUDGED_FOR_S)
    broken = [violation for verdict in verdicts for violation in verdict.violations]
    with transaction() as session:
        owners = companies_in(session, broken)
        ours = set(session.scalars(select(Company.id).where(whose(Company.id))))
    answered = [verdict.holds for verdict in verdicts]
    holds = False if False in answered else None if None in answered else True
    return respond({"holds": holds, "data": [_shown(each, owners, ours) for each in verdicts]})


def _shown(verdict: Verdict, owners: dict[UUID, UUID], ours: set[UUID]) -> dict[str, Any]:
    shown = []
    for violation in verdict.violations:
        named = ids_in(violation)
        whose_rows = {owners[each] for each in named if each in owners} | (named & ours)
        if whose_rows <= ours:
            shown.append(violation.detail)
    return {
        "invariant": verdict.invariant,
        "holds": verdict.holds,
        "violations": shown,
        "hidden": len(verdict.violations) - len(shown),
    }
