"""Tenants (who run Paybeat for their product), their companies, users and permissions."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    JSON,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import CURRENCY, Changing, words


class Role(StrEnum):
    """What a user is. An operator is the tenant's own staff and acts for any of its companies."""

    OWNER = "owner"
    BILLING_ADMIN = "billing_admin"
    MEMBER = "member"
    OPERATOR = "operator"


class Permission(StrEnum):
    """What a route asks for."""

    PAYMENTS_READ = "payments:read"
    PAYMENTS_WRITE = "payments:write"
    REFUNDS_WRITE = "refunds:write"
    METHODS_READ = "methods:read"
    METHODS_WRITE = "methods:write"
    INVOICES_READ = "invoices:read"
    INVOICES_WRITE = "invoices:write"
    DISPUTES_READ = "disputes:read"
    DISPUTES_WRITE = "disputes:write"
    MODULES_READ = "modules:read"
    MODULES_WRITE = "modules:write"
    # What the tenant sells: modules and plans.
    CATALOGUE_WRITE = "catalogue:write"
    ENDPOINTS_READ = "endpoints:read"
    ENDPOINTS_WRITE = "endpoints:write"
    ANALYTICS_READ = "analytics:read"
    # Events of the tenant's own product, and reports.
    ANALYTICS_WRITE = "analytics:write"
    OPERATIONS = "operations"


_READ = frozenset(
    {
        Permission.PAYMENTS_READ,
        Permission.METHODS_READ,
        Permission.INVOICES_READ,
        Permission.DISPUTES_READ,
        Permission.MODULES_READ,
        Permission.ANALYTICS_READ,
    }
)
_PAY = _READ | {
    Permission.PAYMENTS_WRITE,
    Permission.METHODS_WRITE,
    Permission.REFUNDS_WRITE,
    Permission.DISPUTES_WRITE,
}
_BILL = _PAY | {
    Permission.INVOICES_WRITE,
    Permission.MODULES_WRITE,
    Permission.ANALYTICS_WRITE,
}
# Whoever names an address hears everything about the company.
_CONNECT = {Permission.ENDPOINTS_READ, Permission.ENDPOINTS_WRITE}

GRANTS: dict[Role, frozenset[Permission]] = {
    Role.MEMBER: _READ,
    Role.BILLING_ADMIN: _BILL,
    Role.OWNER: _BILL | _CONNECT,
    Role.OPERATOR: _BILL | _CONNECT | {Permission.OPERATIONS, Permission.CATALOGUE_WRITE},
}


class Language(StrEnum):
    """In which a company's documents can be made out."""

    GERMAN = "de"
    ENGLISH = "en"
    SPANISH = "es"
    FRENCH = "fr"
    HINDI = "hi"


class Tenant(Changing):
    """A team that runs a SaaS product and bills its companies through us.

    One that runs this installation is the platform: its operators alone see what is no company's.
    """

    __tablename__ = "tenants"

    name: Mapped[str] = mapped_column(String(255))
    is_platform: Mapped[bool] = mapped_column(Boolean, default=False)
    # What totals over all of its companies are told in; DEFAULT_CURRENCY if it has chosen none.
    currency: Mapped[str | None] = mapped_column(CURRENCY)


class Company(Changing):
    """A customer of a tenant's. Everything about money belongs to one."""

    __tablename__ = "companies"
    __table_args__ = (
        Index("idx_companies_tenant", "tenant_id"),
        Index("idx_companies_name", "tenant_id", "name"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(255))
    email: Mapped[str] = mapped_column(String(255))
    currency: Mapped[str] = mapped_column(CURRENCY, default="INR")
    # line1, line2, postal_code, city, state, country (ISO 3166, two letters): text, each optional.
    address: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    tax_id: Mapped[str | None] = mapped_column(String(50))
    language: Mapped[str] = mapped_column(String(8), default=str(Language.ENGLISH))
    # An IANA name; it decides which day it is for the company.
    time_zone: Mapped[str] = mapped_column(String(64), default="UTC")
    # The last numbers given out; taken under the row's lock, so that numbers have no gaps.
    last_invoice_number: Mapped[int] = mapped_column(Integer, default=0)
    last_credit_note_number: Mapped[int] = mapped_column(Integer, default=0)


class User(Changing):
    """Somebody who signs in. An operator has no company of their own."""

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("email"),
        Index("idx_users_tenant", "tenant_id"),
        Index("idx_users_company_id", "company_id"),
        {"info": {"company_owned": False}},
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    company_id: Mapped[UUID | None] = mapped_column(ForeignKey("companies.id"))
    email: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(255), default="")
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[Role] = mapped_column(words(Role))
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)


def people_among(
    session: Session, company: Company, user_ids: Collection[UUID | None]
) -> set[UUID | None]:
    """Return those who are the company's own people, and None, who is nobody."""
    named = [user_id for user_id in user_ids if user_id is not None]
    if not named:
        return {None}
    found = session.scalars(
        select(User.id).where(User.id.in_(named), User.company_id == company.id)
    )
    return {None, *found}


class UserSession(Changing):
    """A sign-in. The row is the truth that a session lives; Redis only remembers it."""

    __tablename__ = "user_sessions"
    __table_args__ = (Index("idx_user_sessions_user_id", "user_id"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
