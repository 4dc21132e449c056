"""Signing in and out, and one's own password."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from flask import Response, request
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.tenants import Permission, Role, User, UserSession
from web.auth import allowed, caller, public, tokens
from web.limits import hit_login_limits
from web.problems import Problem, invalid
from web.routes import Input, Routes, respond
from worker import passwords, sessions, telemetry
from worker.database import in_transaction, transaction

routes = Routes("auth", __name__, url_prefix="/api/v1/auth")


class Login(Input):
    """What a user types."""

    email: str = Field(min_length=3, max_length=255)
    password: str = Field(min_length=1, max_length=passwords.MAX_LENGTH)


class NewPassword(Input):
    """The password as it is and as it shall be."""

    current_password: str = Field(min_length=1, max_length=passwords.MAX_LENGTH)
    new_password: str = Field(min_length=passwords.MIN_LENGTH, max_length=passwords.MAX_LENGTH)


class UserAnswer(BaseModel):
    """Who is signed in."""

    id: UUID
    email: str
    name: str
    role: Role
    tenant_id: UUID
    company_id: UUID | None
    permissions: list[Permission]


class TokenAnswer(BaseModel):
    """A token to send as `Authorization: Bearer ...`."""

    access_token: str
    token_type: str
    expires_at: datetime
    user: UserAnswer


@routes.post("/login", responses={200: TokenAnswer})
@public
def login(body: Login) -> Response:
    """Sign in for 24 hours."""
    return respond(sign_in(body))


def sign_in(body: Login) -> TokenAnswer:
    """Start a session for who proves to be its user, within the limits.

    Raises:
        Problem: 401 for whatever is wrong, 429 over the limits.
    """
    hit_login_limits(email=body.email.strip().lower(), address=request.remote_addr or "")
    user = _user_by(email=body.email.strip())
    is_right = passwords.is_right(body.password, user.password_hash if user else None)
    if user is None or not is_right or not user.is_active:
        telemetry.count("login.attempts", outcome="refused")
        raise _wrong()
    fresh_hash = None
    if passwords.needs_rehash(user.password_hash):
        fresh_hash = passwords.hash_password(body.password)
    signed_in = in_transaction(_start_session, None, user, fresh_hash)
    telemetry.count("login.attempts", outcome="accepted")
    telemetry.note(user_id=user.id, company_id=user.company_id)
    token = tokens.issue(user_id=user.id, session_id=signed_in.id, expires_at=signed_in.expires_at)
    return TokenAnswer(
        access_token=token,
        token_type="Bearer",  # noqa: S106  RFC 6750's word
        expires_at=signed_in.expires_at,
        user=_shown(user),
    )


@routes.post("/logout", responses={204: None})
@allowed()
def logout() -> Response:
    """End this session; it ends everywhere within 5 seconds."""
    sessions.end(caller().session_id)
    return Response(status=204)


@routes.post("/password", responses={204: None})
@allowed()
def change_password(body: NewPassword) -> Response:
    """Set a new password; all sessions of the user end, this one too."""
    who = caller().user_id
    hit_login_limits(email=str(who), address=request.remote_addr or "")
    with transaction() as session:
        user = session.get_one(User, who)
    if not passwords.is_right(body.current_password, user.password_hash):
        raise invalid("current_password", "is wrong")
    new_hash = passwords.hash_password(body.new_password)
    sessions.forget(in_transaction(_set_password, None, user, new_hash))
    return Response(status=204)


@routes.get("/me", responses={200: UserAnswer})
@allowed()
def me() -> Response:
    """Tell who is signed in and what they may do."""
    with transaction() as session:
        return respond(_shown(session.get_one(User, caller().user_id)))


def _user_by(*, email: str) -> User | None:
    with transaction() as session:
        return session.scalars(select(User).where(User.email == email)).one_or_none()


def _wrong() -> Problem:
    # One answer for a wrong password, an unknown email and a closed account.
    return Problem("wrong-credentials", headers={"WWW-Authenticate": "Bearer"})


def _start_session(session: Session, checked: User, fresh_hash: str | None) -> UserSession:
    """Start a session, unless the password was changed since it was checked."""
    user = session.get_one(User, checked.id, with_for_update=True)
    if user.password_hash != checked.password_hash or not user.is_active:
        raise _wrong()
    if fresh_hash is not None:
        user.password_hash = fresh_hash
    return sessions.start(session, user)


def _set_password(session: Session, checked: User, new_hash: str) -> list[UUID]:
    user = session.get_one(User, checked.id, with_for_update=True)
    if user.password_hash != checked.password_hash:
        raise invalid("current_password", "is wrong")
    user.password_hash = new_hash
    return sessions.end_all(session, user.id)


def _shown(user: User) -> UserAnswer:
    from models.tenants import GRANTS

    return UserAnswer(
        id=user.id,
        email=user.email,
        name=user.name,
        role=user.role,
        tenant_id=user.tenant_id,
        company_id=user.company_id,
        permissions=sorted(GRANTS[user.role]),
    )
