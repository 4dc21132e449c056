"""The one door to logs, error reports and metrics.

configure(settings(), process="web")
with bind(request_id=...), timed("provider.seconds", provider="stripe", ...):
    count("payments.charged", provider="stripe", outcome="succeeded")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.telemetry.context import bind, current, note, request_id_from
from worker.telemetry.logs import configure_logs
from worker.telemetry.metrics import Sink, count, gauge, timed, timing, use_sinks
from worker.telemetry.prometheus import metrics_page
from worker.telemetry.redaction import redact

if TYPE_CHECKING:
    from worker.settings import Settings

__all__ = [
    "bind",
    "configure",
    "count",
    "current",
    "gauge",
    "metrics_page",
    "name_request",
    "note",
    "redact",
    "request_id_from",
    "timed",
    "timing",
]


_configured: tuple[Settings, str] | None = None


def configure(settings: Settings, process: str) -> None:
    """Start this process's logs, error reports and metrics; safe to call again.

    Args:
        settings: tells what is switched on.
        process: `web`, `worker`, `beat`, `command`; a field of every line and metric.
    """
    global _configured  # noqa: PLW0603  one telemetry a process
    configure_logs(settings, process)
    if _configured == (settings, process):
        return  # also in a child of the process that did it: each part follows a fork by itself
    if settings.sentry_dsn:
        from worker.telemetry.sentry import configure_sentry

        configure_sentry(settings, process)
    use_sinks(*_sinks_of(settings, process))
    _configured = (settings, process)


def name_request(name: str) -> None:
    """Show this request to who has requests traced under a name; Flask names those of its views."""
    if _configured is not None and _configured[0].sentry_dsn:
        from worker.telemetry import sentry

        sentry.name_request(name)


def _sinks_of(settings: Settings, process: str) -> list[Sink]:
    sinks: list[Sink] = []
    if settings.datadog_host:
        from worker.telemetry.statsd import StatsdSink

        sinks.append(StatsdSink(settings, process))
    if settings.metrics_enabled:
        from worker.telemetry.prometheus import PrometheusSink

        sinks.append(PrometheusSink(settings))
    return sinks
