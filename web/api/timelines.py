"""The timeline of a payment: all that happened to it and around it, and what caused it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.disputes import Dispute
from models.refunds import refunds_of
from models.tenants import Permission
from models.timeline import PUSHED_BY, PUSHES, Timeline, history
from models.transactions import Transaction
from web.api.payments import PREFIX, PaymentPath, payment_at
from web.auth import allowed, caller
from web.routes import Input, Routes, respond
from web.schemas import Moment, cursor_of
from worker.database import transaction

routes = Routes("timelines", __name__, url_prefix=PREFIX)


class TimelineQuery(Input):
    """Which part. `cursor` is the `next_cursor` of the part before.

    What was pushed comes with the line before it, so a part may be longer than its limit.
    """

    cursor: str | None = Field(None, pattern="^[A-Za-z0-9_-]{22}$")
    limit: int = Field(500, ge=1, le=500)

    @property
    def after(self) -> UUID | None:
        """Return the id that the cursor names."""
        if self.cursor is None:
            return None
        return UUID(bytes=base64.urlsafe_b64decode(f"{self.cursor}=="))


class TimelineEntry(BaseModel):
    """What happened, to what, and what caused it."""

    at: Moment
    subject: str
    subject_id: UUID
    what: str
    was: str | None
    became: str | None
    why: str
    request_id: str | None
    task_id: UUID | None
    attempt_id: UUID | None
    provider_request_id: str | None
    event_id: str | None
    user_id: UUID | None
    detail: dict[str, Any] | None


class TimelineAnswer(BaseModel):
    """The history of a payment, its invoice, its refunds and its disputes, oldest first."""

    data: list[TimelineEntry]
    next_cursor: str | None


@routes.get("/<uuid:transaction_id>/timeline", responses={200: TimelineAnswer})
@allowed(Permission.PAYMENTS_READ)
def read_timeline(path: PaymentPath, query: TimelineQuery) -> Response:
    """Return what happened to a payment, its invoice, its refunds and its disputes, and why."""
    with transaction(company_id=caller().company_id) as session:
        payment = payment_at(session, path.transaction_id)
        subjects = _subjects_of(session, payment)
        lines = history(session, subjects, after=query.after, limit=query.limit + 1)
        shown = lines[: query.limit]
        next_after = shown[-1].id if len(lines) > len(shown) else None
        told = [entry for line in shown for entry in _entries(line)]
        return respond({"data": told, "next_cursor": cursor_of(next_after)})


def _subjects_of(session: Session, payment: Transaction) -> list[UUID]:
    disputes = select(Dispute.id).where(Dispute.transaction_id == payment.id)
    return [
        payment.id,
        payment.invoice_id,
        *(refund.id for refund in refunds_of(session, payment.id)),
        *session.scalars(disputes),
    ]


def _entries(line: Timeline) -> Iterator[dict[str, Any]]:
    """Return a line, and what was pushed with it as another."""
    detail = dict(line.detail or {})
    pushes, pushed_by = detail.pop(PUSHES, []), detail.pop(PUSHED_BY, None)
    if line.what != "push":
        yield _entry(line) | {"detail": detail or None}
    if pushes:
        of_the_push = {
            "what": "push",
            "was": None,
            "became": None,
            "why": ", ".join(pushes),
            "task_id": pushed_by,
            "detail": None,
        }
        yield _entry(line) | of_the_push


def _entry(line: Timeline) -> dict[str, Any]:
    return {
        "at": line.created_at,
        "subject": line.subject,
        "subject_id": line.subject_id,
        "what": line.what,
        "was": line.was,
        "became": line.became,
        "why": line.why,
        "request_id": line.request_id,
        "task_id": line.task_id,
        "attempt_id": line.attempt_id,
        "provider_request_id": line.provider_request_id,
        "event_id": line.event_id,
        "user_id": line.user_id,
        "detail": line.detail,
    }
