"""The console's session in a cookie that no script can read.

A browser adds a cookie to whatever asks it to, so what changes something is let in by cookie only
when the console's own page asks. SameSite=Strict keeps other sites away; other ports and
subdomains are the same site, and for those the browser's own word on the request is checked.
"""

from __future__ import annotations

from datetime import datetime

from flask import Response, request

from models.clock import now
from web.problems import Problem
from worker.settings import settings

SAFE_METHODS = frozenset({"GET", "HEAD"})
PLAIN_NAME = "paybeat_session"
# Browsers take this one over TLS alone, and from no subdomain.
SECURE_NAME = "__Host-paybeat_session"


def token() -> str | None:
    """Return the access token that the request's cookie holds."""
    return request.cookies.get(_name()) or None


def keep(answer: Response, token: str, *, expires_at: datetime) -> Response:
    """Let the browser hold `token` until then."""
    answer.set_cookie(
        _name(),
        token,
        max_age=max(0, int((expires_at - now()).total_seconds())),
        httponly=True,
        samesite="Strict",
        secure=_is_secure(),
    )
    return answer


def drop(answer: Response) -> Response:
    """Let the browser forget it."""
    answer.delete_cookie(_name(), httponly=True, samesite="Strict", secure=_is_secure())
    return answer


def check_same_origin() -> None:
    """Refuse what a page of another origin asks for.

    Raises:
        Problem: 403; also when the browser does not tell where the request comes from.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is None:
        is_own = request.headers.get("Origin") == request.host_url.rstrip("/")
    else:
        is_own = site == "same-origin"
    if not is_own:
        raise Problem("forbidden", "A cookie counts only for requests of the console's own page.")


def _is_secure() -> bool:
    return settings().is_production or request.is_secure


def _name() -> str:
    return SECURE_NAME if _is_secure() else PLAIN_NAME
