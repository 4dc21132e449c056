"""Prometheus: every process of this machine counts into files, `/metrics` adds them up.

The client's multi-process mode: one memory-mapped file a process under METRICS_DIR. Counters of a
process that ended stay in the sum, as they must; the folder is emptied when the whole system
starts anew, never while it runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from worker.telemetry.metrics import METRICS, Kind, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.settings import Settings

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class PrometheusSink:
    """One Counter, Histogram or Gauge for each metric of the table."""

    def __init__(self, settings: Settings) -> None:
        folder = Path(settings.metrics_dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

        # The client chooses its mode when it is first imported, and the celery command imports it
        # (through Flower's plugin) before any setting is read: choose again.
        if not values.ValueClass._multiprocess:  # noqa: SLF001
            values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._gauges: dict[str, Gauge] = {}
        for metric in METRICS.values():
            name = exposed_name(metric)
            if metric.kind is Kind.COUNT:
                self._counters[metric.name] = Counter(
                    name, metric.meaning, metric.tags, registry=registry
                )
            elif metric.kind is Kind.GAUGE:
                # Whichever process told it last knows best, where all tell of the whole system.
                self._gauges[metric.name] = Gauge(
                    name,
                    metric.meaning,
                    metric.tags,
                    registry=registry,
                    multiprocess_mode="livesum" if metric.is_share else "mostrecent",
                )
            else:
                self._histograms[metric.name] = Histogram(
                    name, metric.meaning, metric.tags, registry=registry, buckets=BUCKETS_S
                )

    def add(self, metric: Metric, number: int, tags: Mapping[str, str]) -> None:
        """Raise a counter."""
        counter = self._counters[metric.name]
        (counter.labels(**tags) if tags else counter).inc(number)

    def time(self, metric: Metric, seconds: float, tags: Mapping[str, str]) -> None:
        """Tell a duration."""
        histogram = self._histograms[metric.name]
        (histogram.labels(**tags) if tags else histogram).observe(seconds)

    def put(self, metric: Metric, number: float, tags: Mapping[str, str]) -> None:
        """Tell how much there is now."""
        gauge = self._gauges[metric.name]
        (gauge.labels(**tags) if tags else gauge).set(number)


def exposed_name(metric: Metric) -> str:
    """Return a metric's name as Prometheus shows it: `paybeat_http_seconds`."""
    return f"paybeat_{metric.name.replace('.', '_')}"


def metrics_page(settings: Settings) -> bytes | None:
    """Return the text of `/metrics`, the sum over this machine's processes; None when disabled."""
    if not settings.metrics_enabled:
        return None
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    folder = Path(settings.metrics_dir).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    _forget_the_dead(folder)
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _forget_the_dead(folder: Path) -> None:
    """Take the shares of processes that have ended out of the sums."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if not Path("/proc", pid).exists():
            file.unlink(missing_ok=True)
