"""Alerts: what a person must see. Operators see the system's too, and say when it is over."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field, StrictBool
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from models.alerts import Alert, Severity
from models.operations import Action
from models.tenants import Permission
from web.api.operations import PREFIX, whose, write_down
from web.auth import allowed, caller
from web.lists import answer_page
from web.problems import Problem
from web.routes import Input, Routes, respond
from web.schemas import WRITTEN, Moment, PageQuery
from worker import alerts
from worker.database import in_transaction

routes = Routes("alerts", __name__, url_prefix="/api/v1/alerts")
operators = Routes("operations_alerts", __name__, url_prefix=f"{PREFIX}/alerts")


class AlertsQuery(PageQuery):
    """Which alerts."""

    is_resolved: bool | None = Field(None, description="Open ones with `false`; all if left out.")
    severity: Severity | None = None
    kind: str | None = Field(None, max_length=50, description="Such as `needs_review`.")


class AlertPath(Input):
    """Which alert."""

    alert_id: UUID


class Resolution(Input):
    """How it was seen to."""

    note: str = Field(min_length=1, max_length=2000, pattern=WRITTEN)


class AlertAnswer(BaseModel):
    """What somebody must see, and whether it is over."""

    id: UUID
    kind: str
    severity: Severity
    message: str
    company_id: UUID | None
    subject: str | None
    subject_id: UUID | None
    detail: dict[str, Any] | None
    is_resolved: StrictBool
    resolution: str | None
    resolved_by: UUID | None
    resolved_at: Moment | None
    created_at: Moment


class AlertsAnswer(BaseModel):
    """A page of alerts, newest first."""

    data: list[AlertAnswer]
    next_cursor: str | None


@routes.get("", responses={200: AlertsAnswer})
@allowed(Permission.PAYMENTS_READ)
def list_alerts(query: AlertsQuery) -> Response:
    """List the company's own alerts, newest first."""
    return _page(select(Alert).where(Alert.company_id == caller().company_id), query)


@operators.get("", responses={200: AlertsAnswer})
@allowed(Permission.OPERATIONS)
def list_all_alerts(query: AlertsQuery) -> Response:
    """List the alerts of the tenant's companies and of the system, newest first."""
    return _page(select(Alert).where(whose(Alert.company_id)), query)


@operators.post("/<uuid:alert_id>/resolve", responses={200: AlertAnswer})
@allowed(Permission.OPERATIONS)
def resolve_alert(path: AlertPath, body: Resolution) -> Response:
    """Say that an alert has been seen to. What raised it raises it anew if it is so still."""
    return respond(in_transaction(_resolve, None, path.alert_id, body.note))


def _resolve(session: Session, alert_id: UUID, note: str) -> dict[str, Any]:
    alert = session.scalars(
        select(Alert).where(Alert.id == alert_id, whose(Alert.company_id)).with_for_update()
    ).one_or_none()
    if alert is None:
        raise Problem("not-found", "No such alert.")
    if alert.resolved_at is not None:
        raise Problem("conflict", "The alert has been resolved already.")
    alerts.close(session, alert, why=note, user_id=caller().user_id)
    write_down(session, Action.RESOLVE, "alert", alert.id, company_id=alert.company_id, note=note)
    session.flush()
    return _shown(alert)


def _page(wanted: Select[Alert], query: AlertsQuery) -> Response:
    if query.is_resolved is not None:
        wanted = wanted.where(Alert.resolved_at.is_not(None) == query.is_resolved)
    if query.severity is not None:
        wanted = wanted.where(Alert.severity == query.severity)
    if query.kind is not None:
        wanted = wanted.where(Alert.kind == query.kind)
    return answer_page(Alert, wanted, query, _shown)


def _shown(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "kind": alert.kind,
        "severity": alert.severity,
        "message": alert.message,
        "company_id": alert.company_id,
        "subject": alert.subject,
        "subject_id": alert.subject_id,
        "detail": alert.detail,
        "is_resolved": alert.resolved_at is not None,
        "resolution": alert.resolution,
        "resolved_by": alert.resolved_by,
        "resolved_at": alert.resolved_at,
        "created_at": alert.created_at,
    }
