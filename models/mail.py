"""Mail to a company's people: a row a letter and recipient, and the addresses that get none."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, String, Text, UniqueConstraint, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, words
from models.states import Moving
from models.tenants import Company, Role, User

# Kept in lower case: nobody's mailbox differs by it. Letter by letter, as José is not Jose.
ADDRESS = String(255, collation="utf8mb4_bin")
# What a suppression is of, besides a template's name.
ALL = "all"
ALL_OPTIONAL = "all_optional"


class MailStatus(StrEnum):
    """Where a letter is. Sent: the provider has taken it; what became of it its events tell."""

    OWED = "owed"
    SENDING = "sending"
    UNKNOWN = "unknown"  # it may have been sent, so it is not sent again by itself
    SENT = "sent"
    DEFERRED = "deferred"  # the provider tries again
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    DROPPED = "dropped"  # the provider would not send it
    COMPLAINED = "complained"
    FAILED = "failed"  # surely not sent
    SUPPRESSED = "suppressed"


_ENDS = {
    MailStatus.DELIVERED,
    MailStatus.BOUNCED,
    MailStatus.DROPPED,
    MailStatus.COMPLAINED,
}
_TOLD = _ENDS | {MailStatus.DEFERRED}


class Mail(Moving):
    """One letter to one address. The unique key is the promise that nobody gets it twice."""

    __tablename__ = "mails"
    __table_args__ = (
        UniqueConstraint("template", "entity_id", "number", "recipient", name="uq_mails_letter"),
        Index("idx_mails_company_id", "company_id", "id"),
        Index("idx_mails_company_status", "company_id", "status", "id"),
        Index("idx_mails_status", "status", "updated_at"),
        Index("idx_mails_entity_id", "entity_id"),
    )

    MOVES = {  # noqa: RUF012  data, read by the docs and the tests
        MailStatus.OWED: frozenset(
            {MailStatus.SENDING, MailStatus.SUPPRESSED, MailStatus.FAILED, MailStatus.SENT, *_TOLD}
        ),
        # An event may be here before the answer is.
        MailStatus.SENDING: frozenset(
            {MailStatus.OWED, MailStatus.SENT, MailStatus.UNKNOWN, MailStatus.FAILED, *_TOLD}
        ),
        MailStatus.UNKNOWN: frozenset({MailStatus.OWED, MailStatus.SENT, *_TOLD}),
        MailStatus.SENT: frozenset(_TOLD),
        MailStatus.DEFERRED: frozenset(_ENDS),
        # A mailbox may take it first and send it back later.
        MailStatus.DELIVERED: frozenset({MailStatus.BOUNCED, MailStatus.COMPLAINED}),
        # Owed again by an operator's word alone. Should an event tell that it went out after all,
        # it is believed, here and above.
        MailStatus.FAILED: frozenset({MailStatus.OWED, MailStatus.SENT, *_TOLD}),
        MailStatus.BOUNCED: frozenset(),
        MailStatus.DROPPED: frozenset(),
        MailStatus.COMPLAINED: frozenset(),
        MailStatus.SUPPRESSED: frozenset(),
    }

    notification_id: Mapped[UUID]
    template: Mapped[str] = mapped_column(String(50))
    # What it is about: a payment, an invoice, ...
    entity: Mapped[str] = mapped_column(String(20))
    entity_id: Mapped[UUID]
    # Which time: as the notification has it.
    number: Mapped[int] = mapped_column(Integer, default=0)
    recipient: Mapped[str] = mapped_column(ADDRESS)
    status: Mapped[MailStatus] = mapped_column(words(MailStatus), default=MailStatus.OWED)
    provider: Mapped[str | None] = mapped_column(String(20))
    provider_message_id: Mapped[str | None] = mapped_column(String(100))
    # How often it was begun to be handed over since it is owed.
    tries: Mapped[int] = mapped_column(Integer, default=0)
    leased_until: Mapped[datetime | None]
    # When people were told that nobody knows whether it went out.
    told_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    error_message: Mapped[str | None] = mapped_column(Text)


class SuppressionReason(StrEnum):
    """Why an address gets no mail."""

    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    MANUAL = "manual"


class MailSuppression(Base):
    """An address that gets no mail of a tenant's: none at all, none that is optional, or no X."""

    __tablename__ = "mail_suppressions"
    __table_args__ = (UniqueConstraint("tenant_id", "address", "scope"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    address: Mapped[str] = mapped_column(ADDRESS)
    # `all`, `all_optional` or a template's name.
    scope: Mapped[str] = mapped_column(String(50))
    reason: Mapped[SuppressionReason] = mapped_column(words(SuppressionReason))


def suppress(
    session: Session, tenant_id: UUID, address: str, *, scope: str, reason: SuppressionReason
) -> MailSuppression:
    """Send an address no such mail any more. Any number of times: the first reason stands."""
    address = plain(address)
    known = select(MailSuppression).where(
        MailSuppression.tenant_id == tenant_id,
        MailSuppression.address == address,
        MailSuppression.scope == scope,
    )
    if (found := session.scalars(known).one_or_none()) is not None:
        return found
    made = MailSuppression(tenant_id=tenant_id, address=address, scope=scope, reason=reason)
    try:
        with session.begin_nested():
            session.add(made)
    except IntegrityError:
        # Somebody was quicker; READ COMMITTED shows it.
        return session.scalars(known).one()
    return made


def suppressed_by(
    session: Session, tenant_id: UUID, address: str, template: str, *, is_optional: bool
) -> MailSuppression | None:
    """Return what keeps a letter from an address, if anything does."""
    scopes = [ALL, *((ALL_OPTIONAL, template) if is_optional else ())]
    return session.scalars(
        select(MailSuppression)
        .where(
            MailSuppression.tenant_id == tenant_id,
            MailSuppression.address == plain(address),
            MailSuppression.scope.in_(scopes),
        )
        .order_by(MailSuppression.id)
        .limit(1)
    ).one_or_none()


def recipients_of(session: Session, company_id: UUID) -> dict[str, UUID | None]:
    """Return who gets a company's mail: its own address, then its owners and billing admins.

    Each address once, in lower case, with the user whose it is.
    """
    company = session.get_one(Company, company_id)
    query = (
        select(User)
        .where(
            User.company_id == company_id,
            User.is_active,
            User.role.in_((Role.OWNER, Role.BILLING_ADMIN)),
        )
        .order_by(User.id)
    )
    found: dict[str, UUID | None] = {plain(company.email): None}
    for user in session.scalars(query):
        # A user's own choice counts, also where the company has the same address.
        found[plain(user.email)] = found.get(plain(user.email)) or user.id
    return found


def plain(address: str) -> str:
    """Return an address as it is kept and compared."""
    return address.strip().lower()
