"""Sentry for Flask and Celery, when SENTRY_DSN is set; everything is redacted before it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from worker.telemetry.context import current, ids_at
from worker.telemetry.redaction import scrub

if TYPE_CHECKING:
    from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint

    from worker.settings import Settings

MAX_WAIT_AT_EXIT_S = 2


def configure_sentry(settings: Settings, process: str) -> None:
    """Start reporting; does nothing without a DSN."""
    if not settings.sentry_dsn:
        return
    import sentry_sdk
    from sentry_sdk.integrations.celery import CeleryIntegration
    from sentry_sdk.integrations.flask import FlaskIntegration

    sentry_sdk.init(
        dsn=settings.sentry_dsn,
        environment=settings.paybeat_env,
        integrations=[FlaskIntegration(), CeleryIntegration(propagate_traces=False)],
        auto_enabling_integrations=False,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        traces_sample_rate=settings.sentry_traces_rate or None,
        before_send=_before_send,
        before_send_transaction=_before_send,
        before_breadcrumb=_before_breadcrumb,
        shutdown_timeout=MAX_WAIT_AT_EXIT_S,
        server_name="",
    )
    sentry_sdk.set_tag("process", process)


def name_request(name: str) -> None:
    """Show this request's trace under the name of its view, where Flask does not come to do so."""
    import sentry_sdk

    sentry_sdk.get_current_scope().set_transaction_name(name, source="component")


def _before_send(event: Event, hint: Hint) -> Event:
    """Redact a whole event and add the ids of context, which are no secrets."""
    clean = cast("dict[str, Any]", scrub(event))
    error = (hint.get("exc_info") or (None, None, None))[1]
    clean["tags"] = {**_tags(clean.get("tags")), **ids_at(error), **current()}
    return cast("Event", clean)


def _tags(tags: Any) -> dict[str, Any]:
    return dict(tags) if tags else {}


def _before_breadcrumb(crumb: Breadcrumb, hint: BreadcrumbHint) -> Breadcrumb:  # noqa: ARG001
    return cast("Breadcrumb", scrub(crumb))
