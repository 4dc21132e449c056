"""Tenants, companies and users as the commands make them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.ids import new_id
from models.money import CURRENCIES
from models.tenants import Company, Role, Tenant, User
from worker import passwords, sessions
from worker.database import in_transaction

EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,190}")
DEMO_PASSWORD = "paybeat-demo-1234"  # noqa: S105  everybody may know it; refused in production
DEMO_OWNER = "owner@demo.example"
DEMO_STAFF = {
    "billing@demo.example": Role.BILLING_ADMIN,
    "member@demo.example": Role.MEMBER,
    "operator@demo.example": Role.OPERATOR,
}


class Refused(Exception):
    """It cannot be done as asked; the message says why."""


@dataclass(frozen=True)
class Demo:
    """The demo company and the users beside its owner."""

    company_id: UUID
    emails: tuple[str, ...]


def make_demo() -> Demo:
    """Make the demo company and its users, or bring them back to how they were."""
    return in_transaction(_make_demo, None)


def _make_demo(session: Session) -> Demo:
    owner = _user_by(session, DEMO_OWNER)
    if owner is None or owner.company_id is None:
        tenant_id, company_id = _add_company(session, "Demo", DEMO_OWNER, "INR", None)
    else:
        tenant_id, company_id = owner.tenant_id, owner.company_id
    session.get_one(Tenant, tenant_id).is_platform = True
    for email, role in {DEMO_OWNER: Role.OWNER, **DEMO_STAFF}.items():
        user = _user_by(session, email) or User(id=new_id(), email=email, password_hash="")
        user.tenant_id = tenant_id
        user.company_id = None if role is Role.OPERATOR else company_id
        user.role, user.is_active = role, True
        if not passwords.is_right(DEMO_PASSWORD, user.password_hash):
            user.password_hash = passwords.hash_password(DEMO_PASSWORD)
        session.add(user)
    return Demo(company_id, tuple(DEMO_STAFF))


def add_company(name: str, email: str, currency: str, tenant_id: UUID | None) -> tuple[UUID, UUID]:
    """Add a company, and a tenant of the same name unless one is given; return both ids."""
    if currency not in CURRENCIES:
        raise Refused(f"{currency} is not a currency that can be charged.")
    if not name.strip():
        raise Refused("A company needs a name.")
    return in_transaction(
        _add_company, None, name.strip(), _checked_email(email), currency, tenant_id
    )


def _add_company(
    session: Session, name: str, email: str, currency: str, tenant_id: UUID | None
) -> tuple[UUID, UUID]:
    if tenant_id is None:
        tenant_id = new_id()
        session.add(Tenant(id=tenant_id, name=name))
        session.flush()
    elif session.get(Tenant, tenant_id) is None:
        raise Refused("There is no such tenant.")
    company = Company(id=new_id(), tenant_id=tenant_id, name=name, email=email, currency=currency)
    session.add(company)
    session.flush()
    return tenant_id, company.id


def set_platform(tenant_id: UUID, *, is_platform: bool) -> str:
    """Say whether a tenant's operators see what is no company's; return its name."""

    def set_it(session: Session) -> str:
        tenant = session.get(Tenant, tenant_id)
        if tenant is None:
            raise Refused("There is no such tenant.")
        tenant.is_platform = is_platform
        return tenant.name

    return in_transaction(set_it, None)


def has_platform() -> bool:
    """Return whether there is a tenant whose operators see what is no company's."""
    platform = select(Tenant.id).where(Tenant.is_platform).limit(1)
    return in_transaction(lambda session: session.scalar(platform) is not None, None)


def add_user(
    email: str,
    password: str,
    role: Role,
    *,
    company_id: UUID | None,
    tenant_id: UUID | None,
    name: str = "",
) -> UUID:
    """Add a user: an operator to a tenant, anybody else to a company."""
    if (tenant_id if role is Role.OPERATOR else company_id) is None:
        raise Refused("An operator needs a tenant, any other role a company.")
    email = _checked_email(email)
    password_hash = passwords.hash_password(password)

    def add(session: Session) -> UUID:
        of = tenant_id if role is Role.OPERATOR else _tenant_of(session, company_id)
        user = User(
            id=new_id(),
            tenant_id=of,
            company_id=None if role is Role.OPERATOR else company_id,
            email=email,
            name=name,
            password_hash=password_hash,
            role=role,
        )
        session.add(user)
        return user.id

    try:
        return in_transaction(add, None)
    except IntegrityError:
        raise Refused("That email is taken, or there is no such tenant.") from None


def _checked_email(email: str) -> str:
    """Refuse what was typed in the wrong place; whether mail arrives only a mail can tell."""
    email = email.strip()
    if not EMAIL.fullmatch(email):
        raise Refused(f"{email!r} is not an email address.")
    return email


def _tenant_of(session: Session, company_id: UUID | None) -> UUID:
    found = session.scalar(select(Company.tenant_id).where(Company.id == company_id))
    if found is None:
        raise Refused("There is no such company.")
    return found


def reset_password(email: str, password: str) -> int:
    """Set a password and end all sessions of the user; return how many there were."""
    password_hash = passwords.hash_password(password)

    def reset(session: Session) -> list[UUID]:
        user = _user_by(session, email)
        if user is None:
            raise Refused("There is no such user.")
        user.password_hash = password_hash
        return sessions.end_all(session, user.id)

    ended = in_transaction(reset, None)
    sessions.forget(ended)
    return len(ended)


def _user_by(session: Session, email: str) -> User | None:
    return session.scalars(
        select(User).where(User.email == email.strip()).with_for_update()
    ).one_or_none()
