from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.children import Child
from tests.bare import bare_environ
from tests.worker.telemetry.doubles import SentryIngest, StatsdAgent

ROOT = Path(__file__).parents[3]
BIN = ROOT / ".venv" / "bin"


@dataclass
class Observed:
    """A process of ours with everything that it tells the outside."""

    child: Child
    log: Path
    sentry: SentryIngest
    statsd: StatsdAgent
    url: str = ""

    def lines(self) -> list[dict[str, Any]]:
        """Return the log; each line must be a JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def lines_of(self, logger: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["logger"] == logger]

    def told(self) -> str:
        """Return all that left the process, as text."""
        return "\n".join([self.log.read_text(), *self.sentry.raw, *self.statsd.lines])

    def ask(
        self, path: str, *, method: str = "GET", body: Any = None, **headers: str
    ) -> tuple[int, str, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            named["Content-Type"] = "application/json"
        request = urllib.request.Request(self.url + path, method=method, headers=named, data=data)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), error.headers


@contextmanager
def observed(argv: list[str], folder: Path, **environ: str) -> Iterator[Observed]:
    """Run a command of ours with all telemetry switched on, towards stand-ins."""
    log = folder / "log"
    with SentryIngest() as sentry, StatsdAgent() as statsd, log.open("wb") as output:
        env = bare_environ(
            LOG_FORMAT="json",
            SENTRY_DSN=sentry.dsn,
            SENTRY_TRACES_RATE="1",
            DATADOG_HOST="127.0.0.1",
            DATADOG_PORT=str(statsd.port),
            METRICS_ENABLED="true",
            METRICS_DIR=str(folder / "metrics"),
            **environ,
        )
        with Child([str(BIN / argv[0]), *argv[1:]], env=env, cwd=ROOT, output=output) as child:
            yield Observed(child, log, sentry, statsd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("telemetry")
