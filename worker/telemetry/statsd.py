"""DogStatsD: counters and timings as UDP packets to the agent on DATADOG_HOST."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from datadog.dogstatsd.base import DogStatsd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.settings import Settings
    from worker.telemetry.metrics import Metric

FLUSH_EVERY_S = 1.0
_UNSAFE = re.compile(r"[^A-Za-z0-9_./-]+")
# `|`, `,`, `#` and line ends would end the packet's field early.


class StatsdSink:
    """Buffers packets and sends them each second, from a thread of its own."""

    def __init__(self, settings: Settings, process: str) -> None:
        self._client = DogStatsd(
            host=settings.datadog_host,
            port=settings.datadog_port,
            namespace="paybeat",
            constant_tags=[f"env:{settings.paybeat_env}", f"process:{process}"],
            disable_buffering=False,
            flush_interval=FLUSH_EVERY_S,
            disable_telemetry=True,
            origin_detection_enabled=False,
        )

    def add(self, metric: Metric, number: int, tags: Mapping[str, str]) -> None:
        """Raise a counter."""
        self._client.increment(metric.name, number, tags=_joined(tags))

    def time(self, metric: Metric, seconds: float, tags: Mapping[str, str]) -> None:
        """Tell a duration; DogStatsD counts in milliseconds."""
        self._client.timing(metric.name, seconds * 1000, tags=_joined(tags))

    def put(self, metric: Metric, number: float, tags: Mapping[str, str]) -> None:
        """Tell how much there is now."""
        self._client.gauge(metric.name, number, tags=_joined(tags))

    def flush(self) -> None:
        """Send what is buffered now."""
        self._client.flush()


def _joined(tags: Mapping[str, str]) -> list[str]:
    return [f"{name}:{_UNSAFE.sub('_', value)}" for name, value in tags.items()]
