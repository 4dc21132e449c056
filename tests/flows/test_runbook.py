from __future__ import annotations

import shutil

import pytest

from tests.client import Client
from tests.documents import answers_of, make_demo_company


@pytest.mark.skipif(shutil.which("curl") is None, reason="the runbook's commands use curl")
def test_every_command_of_the_runbook_works_on_the_trouble_that_the_sandbox_makes(system):
    # Other tests' dead letters stand in the same database.
    dead = Client(system.web_url).get("/readyz").body["dead_letters"]["number"]
    trouble = make_demo_company(system, "trouble")
    unhandled, by_filter, of_event = trouble["dead_letters"]
    (ready, alerts, queues, closed, listed, letter, tried, replayed, many, dismissed, event, seen,
     again, reviews, settled, invariants) = answers_of("runbook.md", system)  # fmt: skip
    assert ready["dead_letters"]["number"] == dead + 3
    assert "needs_review" in [each["kind"] for each in alerts["data"]]
    assert sum(each["dead"] for each in queues["data"]) == dead + 3
    assert closed["is_resolved"]
    assert [each["id"] for each in listed["data"]] == [of_event]
    assert letter["id"] == of_event
    assert [each["error"] for each in tried["foreseen"]] == [None]
    assert replayed["replayed"] == [of_event]
    assert many["replayed"] == [by_filter]
    assert (dismissed["id"], dismissed["status"]) == (unhandled, "dismissed")
    assert event["status"] == "ignored"
    assert seen["dry_run"]
    assert again["replayed"] == [event["id"]]
    assert [(each["kind"], each["id"]) for each in reviews["data"]] == [
        ("payment", trouble["review"])
    ]
    assert (settled["status"], settled["needs_review"]) == ("failed", False)
    assert invariants["data"]
    assert all(verdict["holds"] for verdict in invariants["data"]), invariants
