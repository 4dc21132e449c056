"""The real worker: the ids that a request brought travel through the outbox to every line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models import outbox
from models.ids import new_id
from tests.waiting import wait_for
from tests.worker.telemetry.canaries import CANARIES, leaked
from tests.worker.telemetry.conftest import Observed, observed
from worker.database import transaction
from worker.telemetry import bind

PAYMENT = new_id()
REQUEST = "request-of-refunds"


@pytest.fixture(scope="module")
def worker(folder: Path, migrated: dict[str, str]) -> Iterator[Observed]:
    """A worker after a task that fails, as its arguments make no sense; one of them is secret."""
    argv = ["celery", "-A", "worker.app", "worker", "-P", "threads", "-c", "2", "-Q", "refunds"]
    with observed(argv, folder, **migrated) as process:
        with bind(request_id=REQUEST), transaction() as session:
            outbox.enqueue(
                session,
                "refunds.collect",
                company_id=new_id(),
                transaction_id=PAYMENT,
                **{CANARIES["token"]: CANARIES["stripe_key"]},
            )
        wait_for(lambda: failures(process) or process.child.exit_code() is not None)
        wait_for(lambda: reports(process))
        yield process


def failures(process: Observed) -> list[dict[str, str]]:
    """The lines of our failure; the worker also gets what other tests have left on its queue."""
    lines = process.lines_of("worker.app")
    return [line for line in lines if "exception" in line and line.get("request_id") == REQUEST]


def reports(process: Observed) -> list[dict[str, Any]]:
    events = process.sentry.of_type("event")
    return [event for event in events if event["tags"].get("request_id") == REQUEST]


def test_a_failed_task_is_told_with_all_its_ids(worker):
    line = failures(worker)[0]
    assert line["task"] == "refunds.collect"
    assert line["transaction_id"] == str(PAYMENT)
    assert line["company_id"]
    assert line["task_id"]


def test_sentry_learns_of_it_with_the_same_ids(worker):
    event = reports(worker)[0]
    assert event["tags"]["transaction_id"] == str(PAYMENT)
    assert event["exception"]["values"][-1]["type"] == "TypeError"


def test_no_secret_leaves_the_process(worker):
    assert [line for line in worker.told().splitlines() if leaked(line)] == []


def test_every_line_is_json(worker):
    assert {line["process"] for line in worker.lines()} == {"worker"}
