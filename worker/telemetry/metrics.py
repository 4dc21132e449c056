"""Counters and timings: one table of names, any number of sinks, none by default.

Tags are few and their values few: an id belongs in a log line, not in a tag.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from worker import dry_run
from worker.telemetry.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_log = logging.getLogger(__name__)


class Kind(StrEnum):
    """What a metric tells."""

    COUNT = "count"
    TIMING = "timing"
    GAUGE = "gauge"


@dataclass(frozen=True)
class Metric:
    """One metric; its name is `<subject>.<event>`, its tags are the only ones it takes.

    Attributes:
        is_share: of a gauge: each process tells its own share of the whole.
    """

    name: str
    kind: Kind
    tags: tuple[str, ...]
    meaning: str
    is_share: bool = False


_C, _T, _G = Kind.COUNT, Kind.TIMING, Kind.GAUGE
METRICS = {
    metric.name: metric
    for metric in (
        Metric("http.requests", _C, ("method", "status"), "Requests answered."),
        Metric("http.seconds", _T, ("method", "status"), "From request to answer."),
        Metric("task", _T, ("task",), "From start to end of a task run."),
        Metric("task.failed", _C, ("task",), "Task runs that raised."),
        Metric("payments.started", _C, ("provider",), "Payments accepted."),
        Metric("payments.charged", _C, ("provider", "outcome"), "Charges by what became of them."),
        Metric("payments.refunded", _C, ("provider", "outcome"), "Refunds by what became of them."),
        Metric("payments.retried", _C, ("provider", "trigger"), "Retries begun by the ladder."),
        Metric("payments.unknown", _C, ("provider",), "Charges whose answer was lost."),
        Metric("disputes.opened", _C, ("provider",), "Disputes heard of."),
        Metric("disputes.closed", _C, ("provider", "outcome"), "Disputes by how they ended."),
        Metric("provider.calls", _C, ("provider", "call", "outcome"), "Calls to a provider."),
        Metric("provider.seconds", _T, ("provider", "call", "outcome"), "Time of such a call."),
        Metric("mail.sent", _C, ("template", "outcome"), "Letters by what became of them."),
        Metric("breaker.moved", _C, ("provider", "became"), "Breakers that opened or closed."),
        Metric("webhooks.received", _C, ("provider", "outcome"), "Webhooks at the door."),
        Metric("webhooks.fetched", _C, ("provider",), "Events that had to be fetched."),
        Metric("webhooks.handled", _C, ("provider", "type", "outcome"), "Webhooks acted upon."),
        Metric("outbox.resent", _C, ("task",), "Owed tasks that were sent again."),
        Metric("outbox.dead", _C, ("task",), "Owed tasks that became dead letters."),
        Metric("outbox.dead_letters", _G, ("queue",), "Dead letters that wait for a person."),
        Metric("outbox.oldest_dead", _G, ("queue",), "Age in seconds of the oldest dead letter."),
        Metric("outbox.oldest_due", _G, ("queue",), "Seconds for which work has been overdue."),
        Metric("breaker.is_open", _G, ("provider",), "1 while a provider is left alone, else 0."),
        Metric("janitor.swept", _C, ("task",), "Loose ends that had to be owed again."),
        Metric("outbox.recalled", _C, (), "Owed tasks made due at once: the broker lost them."),
        Metric("events.published", _C, ("event",), "Events sent to the relay."),
        Metric("endpoints.attempts", _C, ("outcome",), "Attempts to tell a tenant's own system."),
        Metric("endpoints.disabled", _C, ("reason",), "Endpoints that were given up."),
        Metric("alerts.raised", _C, ("kind", "severity"), "Alerts that a person must see."),
        Metric("cache.away", _C, (), "Calls given up because Redis is away."),
        Metric("cache.reads", _C, ("prefix", "outcome"), "Cached values by how they were had."),
        Metric(
            "reconciliations.repaired", _C, ("way", "outcome"), "Tries to mend breaks by outcome."
        ),
        Metric("reconciliations.ended", _C, ("provider", "outcome"), "Runs by how they ended."),
        Metric("imports.ended", _C, ("kind", "outcome"), "Imports by how they ended."),
        Metric("analytics.accepted", _C, ("way",), "Events accepted: by stream or database."),
        Metric("analytics.turned_away", _C, (), "Events refused because too many wait."),
        Metric("analytics.stored", _C, (), "Events stored from the stream, each once."),
        Metric("analytics.refused", _C, (), "Entries put aside that can't be stored."),
        Metric("analytics.lost", _C, (), "Accepted events that Redis lost."),
        Metric("metrics.rolled_up", _C, (), "Days of companies that were rolled up."),
        Metric("metrics.differed", _C, (), "Days whose roll-up was not what the events say."),
        Metric("reports.ended", _C, ("kind", "outcome"), "Reports by how they ended."),
        Metric("login.attempts", _C, ("outcome",), "Logins by what became of them."),
        Metric("portal.visits", _C, ("outcome",), "Links handed in: begun, ended or refused."),
        Metric("portal.asked", _C, ("outcome",), "New links asked for, by old ones known or not."),
        Metric("rate_limit.hits", _C, ("limit",), "Requests refused by a limit."),
        Metric("relay.connects", _C, ("outcome",), "Upgrades: 101, or the code that closed them."),
        Metric("relay.closed", _C, ("code",), "Connections that the relay closed, by its code."),
        Metric("relay.deliveries", _C, (), "Messages handed to connections."),
        Metric("relay.skipped", _C, (), "Messages skipped for connections that were too slow."),
        Metric("relay.resumes", _C, (), "Connections that went on from where they had been."),
        Metric("relay.refetches", _C, ("reason",), "Connections told that they must fetch anew."),
        Metric("relay.lag", _T, (), "From hearing a message to having sent it, the longest."),
        Metric("relay.connections", _G, (), "Connections held.", is_share=True),
        Metric("invariants.broken", _C, ("invariant",), "Invariants found broken."),
        Metric("invariants.skipped", _C, ("invariant",), "Looks for which there was no time."),
    )
}


class Sink(Protocol):
    """Where metrics go."""

    def add(self, metric: Metric, number: int, tags: Mapping[str, str]) -> None:
        """Raise a counter."""

    def time(self, metric: Metric, seconds: float, tags: Mapping[str, str]) -> None:
        """Tell a duration."""

    def put(self, metric: Metric, number: float, tags: Mapping[str, str]) -> None:
        """Tell how much there is now."""


_sinks: list[Sink] = []


def use_sinks(*sinks: Sink) -> None:
    """Send metrics there from now on, and nowhere else."""
    _sinks[:] = sinks


def count(name: str, number: int = 1, /, **tags: str) -> None:
    """Raise a counter of the table. KeyError or ValueError for a name or tags it lacks."""
    counting(name, number, **tags)()


def counting(name: str, number: int = 1, /, **tags: str) -> Callable[[], None]:
    """Return what raises a counter, whose name and tags are checked now."""
    metric, clean = _checked(name, Kind.COUNT, tags)

    def raise_counter() -> None:
        for sink in _sinks if not dry_run.is_on() else ():
            try:
                sink.add(metric, number, clean)
            except Exception:  # noqa: BLE001  a counter must never fail a payment
                _log.exception("a metric was lost")

    return raise_counter


def timing(name: str, seconds: float, /, **tags: str) -> None:
    """Tell how long something took, in seconds."""
    metric, clean = _checked(name, Kind.TIMING, tags)
    for sink in _sinks if not dry_run.is_on() else ():
        try:
            sink.time(metric, seconds, clean)
        except Exception:  # noqa: BLE001  a counter must never fail a payment
            _log.exception("a metric was lost")


def gauge(name: str, number: float, /, **tags: str) -> None:
    """Tell how much of something there is now, in the whole system, or here if it is a share."""
    metric, clean = _checked(name, Kind.GAUGE, tags)
    for sink in _sinks:
        try:
            sink.put(metric, number, clean)
        except Exception:  # noqa: BLE001  a gauge must never fail a task
            _log.exception("a metric was lost")


@contextmanager
def timed(name: str, /, **tags: str) -> Iterator[dict[str, str]]:
    """Time a block, failed or not; tags that it learns go into the dictionary it is given."""
    started = time.perf_counter()
    learnt: dict[str, str] = dict(tags)
    try:
        yield learnt
    finally:
        timing(name, time.perf_counter() - started, **learnt)


def _checked(name: str, kind: Kind, tags: Mapping[str, str]) -> tuple[Metric, Mapping[str, str]]:
    metric = METRICS[name]
    if metric.kind is not kind or set(tags) != set(metric.tags):
        raise ValueError(f"{name} is a {metric.kind} with the tags {', '.join(metric.tags)}")
    if not _sinks:
        return metric, tags
    return metric, {tag: redact(str(tags[tag])) for tag in metric.tags}
