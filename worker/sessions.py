"""Sign-ins: a row in MySQL is the truth, Redis only saves asking for it every time.

An entry in Redis counts for `FRESH_S` after the row was read; then the row is read again. So a
logout, a new password, another role or a deactivation hold everywhere within 5 s, even if Redis
lost the deletion of the entry; and with Redis away, hung or flushed the row is asked each time:
nobody is signed out by that, and nobody comes back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from models.clock import now
from models.tenants import GRANTS, Permission, Role, User, UserSession
from worker.cache import CacheAway, shared
from worker.database import transaction

LIFE = timedelta(hours=24)
FRESH_S = 4.0
PERMISSIONS_LIFE_S = 30 * 60
# Sessions asked for at a time.
BATCH = 500


@dataclass(frozen=True)
class Alive:
    """A session that lives, whose it is, and until when, in seconds since 1970."""

    tenant_id: UUID
    company_id: UUID | None
    role: Role
    permissions: frozenset[Permission]
    expires_at: float


def start(session: Session, user: User) -> UserSession:
    """Sign `user` in for 24 hours."""
    signed_in = UserSession(user_id=user.id, expires_at=now() + LIFE)
    session.add(signed_in)
    session.flush()
    return signed_in


def end(session_id: UUID) -> None:
    """Sign out. Safe twice."""
    with transaction() as session:
        session.execute(
            update(UserSession)
            .where(UserSession.id == session_id, UserSession.ended_at.is_(None))
            .values(ended_at=now())
        )
    forget([session_id])


def end_all(session: Session, user_id: UUID) -> list[UUID]:
    """End all sign-ins of a user within the caller's transaction; `forget` them after it."""
    ids = session.scalars(
        select(UserSession.id).where(UserSession.user_id == user_id, UserSession.ended_at.is_(None))
    ).all()
    session.execute(update(UserSession).where(UserSession.id.in_(ids)).values(ended_at=now()))
    return list(ids)


def forget(session_ids: list[UUID]) -> None:
    """Drop what Redis remembers; with Redis away it grows stale by itself."""
    _drop([_session_key(session_id) for session_id in session_ids])


def forget_permissions(user_id: UUID) -> None:
    """Drop the remembered permissions of a user."""
    _drop([_permissions_key(user_id)])


def change_user(user_id: UUID, *, role: Role | None = None, is_active: bool | None = None) -> None:
    """Change what a user is; it holds everywhere within 5 s."""
    with transaction() as session:
        user = session.get_one(User, user_id, with_for_update=True)
        user.role = user.role if role is None else role
        user.is_active = user.is_active if is_active is None else is_active
        ended = end_all(session, user_id) if is_active is False else []
    forget(ended)
    forget_permissions(user_id)


def verify(session_id: UUID, user_id: UUID) -> Alive | None:
    """Return whose session it is, or None if it has ended; at most `FRESH_S` behind the truth."""
    entry, grants = _remembered(session_id, user_id)
    if entry is None or not _is_fresh(entry):
        entry = _read(session_id)
        if entry is None:
            forget([session_id])
            return None
        _remember(_session_key(session_id), entry, life_s=_life_s(entry))
    if entry["user_id"] != str(user_id) or _life_s(entry) <= 0:
        return None
    role = Role(entry["role"])
    return Alive(
        tenant_id=UUID(entry["tenant_id"]),
        company_id=UUID(entry["company_id"]) if entry["company_id"] else None,
        role=role,
        permissions=_permissions(user_id, role, grants),
        expires_at=entry["expires_at"],
    )


def living(session_ids: Collection[UUID]) -> dict[UUID, Role]:
    """Return the role of the user of each of these sessions that lives, asked of MySQL."""
    found: dict[UUID, Role] = {}
    ids = list(session_ids)
    for first in range(0, len(ids), BATCH):
        query = (
            select(UserSession.id, User.role)
            .join(User, User.id == UserSession.user_id)
            .where(UserSession.id.in_(ids[first : first + BATCH]), *_lives())
        )
        with transaction() as session:
            found.update((row.id, row.role) for row in session.execute(query))
    return found


def _permissions(user_id: UUID, role: Role, found: dict[str, Any] | None) -> frozenset[Permission]:
    """Return what is remembered if it is of this role and this release, else what GRANTS says."""
    of = f"{role}@{_grants_version()}"
    if found is None or found["of"] != of:
        found = {"of": of, "permissions": sorted(GRANTS[role])}
        _remember(_permissions_key(user_id), found, life_s=PERMISSIONS_LIFE_S)
    return frozenset(map(Permission, found["permissions"]))


@cache
def _grants_version() -> str:
    listed = sorted((role, sorted(permissions)) for role, permissions in GRANTS.items())
    return hashlib.sha256(repr(listed).encode()).hexdigest()[:8]


def _read(session_id: UUID) -> dict[str, Any] | None:
    """Ask MySQL. The time is taken before, so that an ended session is never fresh for longer."""
    asked_at = now().timestamp()
    with transaction() as session:
        row = session.execute(
            select(UserSession, User)
            .join(User, User.id == UserSession.user_id)
            .where(UserSession.id == session_id, *_lives())
        ).one_or_none()
    if row is None:
        return None
    signed_in, user = row
    return {
        "user_id": str(user.id),
        "tenant_id": str(user.tenant_id),
        "company_id": str(user.company_id) if user.company_id else None,
        "role": user.role,
        "expires_at": signed_in.expires_at.timestamp(),
        "verified_at": asked_at,
    }


def _lives() -> tuple[ColumnElement[bool], ...]:
    return UserSession.ended_at.is_(None), UserSession.expires_at > now(), User.is_active.is_(True)


def _is_fresh(entry: dict[str, Any]) -> bool:
    # An age below zero is a machine whose clock differs: then MySQL is asked.
    return bool(0 <= now().timestamp() - entry["verified_at"] < FRESH_S)


def _life_s(entry: dict[str, Any]) -> int:
    return int(entry["expires_at"] - now().timestamp())


def _session_key(session_id: UUID) -> str:
    return f"session:{session_id}"


def _permissions_key(user_id: UUID) -> str:
    return f"permissions:{user_id}"


def _remembered(session_id: UUID, user_id: UUID) -> tuple[Any, Any]:
    keys = [_session_key(session_id), _permissions_key(user_id)]
    try:
        found = shared().do(lambda redis: redis.mget(keys))
    except CacheAway:
        return None, None
    entry, grants = (orjson.loads(text) if text else None for text in found)
    return entry, grants


def _remember(key: str, value: dict[str, Any], *, life_s: int) -> None:
    if life_s <= 0:
        return
    try:
        shared().do(lambda redis: redis.set(key, orjson.dumps(value), ex=life_s))
    except CacheAway:
        return


def _drop(keys: list[str]) -> None:
    if not keys:
        return
    try:
        shared().do(lambda redis: redis.delete(*keys))
    except CacheAway:
        return
