"""Payment methods and the company's customer at each provider. Never a card number."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    Boolean,
    Computed,
    Index,
    Integer,
    Select,
    String,
    Text,
    UniqueConstraint,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import PROVIDER_ID, Changing, CompanyOwned, Id, words
from models.paging import Page, page
from schedules import expiry


class MethodType(StrEnum):
    """What kind of method it is."""

    CARD = "card"
    BANK_ACCOUNT = "bank_account"
    PAYPAL = "paypal"


# What each provider keeps that can be charged there; who keeps anything else is told so.
KEPT_BY: dict[str, frozenset[MethodType]] = {
    "stripe": frozenset({MethodType.CARD, MethodType.BANK_ACCOUNT}),
    "paypal": frozenset({MethodType.PAYPAL}),
}


class MethodStatus(StrEnum):
    """Whether the provider has taken the method."""

    PENDING = "pending"
    ACTIVE = "active"
    FAILED = "failed"
    REMOVED = "removed"


class PaymentMethod(CompanyOwned, Changing):
    """A way to pay that the provider keeps for the company.

    `token` is what the browser got from the provider; it is cleared once it has been used.
    """

    __tablename__ = "payment_methods"
    __table_args__ = (
        UniqueConstraint("provider_id"),
        UniqueConstraint("default_company_id", name="unique_default"),
        Index("idx_payment_methods_company_id", "company_id"),
        Index("idx_payment_methods_user_id", "user_id"),
        Index("idx_payment_methods_expiry", "exp_year", "exp_month"),
        Index("idx_payment_methods_fingerprint", "fingerprint"),
    )

    # Who added it; None for whoever came by a link to the company's portal.
    user_id: Mapped[UUID | None]
    type: Mapped[MethodType] = mapped_column(words(MethodType))
    provider: Mapped[str] = mapped_column(String(50))
    # NULL until the provider has answered; the specification has NOT NULL, but rows come first.
    provider_id: Mapped[str | None] = mapped_column(PROVIDER_ID)
    status: Mapped[MethodStatus] = mapped_column(words(MethodStatus), default=MethodStatus.PENDING)
    token: Mapped[str | None] = mapped_column(String(255))
    last_four: Mapped[str | None] = mapped_column(String(4))
    brand: Mapped[str | None] = mapped_column(String(50))
    exp_month: Mapped[int | None] = mapped_column(Integer)
    exp_year: Mapped[int | None] = mapped_column(Integer)
    fingerprint: Mapped[str | None] = mapped_column(String(100))
    is_default: Mapped[bool] = mapped_column(Boolean, default=False)
    is_active: Mapped[bool] = mapped_column(Boolean, default=False)
    first_called_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]
    replaced_by_id: Mapped[UUID | None]
    replaces_id: Mapped[UUID | None]  # whose place it takes once it is kept
    error_code: Mapped[str | None] = mapped_column(String(100))
    error_message: Mapped[str | None] = mapped_column(Text)
    default_company_id: Mapped[UUID | None] = mapped_column(
        Id,
        Computed("CASE WHEN is_default = 1 THEN company_id END", persisted=True),
        sort_order=85,
    )

    def has_expired(self, moment: datetime) -> bool:
        """Whether the card's last day is past; what has no such day never expires.

        It is still charged: the networks' updater may have renewed it without a word to us, and
        if not, the decline says so.
        """
        if self.exp_year is None or self.exp_month is None:
            return False
        return moment >= expiry.end_of(self.exp_year, self.exp_month)


class ProviderCustomer(CompanyOwned, Changing):
    """The company as a provider's customer. The row comes before the call that creates it."""

    __tablename__ = "provider_customers"
    __table_args__ = (
        UniqueConstraint("company_id", "provider"),
        UniqueConstraint("provider", "provider_id"),
    )

    provider: Mapped[str] = mapped_column(String(50))
    provider_id: Mapped[str | None] = mapped_column(PROVIDER_ID)
    # What the provider told of the customer when it was last imported.
    imported: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


def customer_of(session: Session, company_id: UUID, provider: str) -> ProviderCustomer | None:
    """Return the company's customer row at `provider`."""
    return session.scalars(
        select(ProviderCustomer).where(
            ProviderCustomer.company_id == company_id, ProviderCustomer.provider == provider
        )
    ).one_or_none()


def usable_methods(session: Session) -> list[PaymentMethod]:
    """Return the session's company's active methods, the default first, then the newest."""
    return list(
        session.scalars(
            select(PaymentMethod)
            .where(PaymentMethod.is_active)
            .order_by(PaymentMethod.is_default.desc(), PaymentMethod.id.desc())
        )
    )


def page_of(
    session: Session, query: Select[PaymentMethod], *, after: UUID | None, limit: int
) -> Page[PaymentMethod]:
    """Return a page of the company's methods: on the first the default leads, then the newest."""
    if after is not None:
        # The default has led the first page, wherever its id would have it.
        query = query.where(~PaymentMethod.is_default)
        last = session.get(PaymentMethod, after)
        if last is None or not last.is_default:
            query = query.where(PaymentMethod.id < after)
    rows = list(
        session.scalars(
            query.order_by(PaymentMethod.is_default.desc(), PaymentMethod.id.desc()).limit(
                limit + 1
            )
        )
    )
    return page(rows, limit)


def replacement_under_way(session: Session, method_id: UUID) -> UUID | None:
    """Return what is to take a method's place, while its provider has not answered yet."""
    query = select(PaymentMethod.id).where(
        PaymentMethod.replaces_id == method_id, PaymentMethod.status == MethodStatus.PENDING
    )
    return session.scalar(query.limit(1))


def default_method(session: Session) -> PaymentMethod | None:
    """Return the session's company's default method."""
    return session.scalars(
        select(PaymentMethod).where(PaymentMethod.is_default, PaymentMethod.is_active)
    ).one_or_none()


def has_default(session: Session) -> bool:
    """Whether the session's company has a default method."""
    return default_method(session) is not None
