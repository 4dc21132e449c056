"""What operators see and do: whose rows they may, acts written down, the invariants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.invariants import Violation
from models.operations import Action, OperatorAct, acts_on
from models.tenants import Company, Permission, Tenant
from web.auth import allowed, caller
from web.routes import Routes, respond
from web.schemas import Moment
from worker import telemetry
from worker.database import transaction
from worker.judge import MOST, Verdict, companies_in, ids_in, judge

PREFIX = "/api/v1/operations"
routes = Routes("operations", __name__, url_prefix=PREFIX)

JUDGED_FOR_S = 10.0


class ActAnswer(BaseModel):
    """What an operator did."""

    at: Moment
    action: Action
    user_id: UUID
    note: str | None


class VerdictAnswer(BaseModel):
    """Whether a sentence holds of the caller's rows; null when there was no time to look."""

    invariant: str
    holds: bool | None
    violations: list[str]
    # Rows of other tenants that break it: told to the platform's operators, and 0 to others.
    hidden: int


class InvariantsAnswer(BaseModel):
    """The verdict on every sentence; `holds` is null when some were not looked at."""

    holds: bool | None
    data: list[VerdictAnswer]


def whose(company_id: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Return the condition that a row is the caller's to see.

    An operator sees the rows of their tenant's companies, or of the one company that they name.
    Rows of no company are seen by the platform's operators who name none.
    """
    who = caller()
    if who.acting_for is not None:
        return company_id == who.acting_for
    ours = select(Company.id).where(Company.tenant_id == who.tenant_id)
    return or_(company_id.in_(ours), and_(company_id.is_(None), _platform().exists()))


def _platform() -> Select[Any]:
    """Return the caller's tenant if it runs this installation."""
    return select(Tenant.id).where(Tenant.id == caller().tenant_id, Tenant.is_platform)


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


def shown_acts(session: Session, subject_id: UUID) -> list[dict[str, Any]]:
    """Return what the caller's tenant did to a subject, as it is answered."""
    return [
        {"at": act.created_at, "action": act.action, "user_id": act.user_id, "note": act.note}
        for act in acts_on(session, subject_id, tenant_id=caller().tenant_id)
    ]


@routes.get("/invariants", responses={200: InvariantsAnswer})
@allowed(Permission.OPERATIONS)
def read_invariants() -> Response:
    """Run the invariants over the whole book, for ten seconds at most.

    Rows of other tenants that break one are never shown; the platform's operators hear how many
    there are.
    """
    verdicts = judge(limit_s=JUDGED_FOR_S)
    broken = [violation for verdict in verdicts for violation in verdict.violations]
    with transaction() as session:
        sight = _Sight(
            owners=companies_in(session, broken),
            ours=set(session.scalars(select(Company.id).where(whose(Company.id)))),
            is_whole=caller().acting_for is None and session.scalar(_platform()) is not None,
        )
    shown = [sight.of(verdict) for verdict in verdicts]
    answered = [each["holds"] for each in shown]
    holds = False if False in answered else None if None in answered else True
    return respond({"holds": holds, "data": shown})


@dataclass(frozen=True)
class _Sight:
    """What the caller may see: whose the rows are, which companies are theirs, or of all a number.

    Only with the whole in sight is seen what is no company's.
    """

    owners: dict[UUID, UUID]
    ours: set[UUID]
    is_whole: bool

    def of(self, verdict: Verdict) -> dict[str, Any]:
        """Return a verdict as it is answered."""
        found = verdict.violations
        shown = [each.detail for each in found if self._may_see(each)]
        holds = verdict.holds
        if holds is False and not shown and not self.is_whole:
            # Only so many rows are told: ours may be behind them.
            holds = True if len(found) < MOST else None
        return {
            "invariant": verdict.invariant,
            "holds": holds,
            "violations": shown,
            "hidden": len(found) - len(shown) if self.is_whole else 0,
        }

    def _may_see(self, violation: Violation) -> bool:
        companies = {self.owners[each] for each in ids_in(violation) if each in self.owners}
        return companies <= self.ours and (self.is_whole or bool(companies))
