"""Tickets to the relay: random, for 30 seconds and one use, bound to a session and a channel.

A browser cannot send a header with a WebSocket, and an access token in an address would end up in
logs. So it buys a ticket with its token and shows that. Redis knows a ticket by its hash alone;
taking it deletes it, so that of two who show it one is let in.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import orjson

from models.clock import now
from models.tenants import Role
from worker.cache import shared

LIFE = timedelta(seconds=30)
# Longer than any of ours, shorter than what is worth hashing.
MAX_LENGTH = 256


@dataclass(frozen=True)
class Ticket:
    """Whose it is, and what it opens."""

    user_id: UUID
    session_id: UUID
    company_id: UUID | None
    channel: UUID


@dataclass(frozen=True)
class Issued:
    """What is shown once, and until when."""

    ticket: str
    expires_at: datetime


def channel_of(*, role: Role, company_id: UUID | None, tenant_id: UUID) -> UUID | None:
    """Return what is heard: the company's channel; the tenant's by its operators alone."""
    if company_id is not None:
        return company_id
    return tenant_id if role is Role.OPERATOR else None


def issue(ticket: Ticket) -> Issued:
    """Return what `ticket` is known by.

    Raises:
        CacheAway: none can be had now.
    """
    shown = secrets.token_urlsafe(32)
    expires_at = now() + LIFE
    kept = orjson.dumps({**asdict(ticket), "expires_at": expires_at.timestamp()})
    shared().do(lambda redis: redis.set(_key(shown), kept, ex=int(LIFE.total_seconds())))
    return Issued(shown, expires_at)


def take(shown: str) -> Ticket | None:
    """Return the ticket and end it; None if there is none, or it is taken or over.

    Raises:
        CacheAway: it cannot be told; the ticket may be gone all the same.
    """
    if len(shown) > MAX_LENGTH:
        return None
    found = shared().do(lambda redis: redis.getdel(_key(shown)))
    if found is None:
        return None
    kept = orjson.loads(found)
    if kept["expires_at"] <= now().timestamp():
        return None
    return Ticket(
        user_id=UUID(kept["user_id"]),
        session_id=UUID(kept["session_id"]),
        company_id=UUID(kept["company_id"]) if kept["company_id"] else None,
        channel=UUID(kept["channel"]),
    )


def _key(shown: str) -> str:
    return f"ticket:{sha256(shown.encode()).hexdigest()}"
