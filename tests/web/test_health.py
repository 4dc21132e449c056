"""Whether the process lives, and whether it can work."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from models import clock, outbox, schema
from tests.web.visitor import problem_of
from worker import breaker
from worker.breaker import Limits, breaker_of
from worker.cache import CacheAway
from worker.database import engine, transaction


@pytest.fixture
def revision():
    """Change the database's revision for a test."""

    def change(value):
        with engine().begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": value})

    yield change
    change(schema.head())


def test_a_process_that_lives_says_so(visitor):
    answer = visitor.get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_all_well_is_ready(visitor):
    answer = visitor.get("/readyz")
    assert answer.status_code == 200
    assert answer.json["status"] == "ok"


def test_the_backlog_is_told(visitor, customer):
    with transaction(company_id=customer.company_id) as session:
        outbox.enqueue(session, "refunds.nothing")
    assert visitor.get("/readyz").json["backlog"]["refunds"]["owed"] >= 1
    with transaction() as session:
        session.execute(text("DELETE FROM outbox").execution_options(spans_companies="a test"))


def test_a_provider_that_is_away_is_told_and_requests_are_taken_all_the_same(visitor, monkeypatch):
    limits = Limits(failures=2, share=0.5, window_s=30, pause_s=60, longest_pause_s=60, probe_s=20)
    monkeypatch.setattr(breaker.Limits, "of", lambda _: limits)
    monkeypatch.setattr(breaker, "PROVIDERS", ("stripe", "away"))
    breaker_of.cache_clear()
    assert visitor.get("/readyz").json["providers"]["away"]["state"] == "closed"
    for _ in range(2):
        breaker_of("away").tell(has_failed=True, took_s=1)
    answer = visitor.get("/readyz")
    breaker_of.cache_clear()
    assert (answer.status_code, answer.json["status"]) == (200, "ok")
    away = answer.json["providers"]["away"]
    assert (away["state"], away["failures"]) == ("open", 2)
    assert away["since"] < away["next_probe_at"]
    monkeypatch.setattr(clock, "_offset", lambda: timedelta(days=3))
    ahead = visitor.get("/readyz").json["providers"]["away"]
    for name in ("since", "next_probe_at"):
        shown = [datetime.fromisoformat(each[name]) for each in (away, ahead)]
        assert shown[1] - shown[0] == timedelta(days=3)
    assert answer.json["providers"]["stripe"]["state"] == "closed"


def test_tables_of_another_release_are_not_ready(visitor, revision):
    revision("another")
    answer = visitor.get("/readyz")
    assert answer.status_code == 503
    assert answer.json["database"] == "not migrated"
    assert answer.headers["Retry-After"]


def test_redis_away_is_degraded_but_ready(visitor, monkeypatch):
    def away():
        raise CacheAway("away")

    monkeypatch.setattr("web.api.health._ping_cache", away)
    answer = visitor.get("/readyz")
    assert answer.status_code == 200
    assert (answer.json["status"], answer.json["cache"]) == ("degraded", "away")


def test_a_database_that_is_away_is_503(visitor, monkeypatch):
    from sqlalchemy import create_engine

    nowhere = create_engine("mysql+pymysql://paybeat@127.0.0.1:1/paybeat")
    monkeypatch.setattr("worker.database.engine", lambda: nowhere)
    answer = visitor.get("/readyz")
    assert answer.status_code == 503
    assert answer.json["database"] == "away"
    body = {"email": "a@example.com", "password": "x"}
    refused = visitor.post("/api/v1/auth/login", body)
    problem_of(refused, 503, "unavailable")
    assert refused.headers["Retry-After"]


def test_metrics_are_shown_only_when_wanted(visitor):
    problem_of(visitor.get("/metrics"), 404, "not-found")
