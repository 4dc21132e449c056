"""Access tokens: JWTs signed with HS256 by a secret or with RS256 by a key set.

The algorithm comes from our key, never from the token. With JWT_KEYS (a JWKS, or the path of
one) the first private key signs and every key verifies, so that keys rotate without a logout:
add the new key behind, put it first, drop the old one after 24 hours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt

from models.clock import now
from web.problems import Problem
from worker.settings import InvalidSettings, Settings, settings

REQUIRED = ["aud", "exp", "iat", "iss", "sid", "sub"]
RSA_BITS = 2048
MAX_LENGTH = 4096


@dataclass(frozen=True)
class Claims:
    """What a valid token says. That the session still lives is for the database to say."""

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True)
class Keys:
    """The keys of this process."""

    algorithm: str
    signing: Any
    signing_id: str | None
    verifying: dict[str | None, Any]


def unauthenticated(detail: str) -> Problem:
    """Return a 401 that names the way in."""
    return Problem("unauthenticated", detail, headers={"WWW-Authenticate": "Bearer"})


def issue(*, user_id: UUID, session_id: UUID, expires_at: datetime) -> str:
    """Return a signed token for a session."""
    claims = {
        "iss": settings().jwt_issuer,
        "aud": settings().jwt_audience,
        "sub": str(user_id),
        "sid": str(session_id),
        "iat": int(now().timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    held = keys()
    headers = {"kid": held.signing_id} if held.signing_id else None
    return jwt.encode(claims, held.signing, algorithm=held.algorithm, headers=headers)


def read(token: str) -> Claims:
    """Return what `token` says.

    Raises:
        Problem: 401 for whatever is wrong with it; the reason is not told.
    """
    try:
        return _read(token)
    except (jwt.PyJWTError, KeyError, ValueError, TypeError):
        raise unauthenticated("The access token is not valid.") from None


def _read(token: str) -> Claims:
    if len(token) > MAX_LENGTH:
        raise ValueError("too long")
    held = keys()
    key_id = jwt.get_unverified_header(token).get("kid") if held.algorithm == "RS256" else None
    claims = jwt.decode(
        token,
        held.verifying[key_id],
        algorithms=[held.algorithm],
        audience=settings().jwt_audience,
        issuer=settings().jwt_issuer,
        # Times are checked below by our own clock, which the sandbox can advance.
        options={"require": REQUIRED, "verify_exp": False, "verify_iat": False},
    )
    if not isinstance(claims["exp"], int) or claims["exp"] <= now().timestamp():
        raise ValueError("expired")
    return Claims(user_id=UUID(str(claims["sub"])), session_id=UUID(str(claims["sid"])))


@cache
def keys() -> Keys:
    """Return the keys that the settings name.

    Raises:
        InvalidSettings: JWT_KEYS cannot be used.
    """
    return keys_of(settings())


def keys_of(given: Settings) -> Keys:
    """Read the keys of some settings."""
    if not given.jwt_keys:
        return Keys("HS256", given.jwt_secret, None, {None: given.jwt_secret})
    try:
        return _key_set(json.loads(_text_of(given.jwt_keys)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise InvalidSettings([f"JWT_KEYS cannot be used: {type(error).__name__}."]) from None


def _text_of(given: str) -> str:
    return given if given.lstrip().startswith("{") else Path(given).read_text()


def _key_set(found: dict[str, Any]) -> Keys:
    signing: dict[str, Any] = {}
    verifying: dict[str | None, Any] = {}
    for entry in found["keys"]:
        if entry.get("kty") != "RSA":
            raise ValueError("only RSA keys")
        key = jwt.PyJWK(entry, algorithm="RS256").key
        if key.key_size < RSA_BITS:
            raise ValueError(f"RSA keys of at least {RSA_BITS} bits")
        if "d" in entry:
            signing.setdefault(entry["kid"], key)
            key = key.public_key()
        verifying[entry["kid"]] = key
    signing_id, key = next(iter(signing.items()), (None, None))
    if key is None:
        raise ValueError("no private key")
    return Keys("RS256", key, signing_id, verifying)
