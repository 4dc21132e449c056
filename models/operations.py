"""What operators did by hand: written down in the transaction that does it, and only ever added."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Index, String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, words


class Action(StrEnum):
    """What may be done by hand."""

    REPLAY = "replay"
    DISMISS = "dismiss"
    RESOLVE = "resolve"
    SETTLE = "settle"


class OperatorAct(Base):
    """One act of an operator's on a dead letter, an event, an alert, a payment or a refund."""

    __tablename__ = "operator_acts"
    __table_args__ = (
        Index("idx_operator_acts_subject_id", "subject_id", "id"),
        Index("idx_operator_acts_tenant_id", "tenant_id", "id"),
        {"info": {"company_owned": False}},
    )

    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    company_id: Mapped[UUID | None]
    action: Mapped[Action] = mapped_column(words(Action))
    subject: Mapped[str] = mapped_column(String(20))  # dead_letter, event, alert, ...
    subject_id: Mapped[UUID]
    note: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(String(100))
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


def acts_on(session: Session, subject_id: UUID, *, tenant_id: UUID) -> list[OperatorAct]:
    """Return what this tenant's operators did to a subject, oldest first."""
    found = select(OperatorAct).where(
        OperatorAct.subject_id == subject_id, OperatorAct.tenant_id == tenant_id
    )
    return list(session.scalars(found.order_by(OperatorAct.id)))
