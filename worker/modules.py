"""Modules that a company takes and gives up, as it hears of it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from models import modules
from models.modules import CompanyModule, Module
from models.timeline import Cause
from worker.events import announce


def subscribe(
    session: Session,
    company_id: UUID,
    module_id: UUID,
    *,
    subscription_id: UUID | None = None,
    because: Cause,
) -> CompanyModule:
    """Let a company have a module, once, and tell it. See `models.modules.subscribe`."""
    module = session.get_one(Module, module_id)
    row, is_new = modules.subscribe(
        session, company_id, module_id, subscription_id=subscription_id, because=because
    )
    if is_new:
        _announce(session, "module.subscribed", row, module)
    return row


def unsubscribe(
    session: Session,
    company_id: UUID,
    module_id: UUID,
    *,
    subscription_id: UUID | None = None,
    at: datetime | None = None,
    because: Cause,
) -> CompanyModule | None:
    """End what a company has of a module, and tell it. See `models.modules.unsubscribe`."""
    module = session.get_one(Module, module_id)
    row = modules.unsubscribe(
        session, company_id, module_id, subscription_id=subscription_id, at=at, because=because
    )
    if row is not None:
        _announce(session, "module.unsubscribed", row, module)
    return row


def _announce(session: Session, kind: str, row: CompanyModule, module: Module) -> None:
    announce(
        session,
        kind,
        row,
        company_id=row.company_id,
        module_id=module.id,
        code=module.code,
        name=module.name,
        subscription_id=row.subscription_id,
    )
