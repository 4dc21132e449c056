"""What must be true of the settings before a process may start: one sentence a problem.

The sentences name settings and never show a value: a value may be a secret.
"""

from __future__ import annotations

import logging
import re
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit
from uuid import UUID

from models.money import CURRENCIES
from worker.outgoing.addresses import networks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.settings import Settings

MODES = ("sandbox", "production")
LOG_FORMATS = ("auto", "json", "human")
STALE_POLICIES = ("refuse", "flag")
MAIL_PROVIDERS = ("sendgrid", "smtp", "off")
PORTS = (
    "redis_port",
    "port",
    "relay_port",
    "flower_port",
    "sandbox_port",
    "sandbox_paypal_port",
    "sandbox_mail_port",
    "sandbox_fx_port",
    "datadog_port",
)
MAY_BE_ZERO = ("redis_db", "sentry_traces_rate", "trusted_proxies")
RATE_LIMITS = ("rate_limit", "login_rate_limit", "portal_rate_limit", "portal_mail_rate_limit")
PAYPAL = ("paypal_client_id", "paypal_client_secret", "paypal_webhook_id")
PAYPAL_CALLS = 3
# A charge at PayPal makes this many calls at most: it creates, captures and looks.
HIGHEST_PORT = 65_535
MAILBOX = re.compile(r"[^<>@\s]+@[^<>@\s]+|[^<>@\r\n]*<[^<>@\s]+@[^<>@\s]+>")
JWT_SECRET_BYTES = 32
# Thirty-two random hexadecimal digits have fewer once in ten million times.
JWT_SECRET_LETTERS = 7
# RFC 7518, 3.2: an HS256 key is at least as long as its hash.
LOGIN_HASH = re.compile(r"[^:\s]+:\$argon2id\$\S+")
# `name:hash`; Flower itself would only compare plain text, worker/flower_login.py checks the hash.


def problems_of(settings: Settings) -> list[str]:
    """Return what forbids to start, empty when nothing does."""
    rules = [
        _mode,
        _numbers,
        _leases,
        _mail_words,
        _words,
        _addresses,
        _origins,
        _endpoints,
        _rates,
    ]
    if settings.is_production:
        rules += [_stripe, _paypal, _exchange_rates, _login_secrets, _database, _redis, _relay]
        rules += [_mail, _links]
    return [problem for rule in rules for problem in rule(settings)]


def _mode(settings: Settings) -> Iterator[str]:
    if settings.paybeat_env not in MODES:
        yield f"PAYBEAT_ENV must be one of {', '.join(MODES)}."
    if settings.is_production and settings.sandbox_clock:
        yield "SANDBOX_CLOCK must be empty: the clock of real money is the machine's."
    keys = settings.stripe_api_key + settings.stripe_publishable_key
    if settings.stripe_publishable_key.startswith(("sk_", "rk_")):
        yield "STRIPE_PUBLISHABLE_KEY is a secret key: every visitor of the portal would see it."
    if not settings.is_production and "_live_" in keys:
        yield "A key of Stripe's is a live key, which only PAYBEAT_ENV=production may hold."


def _numbers(settings: Settings) -> Iterator[str]:
    for name, value in asdict(settings).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield from _number(name, value)
    if not 0 <= settings.sentry_traces_rate <= 1:
        yield "SENTRY_TRACES_RATE must be between 0 and 1."
    if not 0 < settings.breaker_share <= 1:
        yield "BREAKER_SHARE must be more than 0 and at most 1."


def _leases(settings: Settings) -> Iterator[str]:
    if settings.claim_lease_s <= settings.stripe_timeout_s:
        # A claim that ends while its call is open would let a second worker charge beside it.
        yield "CLAIM_LEASE_S must be longer than STRIPE_TIMEOUT_S."
    if settings.claim_lease_s <= settings.mail_timeout_s:
        yield "CLAIM_LEASE_S must be longer than MAIL_TIMEOUT_S."
    if settings.has_paypal and settings.claim_lease_s <= PAYPAL_CALLS * settings.paypal_timeout_s:
        yield f"CLAIM_LEASE_S must be longer than {PAYPAL_CALLS} times PAYPAL_TIMEOUT_S."


def _number(name: str, value: float) -> Iterator[str]:
    if name in PORTS:
        if not 1 <= value <= HIGHEST_PORT:
            yield f"{name.upper()} must be a port, 1 to {HIGHEST_PORT}."
    elif value < 0 and name in MAY_BE_ZERO:
        yield f"{name.upper()} must be 0 or more."
    elif value <= 0 and name not in MAY_BE_ZERO:
        yield f"{name.upper()} must be more than 0."


def _words(settings: Settings) -> Iterator[str]:
    if settings.log_format not in LOG_FORMATS:
        yield f"LOG_FORMAT must be one of {', '.join(LOG_FORMATS)}."
    if settings.log_level.upper() not in logging.getLevelNamesMapping():
        yield "LOG_LEVEL must be DEBUG, INFO, WARNING, ERROR or CRITICAL."
    if settings.pdf_fallback_font and not Path(settings.pdf_fallback_font).is_file():
        yield "PDF_FALLBACK_FONT must be the file of a font."
    if settings.default_currency not in CURRENCIES:
        yield "DEFAULT_CURRENCY must be a currency code such as INR."
    for name in RATE_LIMITS:
        if not _is_rate(getattr(settings, name)):
            yield f"{name.upper()} must be a rate such as '600 per minute'."


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _mail_words(settings: Settings) -> Iterator[str]:
    if settings.mail_provider and settings.mail_provider not in MAIL_PROVIDERS:
        yield f"MAIL_PROVIDER must be one of {', '.join(MAIL_PROVIDERS)}."
    for name in ("mail_from", "mail_reply_to"):
        if (text := getattr(settings, name)) and not MAILBOX.fullmatch(text):
            yield f"{name.upper()} must be an address, or a name with one in angle brackets."
    if settings.reconciliation_mail_company and not _is_id(settings.reconciliation_mail_company):
        yield "RECONCILIATION_MAIL_COMPANY must be the id of a company."


def _is_rate(text: str) -> bool:
    from limits import parse_many

    try:
        return bool(parse_many(text))
    except ValueError:
        return False


def _addresses(settings: Settings) -> Iterator[str]:
    wanted = {
        "database_url": ("mysql+pymysql",),
        "reports_database_url": ("mysql+pymysql",),
        "elasticsearch_url": ("http", "https"),
        "redis_url": ("redis", "rediss"),
        "broker_url": ("redis", "rediss"),
        "stripe_api_base": ("http", "https"),
        "paypal_api_base": ("http", "https"),
        "sendgrid_api_base": ("http", "https"),
        "smtp_url": ("smtp", "smtps"),
        "public_url": ("http", "https"),
        "paypal_return_url": ("http", "https"),
        "paypal_cancel_url": ("http", "https"),
        "openexchangerates_base": ("http", "https"),
        "relay_url": ("ws", "wss"),
        "flower_url": ("http", "https"),
        "sentry_dsn": ("http", "https"),
    }
    for name, schemes in wanted.items():
        text = getattr(settings, name)
        if text and not _is_address(text, schemes):
            yield f"{name.upper()} must be an address that starts with {schemes[0]}://."


def _is_address(text: str, schemes: tuple[str, ...]) -> bool:
    parts = _split(text)
    return parts is not None and parts.scheme in schemes and bool(parts.hostname)


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        _ = parts.port, parts.hostname
    except ValueError:
        return None
    return parts


def _endpoints(settings: Settings) -> Iterator[str]:
    try:
        networks(settings.endpoints_allow)
    except ValueError:
        yield "ENDPOINTS_ALLOW must be networks such as 10.20.0.0/16, separated by commas."
    if settings.is_production and settings.endpoints_http:
        yield "ENDPOINTS_HTTP must be false: what is told to endpoints is told over https."


def _origins(settings: Settings) -> Iterator[str]:
    for origin in settings.allowed_origins:
        parts = _split(origin)
        if parts is None or origin != f"{parts.scheme}://{parts.netloc}" or not parts.hostname:
            yield "RELAY_ORIGINS must be origins such as https://app.example.com, without a path."
        elif parts.scheme not in {"http", "https"} or "*" in origin or "@" in origin:
            yield "RELAY_ORIGINS must be whole origins that start with https:// or http://."


def _relay(settings: Settings) -> Iterator[str]:
    if not settings.relay_url:
        yield "RELAY_URL is missing: the address at which browsers reach the relay's sockets."
    elif not settings.relay_url.startswith("wss://"):
        yield "RELAY_URL must start with wss://: tickets travel with the handshake."
    if any(not origin.startswith("https://") for origin in settings.allowed_origins):
        yield "RELAY_ORIGINS must start with https:// each."


def _is_default(settings: Settings, name: str) -> bool:
    return bool(getattr(settings, name) == getattr(type(settings), name))


def _stripe(settings: Settings) -> Iterator[str]:
    for name, prefixes in (
        ("stripe_api_key", ("sk_", "rk_")),
        ("stripe_webhook_key", ("whsec_",)),
    ):
        if _is_default(settings, name):
            yield f"{name.upper()} is missing."
        elif not all(
            key.strip().startswith(prefixes) for key in getattr(settings, name).split(",")
        ):  # several while they are rotated
            yield f"{name.upper()} must start with {' or '.join(prefixes)}."
    if _is_default(settings, "stripe_publishable_key"):
        yield "STRIPE_PUBLISHABLE_KEY is missing: with it the portal's page hands cards to Stripe."
    elif not settings.stripe_publishable_key.startswith("pk_"):
        yield "STRIPE_PUBLISHABLE_KEY must start with pk_: every visitor of the portal sees it."
    yield from _api_base("STRIPE_API_BASE", settings.stripe_api_base)


def _api_base(name: str, base: str) -> Iterator[str]:
    if base and _is_local(base):
        yield f"{name} points at a sandbox; leave it empty for the provider itself."
    elif base and not base.startswith("https://"):
        yield f"{name} must start with https://."


def _is_local(url: str) -> bool:
    parts = _split(url)
    host = (parts.hostname or "") if parts else ""
    if host == "localhost" or host.endswith((".localhost", ".internal", ".local")):
        return True
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host  # a bare name is a neighbour, never Stripe


def _paypal(settings: Settings) -> Iterator[str]:
    """PayPal is optional; given in part it would accept payments that it cannot settle."""
    missing = [name.upper() for name in PAYPAL if _is_default(settings, name)]
    if 0 < len(missing) < len(PAYPAL):
        for name in missing:
            yield f"{name} is missing: PayPal needs all of {', '.join(PAYPAL).upper()}."
    yield from _api_base("PAYPAL_API_BASE", settings.paypal_api_base)
    if settings.paypal_trust_store and not Path(settings.paypal_trust_store).is_file():
        yield "PAYPAL_TRUST_STORE must be a file."
    if not missing and (
        _is_local(settings.paypal_return_url)
        or not settings.paypal_return_url.startswith("https://")
    ):
        yield "PAYPAL_RETURN_URL must be an https address of yours, where payers come back to."


def _rates(settings: Settings) -> Iterator[str]:
    if settings.claim_lease_s <= settings.openexchangerates_timeout_s:
        yield "CLAIM_LEASE_S must be longer than OPENEXCHANGERATES_TIMEOUT_S."
    if settings.fx_stale_policy not in STALE_POLICIES:
        yield f"FX_STALE_POLICY must be one of {', '.join(STALE_POLICIES)}."


def _exchange_rates(settings: Settings) -> Iterator[str]:
    """A source of rates is optional: without one nothing is converted."""
    yield from _api_base("OPENEXCHANGERATES_BASE", settings.openexchangerates_base)
    if settings.openexchangerates_base and _is_default(settings, "openexchangerates_app_id"):
        yield "OPENEXCHANGERATES_APP_ID is missing: OPENEXCHANGERATES_BASE is given."


def _mail(settings: Settings) -> Iterator[str]:
    """Mail may be off, but somebody must have said so."""
    if not settings.mail_provider:
        yield f"MAIL_PROVIDER is missing: one of {', '.join(MAIL_PROVIDERS)}."
    if not settings.sends_mail:
        return
    if _is_default(settings, "mail_from"):
        yield "MAIL_FROM is missing."
    if settings.mail_provider == "smtp" and not settings.smtp_url:
        yield "SMTP_URL is missing."
    if settings.mail_provider == "sendgrid":
        yield from _sendgrid(settings)


def _sendgrid(settings: Settings) -> Iterator[str]:
    if _is_default(settings, "sendgrid_api_key"):
        yield "SENDGRID_API_KEY is missing."
    if not settings.sendgrid_webhook_key:
        yield "SENDGRID_WEBHOOK_KEY is missing: what becomes of a letter is told by events."
    elif not _are_public_keys(settings.sendgrid_webhook_key):
        yield "SENDGRID_WEBHOOK_KEY must be the key that SendGrid shows, in base64."
    yield from _api_base("SENDGRID_API_BASE", settings.sendgrid_api_base)


def _are_public_keys(text: str) -> bool:
    from worker.mail.events import keys_of

    try:
        return bool(keys_of(text))
    except ValueError:
        return False


def _links(settings: Settings) -> Iterator[str]:
    """Links without a login are as good as their secret, and not only letters have them."""
    if _is_local(settings.public_url) or not settings.public_url.startswith("https://"):
        yield "PUBLIC_URL must be an https address of yours: links in letters begin with it."
    if _is_default(settings, "link_secret"):
        yield "LINK_SECRET is missing."
    elif len(settings.link_secret.encode()) < JWT_SECRET_BYTES:
        yield f"LINK_SECRET must have at least {JWT_SECRET_BYTES} bytes."


def _login_secrets(settings: Settings) -> Iterator[str]:
    if not settings.jwt_keys:
        if _is_default(settings, "jwt_secret"):
            yield "JWT_SECRET is missing: give it or JWT_KEYS."
        elif len(settings.jwt_secret.encode()) < JWT_SECRET_BYTES:
            yield f"JWT_SECRET must have at least {JWT_SECRET_BYTES} bytes."
        elif len(set(settings.jwt_secret)) < JWT_SECRET_LETTERS:
            yield "JWT_SECRET repeats itself: make it at random."
    if _is_default(settings, "flower_login"):
        yield "FLOWER_LOGIN is missing."
    elif not LOGIN_HASH.fullmatch(settings.flower_login):
        yield (
            "FLOWER_LOGIN must be name:hash and not plain text; "
            "`python -m worker.flower_login` makes the hash."
        )


def _database(settings: Settings) -> Iterator[str]:
    if _is_default(settings, "database_url"):
        yield "DATABASE_URL is missing."
    elif not _has_password(settings.database_url):
        yield "DATABASE_URL has no password."


def _redis(settings: Settings) -> Iterator[str]:
    if not _has_password(settings.cache_url):
        yield "REDIS_URL has no password." if settings.redis_url else "REDIS_PASSWORD is missing."
    if settings.broker_url and not _has_password(settings.broker_url):
        yield "BROKER_URL has no password."


def _has_password(url: str) -> bool:
    parts = _split(url)
    return parts is not None and bool(unquote(parts.password or "").strip())
