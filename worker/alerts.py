"""Telling people what they must see: a row, a log line and the event `system.alert`.

A company's alert is told to the company, and one that is nobody's to the platform: its operators
hear the channel that is named by their tenant's id.
"""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import alerts
from models.alerts import Alert, Severity
from models.base import CompanyOwned
from models.tenants import Tenant
from worker.events import announce_to
from worker.tally import tally

log = logging.getLogger(__name__)

_LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.CRITICAL: logging.ERROR,
}


def alert(  # noqa: PLR0913  what an alert says
    session: Session,
    kind: str,
    *,
    severity: Severity,
    message: str,
    company_id: UUID | None = None,
    subject: CompanyOwned | None = None,
    open_key: str | None = None,
    detail: dict[str, Any] | None = None,
) -> Alert | None:
    """Raise an alert, once while it is open; None if it is open already.

    Args:
        message: one sentence that says what is so and what to do, with nothing secret in it.
        open_key, subject, company_id: see `models.alerts.raise_alert`.
    """
    raised = alerts.raise_alert(
        session,
        kind,
        severity=severity,
        message=message,
        company_id=company_id,
        subject=subject,
        open_key=open_key,
        detail=detail,
    )
    if raised is not None:
        log.log(_LEVELS[severity], "alert %s: %s", kind, message)
        tally(session, "alerts.raised", kind=kind, severity=severity)
        session.flush()
        _announce(session, raised)
    return raised


def resolve(session: Session, open_key: str, *, why: str, user_id: UUID | None = None) -> None:
    """Close the open alert about `open_key`, if there is one, and tell that it is over."""
    found = alerts.open_alert(session, open_key)
    if found is not None:
        close(session, found, why=why, user_id=user_id)


def close(session: Session, found: Alert, *, why: str, user_id: UUID | None = None) -> None:
    """Close a locked alert, and tell that it is over."""
    alerts.resolve(found, why=why, user_id=user_id)
    _announce(session, found)


def _announce(session: Session, told: Alert) -> None:
    for channel in _hearers(session, told.company_id):
        announce_to(
            session,
            channel,
            "system.alert",
            alert_id=told.id,
            kind=told.kind,
            severity=str(told.severity),
            message=told.resolution if told.resolved_at else told.message,
            subject=told.subject,
            subject_id=told.subject_id,
            is_resolved=told.resolved_at is not None,
        )


def _hearers(session: Session, company_id: UUID | None) -> list[UUID]:
    if company_id is not None:
        return [company_id]
    return list(session.scalars(select(Tenant.id).where(Tenant.is_platform)))
