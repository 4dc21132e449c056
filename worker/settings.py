"""Settings: read once from the environment into a frozen dataclass.

The names of the environment are the field names in capitals; `.env.example` documents each and a
test holds the two together.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SANDBOX_SECRET = "sandbox-only-secret-not-for-production"  # noqa: S105  refused in production


class InvalidSettings(SystemExit):
    """The environment cannot be used; each problem is one sentence that names its setting.

    An exit rather than an error: gunicorn, Celery, beat and the flask command all read settings
    while they start, and each of them then shows the sentences and no traceback.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(["Paybeat cannot start with these settings:", *problems]))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a process may be told from outside. Secrets are kept out of `repr`."""

    paybeat_env: str = "sandbox"

    database_url: str = field(default="mysql+pymysql://paybeat@127.0.0.1:3306/paybeat", repr=False)
    database_pool: int = 24
    redis_host: str = "127.0.0.1"
    redis_port: int = 6379
    redis_password: str = field(default="", repr=False)
    redis_db: int = 0
    redis_url: str = field(default="", repr=False)
    broker_url: str = field(default="", repr=False)

    sandbox_clock: str = ""

    stripe_api_key: str = field(default="sk_test_sandbox", repr=False)
    stripe_webhook_key: str = field(default="whsec_sandbox", repr=False)
    stripe_publishable_key: str = "pk_test_sandbox"
    stripe_api_base: str = ""
    stripe_timeout_s: float = 20.0
    paypal_client_id: str = field(default="sandbox", repr=False)
    paypal_client_secret: str = field(default="sandbox", repr=False)
    paypal_webhook_id: str = field(default="sandbox", repr=False)
    paypal_api_base: str = ""
    paypal_timeout_s: float = 20.0
    paypal_return_url: str = "http://127.0.0.1:8000/"
    paypal_cancel_url: str = ""
    paypal_trust_store: str = ""

    openexchangerates_app_id: str = field(default="sandbox", repr=False)
    openexchangerates_base: str = ""
    openexchangerates_timeout_s: float = 10.0
    fx_stale_after_s: float = 129_600.0
    fx_stale_policy: str = "refuse"
    fx_most_jump_percent: float = 25.0

    pdf_fallback_font: str = ""
    mail_provider: str = ""
    mail_from: str = "Paybeat <billing@example.com>"
    mail_reply_to: str = ""
    mail_timeout_s: float = 20.0
    sendgrid_api_key: str = field(default="SG.sandbox", repr=False)
    sendgrid_api_base: str = ""
    sendgrid_webhook_key: str = field(default="", repr=False)
    smtp_url: str = field(default="", repr=False)
    public_url: str = "http://127.0.0.1:8000"
    link_secret: str = field(default=SANDBOX_SECRET, repr=False)
    portal_invoice_link_days: int = 30
    portal_company_link_days: int = 7
    portal_visit_s: float = 3600.0

    jwt_secret: str = field(default=SANDBOX_SECRET, repr=False)
    jwt_keys: str = field(default="", repr=False)
    jwt_issuer: str = "paybeat"
    jwt_audience: str = "paybeat"

    flower_login: str = field(default="paybeat:paybeat", repr=False)

    analytics_enabled: bool = True
    analytics_batch_size: int = 100
    analytics_claim_after_s: float = 30.0
    reports_database_url: str = field(default="", repr=False)
    reports_time_limit_s: float = 20.0
    analytics_export_dir: str = ""
    analytics_export_rows: int = 100_000
    elasticsearch_url: str = field(default="", repr=False)
    elasticsearch_index: str = "paybeat-events"
    elasticsearch_timeout_s: float = 20.0
    ws_max_connections: int = 5000
    ws_max_per_company: int = 1000
    ws_max_per_user: int = 20

    host: str = "127.0.0.1"
    port: int = 8000
    web_workers: int = 2
    web_threads: int = 64
    trusted_proxies: int = 0
    relay_port: int = 8001
    relay_url: str = ""
    relay_origins: str = ""
    relay_workers: int = 1
    flower_port: int = 5555
    flower_url: str = ""
    sandbox_port: int = 12111
    sandbox_paypal_port: int = 12112
    sandbox_mail_port: int = 12113
    sandbox_fx_port: int = 12114

    default_currency: str = "INR"
    wait_s: float = 5.0
    rate_limit: str = "600 per minute"
    login_rate_limit: str = "10 per minute"
    portal_rate_limit: str = "300 per minute"
    portal_mail_rate_limit: str = "5 per hour"
    outbox_resend_after_s: float = 30.0
    outbox_sweep_every_s: float = 5.0
    outbox_backoff_s: float = 60.0
    resolve_after_s: float = 60.0
    claim_lease_s: float = 90.0
    abandon_after_s: float = 86_400.0
    missed_events_every_s: float = 300.0
    reconciliations_every_s: float = 900.0
    reconciliation_alert_breaks: int = 10
    reconciliation_alert_amount: int = 1000
    reconciliation_mail_company: str = ""
    breaker_failures: int = 5
    breaker_share: float = 0.5
    breaker_window_s: float = 30.0
    breaker_pause_s: float = 1.0
    breaker_longest_pause_s: float = 30.0

    endpoints_http: bool = False
    endpoints_allow: str = ""
    endpoints_timeout_s: float = 15.0

    log_format: str = "auto"
    log_level: str = "INFO"
    sentry_dsn: str = field(default="", repr=False)
    sentry_traces_rate: float = 0.0
    datadog_host: str = ""
    datadog_port: int = 8125
    metrics_enabled: bool = False
    metrics_dir: str = "var/metrics"

    @property
    def cache_url(self) -> str:
        """Where sessions, locks, reply keys and events live: REDIS_URL, else from its parts."""
        if self.redis_url:
            return self.redis_url
        login = f":{self.redis_password}@" if self.redis_password else ""
        return f"redis://{login}{self.redis_host}:{self.redis_port}/{self.redis_db}"

    @property
    def queue_url(self) -> str:
        """Where Celery's queues live: BROKER_URL, else beside the cache."""
        return self.broker_url or self.cache_url

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins whose pages may open sockets, beside the relay's own host."""
        return frozenset(self.relay_origins.replace(",", " ").split())

    @property
    def has_paypal(self) -> bool:
        """Whether payments may go through PayPal: it is optional."""
        return bool(self.paypal_api_base) or self.paypal_client_id != "sandbox"

    @property
    def has_exchange_rates(self) -> bool:
        """Whether anybody tells us exchange rates: without one nothing is converted."""
        return bool(self.openexchangerates_base) or self.openexchangerates_app_id != "sandbox"

    @property
    def sends_mail(self) -> bool:
        """Whether letters go out: without a provider nobody is written to."""
        return self.mail_provider not in {"", "off"}

    @property
    def is_production(self) -> bool:
        """Whether real money may move, so that nothing default or missing is tolerated."""
        return self.paybeat_env == "production"


_WORDS = {"1": True, "true": True, "yes": True, "on": True}
_WORDS |= {"0": False, "false": False, "no": False, "off": False}


def _parse(kind: type, text: str) -> str | int | float | bool:
    """Read one value; a ValueError says what it must be."""
    if kind is bool:
        if text.lower() not in _WORDS:
            raise ValueError("must be true or false")
        return _WORDS[text.lower()]
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise ValueError("must be a whole number") from None
    if kind is float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError("must be a number")
        return number
    return text


def load(environ: Mapping[str, str]) -> Settings:
    """Read settings from a mapping; an empty value counts as not given.

    Raises:
        InvalidSettings: values of the wrong kind, or a production mode that is not fit for money.
    """
    from worker.boot_checks import problems_of

    kinds = get_type_hints(Settings)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name in (f.name for f in fields(Settings)):
        text = environ.get(name.upper(), "").strip()
        if not text:
            continue
        try:
            values[name] = _parse(kinds[name], text)
        except ValueError as error:
            problems.append(f"{name.upper()} {error}.")
    loaded = Settings(**values)
    problems += problems_of(loaded)
    if problems:
        raise InvalidSettings(problems)
    return loaded


@cache
def settings() -> Settings:
    """Return this process's settings, read once."""
    return load(os.environ)
