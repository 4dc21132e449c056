"""Endpoints: where a tenant's own systems hear what happens.

An endpoint hears one company, or all of its tenant's. `models.deliveries` has what it is owed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    JSON,
    Boolean,
    CompoundSelect,
    ForeignKey,
    Index,
    Integer,
    String,
    and_,
    bindparam,
    func,
    or_,
    select,
    union,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Changing, Id, words
from models.tenants import Company

# For how long a secret still signs after it was replaced.
OVERLAP = timedelta(hours=24)
MOST_URL = 2000
# Of one company, or of a tenant for all its companies.
MOST_ENDPOINTS = 20
# Deliveries under way to one endpoint: to one that has proved itself, and to any other.
SLOTS = 4
UNPROVEN_SLOTS = 1
# In a filter: every event, or every event of a family, as in `payment.*`.
EVERY = "*"


class EndpointStatus(StrEnum):
    """Whether anything is sent to an endpoint."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """Why nothing is sent: somebody said so, the endpoint did (410), or it did nothing but fail."""

    ASKED = "asked"
    GONE = "gone"
    FAILING = "failing"


class Endpoint(Changing):
    """An address of a tenant's own: it hears one company, or all of the tenant's (NULL).

    The secrets sign; they are told once, when they are made.
    """

    __tablename__ = "endpoints"
    __table_args__ = (
        Index("idx_endpoints_tenant_id", "tenant_id", "company_id"),
        Index("idx_endpoints_company_id", "company_id"),
        {"info": {"company_owned": False}},
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    company_id: Mapped[UUID | None] = mapped_column(ForeignKey("companies.id"))
    url: Mapped[str] = mapped_column(String(MOST_URL))
    description: Mapped[str] = mapped_column(String(500), default="")
    events: Mapped[list[str]] = mapped_column(JSON)
    secret: Mapped[str] = mapped_column(String(100))
    previous_secret: Mapped[str | None] = mapped_column(String(100))
    previous_until: Mapped[datetime | None]
    status: Mapped[EndpointStatus] = mapped_column(
        words(EndpointStatus), default=EndpointStatus.ENABLED
    )
    disabled_reason: Mapped[DisabledReason | None] = mapped_column(words(DisabledReason))
    disabled_at: Mapped[datetime | None]
    # How often it was disabled without being asked: a notice is told once each time.
    disablings: Mapped[int] = mapped_column(Integer, default=0)
    # Whether it has taken anything since its address was given.
    is_proven: Mapped[bool] = mapped_column(Boolean, default=False)
    failing_since: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(Integer, default=0)
    deleted_at: Mapped[datetime | None]

    @property
    def is_enabled(self) -> bool:
        """Whether it is sent to."""
        return self.status is EndpointStatus.ENABLED and self.deleted_at is None

    @property
    def slots(self) -> int:
        """Return how many deliveries to it may be under way at a time."""
        return SLOTS if self.is_proven and self.failing_since is None else UNPROVEN_SLOTS

    def hears(self, kind: str) -> bool:
        """Whether its filter lets an event of this type through."""
        family = f"{kind.partition('.')[0]}.*"
        return any(each in {EVERY, kind, family} for each in self.events)

    def secrets_at(self, moment: datetime) -> tuple[str, ...]:
        """Return the secrets that sign now: the one that was replaced too, for a while."""
        old = self.previous_secret
        if old is None or self.previous_until is None or self.previous_until <= moment:
            return (self.secret,)
        return (self.secret, old)

    def rotate(self, secret: str, *, moment: datetime) -> None:
        """Sign with another secret from now on, and with the old one too for a day."""
        self.previous_secret, self.previous_until = self.secret, moment + OVERLAP
        self.secret = secret

    def move(self, url: str) -> None:
        """Send to another address, of which nothing is known."""
        self.url, self.is_proven = url, False
        self.forget_failures()

    def forget_failures(self) -> None:
        """Let it start anew."""
        self.failing_since, self.failures = None, 0


def _heard() -> CompoundSelect[UUID | None]:
    """Return the query of the channels of `:channels` that some endpoint hears.

    Made once, of tables rather than classes: it runs for every batch of events, and to make it
    costs more than to run it.
    """
    its, theirs = Endpoint.__table__.c, Company.__table__.c
    wanted = bindparam("channels", expanding=True, type_=Id())
    is_there, of_all = its.deleted_at.is_(None), its.company_id.is_(None)
    return union(
        select(its.company_id).where(its.company_id.in_(wanted), is_there),
        select(its.tenant_id).where(its.tenant_id.in_(wanted), of_all, is_there),
        select(theirs.id)
        .join(Endpoint.__table__, its.tenant_id == theirs.tenant_id)
        .where(theirs.id.in_(wanted), of_all, is_there),
    )


_HEARD = _heard()


def heard_channels(session: Session, channels: Collection[UUID]) -> set[UUID]:
    """Return those of these channels that some endpoint hears.

    A channel is a company's, or a tenant's, of whom the endpoints for all its companies hear.
    """
    if not channels:
        return set()
    found = session.connection().execute(_HEARD, {"channels": sorted(channels)})
    return {channel for (channel,) in found if channel is not None}


def hearers(session: Session, channel: UUID) -> Sequence[Endpoint]:
    """Return the endpoints that hear a channel, disabled ones too."""
    tenant_of = select(Company.tenant_id).where(Company.id == channel).scalar_subquery()
    of_all = and_(
        Endpoint.company_id.is_(None),
        or_(Endpoint.tenant_id == tenant_of, Endpoint.tenant_id == channel),
    )
    return session.scalars(
        select(Endpoint)
        .where(or_(Endpoint.company_id == channel, of_all), Endpoint.deleted_at.is_(None))
        .order_by(Endpoint.id)
    ).all()


def number_of(session: Session, *, tenant_id: UUID, company_id: UUID | None) -> int:
    """Return how many endpoints a company has, or a tenant for all its companies."""
    return (
        session.scalar(
            select(func.count(Endpoint.id)).where(
                Endpoint.tenant_id == tenant_id,
                Endpoint.company_id.is_(None)
                if company_id is None
                else Endpoint.company_id == company_id,
                Endpoint.deleted_at.is_(None),
            )
        )
        or 0
    )


def lock(session: Session, endpoint_id: UUID) -> Endpoint | None:
    """Return an endpoint, locked until the commit; whoever changes its deliveries holds it."""
    return session.scalars(
        select(Endpoint)
        .where(Endpoint.id == endpoint_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def enable(endpoint: Endpoint) -> None:
    """Send to a locked endpoint again, from the next event on."""
    endpoint.status = EndpointStatus.ENABLED
    endpoint.disabled_reason = endpoint.disabled_at = None
    endpoint.forget_failures()
