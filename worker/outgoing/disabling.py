"""Giving an endpoint up, and telling whoever must mend it."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from models import deliveries, endpoints
from models.alerts import Severity
from models.endpoints import DisabledReason, Endpoint
from models.outbox import enqueue
from models.tenants import Tenant
from worker import alerts
from worker.events import announce_to
from worker.tally import tally

KIND = "endpoint_disabled"
_WHY = {
    DisabledReason.GONE: "answered that it is gone (410)",
    DisabledReason.FAILING: "has done nothing but fail for days",
}


def give_up(
    session: Session, endpoint: Endpoint, reason: DisabledReason, *, moment: datetime
) -> None:
    """Disable a locked endpoint that cannot be sent to, and tell its people."""
    deliveries.disable(session, endpoint, reason, moment=moment)
    tally(session, "endpoints.disabled", reason=str(reason))
    # The host alone: the rest of an address may be its owner's secret.
    host = urlsplit(endpoint.url).hostname or ""
    message = (
        f"The endpoint at {host} {_WHY[reason]} and was disabled. Mend it, enable it, and have "
        "what it missed sent again."
    )
    if endpoint.company_id is None:
        _tell_operators(session, endpoint, reason, message)
        return
    alerts.alert(
        session,
        KIND,
        severity=Severity.WARNING,
        message=message,
        company_id=endpoint.company_id,
        open_key=_key(endpoint),
        detail={"endpoint_id": str(endpoint.id), "reason": str(reason)},
    )
    enqueue(
        session,
        "notifications.notify",
        company_id=endpoint.company_id,
        template=KIND,
        subject="endpoint",
        subject_id=endpoint.id,
        number=endpoint.disablings,
        told={
            "host": host,
            "reason": str(reason),
            "failing_since": (endpoint.failing_since or moment).isoformat(),
        },
    )


def _tell_operators(
    session: Session, endpoint: Endpoint, reason: DisabledReason, message: str
) -> None:
    """Tell the operators of the tenant: as an alert, where they are those who see the system's."""
    tenant = session.get_one(Tenant, endpoint.tenant_id)
    detail = {"endpoint_id": str(endpoint.id), "reason": str(reason)}
    if tenant.is_platform:
        alerts.alert(
            session,
            KIND,
            severity=Severity.WARNING,
            message=message,
            open_key=_key(endpoint),
            detail=detail,
        )
        return
    announce_to(
        session,
        tenant.id,
        "system.alert",
        kind=KIND,
        severity=str(Severity.WARNING),
        message=message,
        subject="endpoint",
        subject_id=endpoint.id,
        is_resolved=False,
    )


def enable(session: Session, endpoint: Endpoint) -> None:
    """Enable a locked endpoint, from the next event on; an alert about it is over."""
    endpoints.enable(endpoint)
    alerts.resolve(session, _key(endpoint), why="It was enabled again.")


def forget_alert(session: Session, endpoint: Endpoint) -> None:
    """Close an alert about an endpoint that was deleted."""
    alerts.resolve(session, _key(endpoint), why="It was deleted.")


def _key(endpoint: Endpoint) -> str:
    return f"{KIND}:{endpoint.id}"
