"""A real Celery worker, and beat, watched from all sides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from tests.waiting import wait_for
from tests.worker.telemetry.canaries import CANARIES, leaked
from tests.worker.telemetry.conftest import Observed, observed
from worker import transport
from worker.settings import Settings
from worker.telemetry import metrics_page

APP = "tests.worker.telemetry.small_worker"


@pytest.fixture(scope="module")
def worker(folder: Path, broker_url: str) -> Iterator[Observed]:
    """A worker after one task that worked and one that failed."""
    argv = ["celery", "-A", APP, "worker", "-P", "threads", "-c", "2", "--without-mingle"]
    # Kombu remembers for the whole process who serves a scheme that it has once met.
    transport.register()
    with observed(argv, folder, BROKER_URL=broker_url, REDIS_URL=broker_url) as process:
        with Celery("client", broker=broker_url, set_as_current=False) as client:
            client.send_task("small.work", ("request-of-work",), queue="small")
            client.send_task("small.fail", ("request-of-fail", CANARIES["password"]), queue="small")
        wait_for(lambda: process.lines_of("small.worker"))
        wait_for(lambda: process.sentry.of_type("event"))
        wait_for(lambda: process.statsd.of_name("paybeat.task"))
        yield process


def test_no_secret_leaves_the_process(worker):
    assert leaked(worker.told()) == []


def test_celery_has_no_handlers_of_its_own(worker):
    lines = worker.lines()
    assert {line["process"] for line in lines} == {"worker"}
    assert {"celery.worker.strategy", "celery.app.trace"} <= {line["logger"] for line in lines}


def test_a_line_carries_request_and_task(worker):
    line = worker.lines_of("small.worker")[0]
    assert (line["request_id"], line["task"]) == ("request-of-work", "small.work")
    assert line["task_id"]


def test_celerys_own_lines_name_the_task(worker):
    wait_for(lambda: any("exception" in line for line in worker.lines_of("celery.app.trace")))
    line = next(line for line in worker.lines_of("celery.app.trace") if "exception" in line)
    assert line["task"] == "small.fail"
    assert line["task_id"]


def test_sentry_learns_of_a_failed_task_with_its_ids(worker):
    (event,) = worker.sentry.of_type("event")
    assert event["tags"]["request_id"] == "request-of-fail"
    assert event["tags"]["task"] == "small.fail"
    assert event["tags"]["process"] == "worker"
    assert event["exception"]["values"][-1]["type"] == "ValueError"


def test_dogstatsd_gets_how_long_a_task_took(worker):
    assert "task:small.work" in worker.statsd.of_name("paybeat.task")[0]


def test_prometheus_learns_of_the_workers_tasks(worker, folder: Path):
    page = metrics_page(Settings(metrics_enabled=True, metrics_dir=str(folder / "metrics")))
    assert b'paybeat_task_count{task="small.work"} 1.0' in page


def test_nothing_is_shown_unless_asked_for(folder: Path):
    assert metrics_page(Settings(metrics_dir=str(folder / "metrics"))) is None


def test_beat_logs_as_we_do(folder: Path, broker_url: str):
    argv = ["celery", "--quiet", "-A", APP, "beat", "--schedule", str(folder / "beat")]
    (folder / "of-beat").mkdir()
    with observed(argv, folder / "of-beat", BROKER_URL=broker_url) as beat:
        wait_for(lambda: beat.lines_of("celery.beat"))
        assert {line["process"] for line in beat.lines()} == {"beat"}
