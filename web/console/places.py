"""Where the console's neighbours are, and the policy that lets it reach them and nobody else."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from models.clock import now
from web import hosts
from web.api import relay
from worker.settings import settings

PROVIDERS = ("stripe.com", "paypal.com", "sendgrid.com")


def neighbours() -> dict[str, Any]:
    """Return what the page's script must know."""
    return {
        "env": settings().paybeat_env,
        # The page counts down by the clock that rows are written by.
        "now": now(),
        "relay_url": relay.address(),
        "sandbox": stand_ins(),
        "flower_url": flower_url(),
    }


def stand_ins() -> dict[str, str | None] | None:
    """Return the addresses of the stand-ins, of which the sandbox alone has any."""
    if settings().paybeat_env != "sandbox":
        return None
    found = {
        "stripe": _unless_real(settings().stripe_api_base),
        "paypal": _unless_real(settings().paypal_api_base),
        "mail": _unless_real(_mail_base()),
    }
    return found if any(found.values()) else None


def _mail_base() -> str:
    """Return where letters go, if it is another place than SendGrid's own."""
    return settings().sendgrid_api_base if settings().mail_provider == "sendgrid" else ""


def flower_url() -> str | None:
    """Return where people see the tasks; in production that must be said, as it is fenced off."""
    if settings().flower_url or settings().is_production:
        return settings().flower_url or None
    return f"http://{hosts.asked()}:{settings().flower_port}/"


def policy() -> str:
    """Return the Content-Security-Policy of everything that the console is made of."""
    reached = ["'self'", _origin(relay.address())]
    reached += [_origin(base) for base in (stand_ins() or {}).values() if base]
    rules = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": " ".join(reached),
        "worker-src": "'self'",
        "manifest-src": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "paybeat",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _unless_real(base: str) -> str | None:
    host = urlsplit(base).hostname or ""
    is_real = any(host == real or host.endswith(f".{real}") for real in PROVIDERS)
    return None if not host or is_real else base.rstrip("/")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
