"""Addresses that get no mail of a tenant's: who left, what bounced, whoever an operator names."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from flask import Response
from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.mail import ALL, ALL_OPTIONAL, MailSuppression, SuppressionReason, plain, suppress
from models.operations import Action
from models.tenants import Permission
from web.api.operations import PREFIX, write_down
from web.auth import allowed, caller
from web.lists import answer_page
from web.problems import Problem
from web.routes import Input, Routes, respond
from web.schemas import Moment, PageQuery
from worker.database import in_transaction
from worker.mail.catalogue import TEMPLATES

routes = Routes("mail_suppressions", __name__, url_prefix=f"{PREFIX}/mail-suppressions")

ADDRESS = r"^[^@\s<>,;\x00-\x1f\x7f]{1,64}@[^@\s<>,;\x00-\x1f\x7f]{1,190}$"


def _scope(value: str) -> str:
    if value not in {ALL, ALL_OPTIONAL} and not (
        value in TEMPLATES and TEMPLATES[value].is_optional
    ):
        raise ValueError(f"must be {ALL}, {ALL_OPTIONAL} or the name of an optional template")
    return value


class SuppressionsQuery(PageQuery):
    """Which addresses."""

    address: str | None = Field(None, max_length=255)
    reason: SuppressionReason | None = None


class SuppressionPath(Input):
    """Which of them."""

    suppression_id: UUID


class NewSuppression(Input):
    """An address to be sent no mail any more."""

    address: str = Field(pattern=ADDRESS)
    scope: Annotated[str, AfterValidator(_scope)] = Field(
        ALL, description="`all`, `all_optional` or the name of an optional template."
    )


class SuppressionAnswer(BaseModel):
    """An address, what it gets no more, and why."""

    id: UUID
    address: str
    scope: str
    reason: SuppressionReason
    created_at: Moment


class SuppressionsAnswer(BaseModel):
    """A page of addresses, newest first."""

    data: list[SuppressionAnswer]
    next_cursor: str | None


@routes.get("", responses={200: SuppressionsAnswer})
@allowed(Permission.OPERATIONS)
def list_suppressions(query: SuppressionsQuery) -> Response:
    """List the addresses that get no mail of the tenant's, newest first."""
    wanted = select(MailSuppression).where(MailSuppression.tenant_id == caller().tenant_id)
    if query.address is not None:
        wanted = wanted.where(MailSuppression.address == plain(query.address))
    if query.reason is not None:
        wanted = wanted.where(MailSuppression.reason == query.reason)
    return answer_page(MailSuppression, wanted, query, _shown)


@routes.post("", responses={201: SuppressionAnswer})
@allowed(Permission.OPERATIONS)
def add_suppression(body: NewSuppression) -> Response:
    """Send an address no mail any more; one that is there already stays as it is."""
    return respond(in_transaction(_add, None, body), 201)


@routes.delete("/<uuid:suppression_id>", responses={204: None})
@allowed(Permission.OPERATIONS)
def remove_suppression(path: SuppressionPath) -> Response:
    """Let an address have mail again. What SendGrid itself keeps from it is lifted there."""
    in_transaction(_remove, None, path.suppression_id)
    return Response(status=204)


def _add(session: Session, body: NewSuppression) -> dict[str, Any]:
    made = suppress(
        session,
        caller().tenant_id,
        body.address,
        scope=body.scope,
        reason=SuppressionReason.MANUAL,
    )
    return _shown(made)


def _remove(session: Session, suppression_id: UUID) -> None:
    found = session.scalars(
        select(MailSuppression).where(
            MailSuppression.id == suppression_id,
            MailSuppression.tenant_id == caller().tenant_id,
        )
    ).one_or_none()
    if found is None:
        raise Problem("not-found", "No such address.")
    session.delete(found)
    write_down(
        session, Action.RESOLVE, "mail_suppression", found.id, company_id=None, note=found.scope
    )


def _shown(found: MailSuppression) -> dict[str, Any]:
    return {
        "id": found.id,
        "address": found.address,
        "scope": found.scope,
        "reason": found.reason,
        "created_at": found.created_at,
    }
