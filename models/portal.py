"""The customer portal of a company: which links to it count, and how often one was mailed.

A link carries the epoch in which it was made. Who revokes the company's links begins another one,
and every link of before is as good as none, whenever it would have ended.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Integer, UniqueConstraint, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import locks
from models.base import Changing, CompanyOwned
from models.clock import now
from models.timeline import Cause, note


class Portal(CompanyOwned, Changing):
    """A company's portal. There is a row from the first time that something was done with it."""

    __tablename__ = "portals"
    __table_args__ = (UniqueConstraint("company_id"),)

    epoch: Mapped[int] = mapped_column(Integer, default=0)
    revoked_at: Mapped[datetime | None]


def epoch_of(session: Session) -> int:
    """Return the epoch of the session's company, in which links are made now."""
    return session.scalar(select(Portal.epoch)) or 0


def portal_of(session: Session, company_id: UUID) -> Portal:
    """Return the company's portal, made if there is none."""
    if (found := session.scalars(select(Portal)).one_or_none()) is not None:
        return found
    made = Portal(company_id=company_id)
    try:
        with session.begin_nested():
            session.add(made)
    except IntegrityError:
        # Somebody was quicker; READ COMMITTED shows it.
        return session.scalars(select(Portal)).one()
    return made


def revoke(session: Session, company_id: UUID, *, because: Cause) -> Portal:
    """Let no link of the company count that was made until now."""
    portal = locks.lock_existing(session, Portal, portal_of(session, company_id).id)
    portal.epoch += 1
    portal.revoked_at = now()
    note(session, portal, what="revoked", because=because)
    session.flush()
    return portal
