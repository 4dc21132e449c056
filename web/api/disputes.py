"""Disputes: listed, read, answered with evidence, accepted."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from flask import Response
from pydantic import BaseModel, StrictBool
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import locks
from models.clock import now
from models.disputes import (
    NEEDING_RESPONSE,
    OPEN_DISPUTE,
    Dispute,
    DisputeAction,
    DisputeActionKind,
    DisputeActionStatus,
    DisputeStatus,
    actions_of,
    pending_action,
)
from models.outbox import enqueue
from models.tenants import Permission
from models.timeline import note
from web.api.evidence import Evidence
from web.auth import allowed, caller
from web.idempotency import Begun, Told, idempotent
from web.lists import answer_page
from web.problems import Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import Amount, Moment, PageQuery, cause
from worker import replies
from worker.database import transaction

PREFIX = "/api/v1/disputes"
routes = Routes("disputes", __name__, url_prefix=PREFIX)


class DisputePath(Input):
    """Which dispute."""

    dispute_id: UUID


class DisputeQuery(PageQuery):
    """Which disputes. Open are those that the bank has not decided."""

    status: DisputeStatus | None = None
    state: Literal["open", "closed"] | None = None
    transaction_id: UUID | None = None


class NewEvidence(Input):
    """What to tell the customer's bank. It is handed over once: gather first, then submit."""

    evidence: Evidence = Evidence()
    submit: StrictBool = False


class ActionAnswer(BaseModel):
    """Something that the provider is told about a dispute, and what became of that."""

    action_id: UUID
    dispute_id: UUID
    dispute_status: DisputeStatus
    kind: DisputeActionKind
    status: DisputeActionStatus
    error_message: str | None
    created_at: Moment
    updated_at: Moment


class DisputeSummary(BaseModel):
    """A dispute: what the bank wants to know by when, and what it took."""

    id: UUID
    transaction_id: UUID
    status: DisputeStatus
    is_open: bool
    reason: str
    amount: Amount
    amount_withdrawn: Amount
    amount_reinstated: Amount
    currency: str
    provider: str
    provider_dispute_id: str
    evidence_due_at: Moment | None
    evidence_submitted_at: Moment | None
    closed_at: Moment | None
    created_at: Moment
    updated_at: Moment


class DisputeAnswer(DisputeSummary):
    """A dispute with the evidence that the provider has, and what was asked of it."""

    evidence: dict[str, str]
    actions: list[ActionAnswer]


class DisputesAnswer(BaseModel):
    """A page of disputes, newest first."""

    data: list[DisputeSummary]
    next_cursor: str | None


@routes.get("", responses={200: DisputesAnswer})
@allowed(Permission.DISPUTES_READ)
def list_disputes(query: DisputeQuery) -> Response:
    """List disputes, newest first."""
    wanted = select(Dispute)
    if query.status is not None:
        wanted = wanted.where(Dispute.status == query.status)
    if query.state is not None:
        is_open = Dispute.status.in_(OPEN_DISPUTE)
        wanted = wanted.where(is_open if query.state == "open" else ~is_open)
    if query.transaction_id is not None:
        wanted = wanted.where(Dispute.transaction_id == query.transaction_id)
    return answer_page(Dispute, wanted, query, _shown, company_id=caller().company_id)


@routes.get("/<uuid:dispute_id>", responses={200: DisputeAnswer})
@allowed(Permission.DISPUTES_READ)
def read_dispute(path: DisputePath) -> Response:
    """Return a dispute with its evidence and what was asked of the provider."""
    with transaction(company_id=caller().company_id) as session:
        dispute = session.get(Dispute, path.dispute_id)
        if dispute is None:
            raise Problem("not-found", "No such dispute.")
        actions = [_action(action, dispute) for action in actions_of(session, dispute.id)]
        return respond({**_shown(dispute), "evidence": dispute.evidence or {}, "actions": actions})


def _ask_again(session: Session, action_id: UUID) -> str | None:
    """Wait for the answer that is on its way; once it came the row is enough."""
    reply_key = replies.join(action_id).key
    action = session.get_one(DisputeAction, action_id)
    return reply_key if action.status is DisputeActionStatus.PENDING else None


def _tell(session: Session, action_id: UUID, _reply: dict[str, Any] | None) -> Told:
    action = session.get_one(DisputeAction, action_id)
    dispute = session.get_one(Dispute, action.dispute_id)
    return Told(
        _action(action, dispute),
        status=202 if action.status is DisputeActionStatus.PENDING else 201,
        location=f"{PREFIX}/{dispute.id}",
    )


@routes.post("/<uuid:dispute_id>/evidence", responses={201: ActionAnswer, 202: ActionAnswer})
@allowed(Permission.DISPUTES_WRITE)
@idempotent(tell=_tell, ask_again=_ask_again)
def add_evidence(session: Session, path: DisputePath, body: NewEvidence) -> Begun:
    """Add evidence to a dispute, and with `submit` hand all of it to the customer's bank.

    201 once the provider has answered, also when it refused: `status` tells. 202 when it has not
    yet.
    """
    dispute = _answerable(session, path.dispute_id)
    if dispute.evidence_due_at is not None and dispute.evidence_due_at <= now():
        raise Problem("conflict", f"The evidence was due at {dispute.evidence_due_at:%F %T} UTC.")
    evidence = body.evidence.model_dump(exclude_none=True)
    if not evidence and not (body.submit and dispute.evidence):
        raise invalid("evidence", "is empty")
    request = {"evidence": evidence, "submit": body.submit}
    return _begin(session, dispute, DisputeActionKind.EVIDENCE, request)


@routes.post("/<uuid:dispute_id>/accept", responses={201: ActionAnswer, 202: ActionAnswer})
@allowed(Permission.DISPUTES_WRITE)
@idempotent(tell=_tell, ask_again=_ask_again)
def accept_dispute(session: Session, path: DisputePath) -> Begun:
    """Give a dispute up: the customer keeps the money. This cannot be taken back.

    201 once the provider has answered, 202 when it has not yet.
    """
    dispute = _answerable(session, path.dispute_id)
    return _begin(session, dispute, DisputeActionKind.ACCEPT, {})


def _answerable(session: Session, dispute_id: UUID) -> Dispute:
    """Return a dispute that the bank waits for us to answer, locked."""
    dispute = locks.lock(session, Dispute, dispute_id)
    if dispute is None:
        raise Problem("not-found", "No such dispute.")
    if dispute.status not in NEEDING_RESPONSE:
        told = "with the bank" if dispute.status in OPEN_DISPUTE else "closed"
        raise Problem("conflict", f"The dispute is {dispute.status}: it is {told}.")
    pending = pending_action(session, dispute.id)
    if pending is not None:
        raise Problem("conflict", f"The provider has not yet answered the {pending.kind} before.")
    return dispute


def _begin(
    session: Session, dispute: Dispute, kind: DisputeActionKind, request: dict[str, Any]
) -> Begun:
    action = DisputeAction(
        company_id=dispute.company_id,
        dispute_id=dispute.id,
        kind=kind,
        request=request,
        user_id=caller().user_id,
    )
    session.add(action)
    session.flush()
    note(session, dispute, what="asked", because=cause(f"{kind} is to be told to the provider"))
    reply_key = replies.new_key()
    enqueue(session, "disputes.send", action_id=action.id, reply=reply_key)
    return Begun(action.id, reply_key)


def _action(action: DisputeAction, dispute: Dispute) -> dict[str, Any]:
    return {
        "action_id": action.id,
        "dispute_id": dispute.id,
        "dispute_status": dispute.status,
        "kind": action.kind,
        "status": action.status,
        "error_message": action.error_message,
        "created_at": action.created_at,
        "updated_at": action.updated_at,
    }


def _shown(dispute: Dispute) -> dict[str, Any]:
    return {
        "id": dispute.id,
        "transaction_id": dispute.transaction_id,
        "status": dispute.status,
        "is_open": dispute.status in OPEN_DISPUTE,
        "reason": dispute.reason,
        "amount": dispute.amount,
        "amount_withdrawn": dispute.amount_withdrawn,
        "amount_reinstated": dispute.amount_reinstated,
        "currency": dispute.currency,
        "provider": dispute.provider,
        "provider_dispute_id": dispute.provider_dispute_id,
        "evidence_due_at": dispute.evidence_due_at,
        "evidence_submitted_at": dispute.evidence_submitted_at,
        "closed_at": dispute.closed_at,
        "created_at": dispute.created_at,
        "updated_at": dispute.updated_at,
    }
