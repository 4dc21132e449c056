"""Events to Parquet: each once, also when it comes late and when the worker is killed at it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import duckdb
import pytest
from sqlalchemy import select

from models import exports
from models.analytics_events import AnalyticsEvent, NewEvent, Source, event_id, store
from models.exports import AnalyticsExport
from models.outbox import Owed
from tasks.exports import sweep
from tests.bell import ring
from tests.factories import Customer, make_company
from worker import elastic
from worker.database import in_transaction, transaction
from worker.lake.batches import named
from worker.lake.places import UNFINISHED, place_of
from worker.settings import settings

ROOT = Path(__file__).parents[2]
DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXPORTED = ("exports.write", "exports.index")


@pytest.fixture
def lake(database, tmp_path, monkeypatch):
    """A folder to export to; what other tests have left is in batches before it."""
    monkeypatch.setenv("ANALYTICS_EXPORT_DIR", str(tmp_path / "before"))
    settings.cache_clear()
    work()
    monkeypatch.setenv("ANALYTICS_EXPORT_DIR", str(tmp_path / "lake"))
    settings.cache_clear()
    yield tmp_path / "lake"
    monkeypatch.undo()
    settings.cache_clear()


def add(customer: Customer, keys: range, *, at: datetime = DAY) -> set[str]:
    """Store an event a key: 0.01 more each, three days of them."""
    events = [
        NewEvent(
            id=event_id(customer.company_id, str(key)),
            company_id=customer.company_id,
            event_type="payment",
            name="payment.succeeded",
            timestamp=at + timedelta(days=key % 3),
            source=Source.OWN,
            amount=Decimal(key) / 100,
            currency="EUR",
            quantity=Decimal("1.0001"),
            metadata={"key": key, "told": "ü, \"'"},
        )
        for key in keys
    ]
    with transaction() as session:
        store(session, events)
    return {str(each.id) for each in events}


def owed() -> list[tuple[str, UUID]]:
    with transaction() as session:
        rows = session.execute(select(Owed.task, Owed.id).where(Owed.task.in_(EXPORTED)))
        return [(task, owed_id) for task, owed_id in rows]


def work() -> None:
    sweep()
    for task, owed_id in owed():
        ring(task, owed_id)


def read(lake: Path, sql: str, company_id: UUID) -> list[tuple]:
    """Ask DuckDB about the files that the manifests name."""
    paths = [str(lake / path) for path in named(place_of(str(lake)))]
    with duckdb.connect() as connection:
        connection.read_parquet(paths, hive_partitioning=True).create_view("events")
        return connection.execute(sql, [str(company_id)]).fetchall()


def ids_in(lake: Path, company_id: UUID) -> list[str]:
    return [each for [each] in read(lake, "SELECT id FROM events WHERE company_id = ?", company_id)]


def test_duckdb_reads_the_numbers_that_the_table_has(lake):
    ours, theirs = make_company(), make_company()
    add(ours, range(300))
    add(theirs, range(5))
    work()
    found = read(
        lake,
        "SELECT date, currency, sum(amount), sum(quantity), count(*) FROM events "
        "WHERE company_id = ? AND name = 'payment.succeeded' GROUP BY ALL ORDER BY ALL",
        ours.company_id,
    )
    by_day = {
        (DAY + timedelta(days=day)).date(): sum(
            (Decimal(key) / 100 for key in range(300) if key % 3 == day), Decimal(0)
        )
        for day in range(3)
    }
    assert found == [
        (day, "EUR", amount, Decimal("100.0100"), 100) for day, amount in sorted(by_day.items())
    ]
    [(told, at)] = read(
        lake,
        "SELECT metadata, timestamp AT TIME ZONE 'UTC' FROM events "
        "WHERE company_id = ? AND amount = 0.07",
        ours.company_id,
    )
    assert told == '{"key": 7, "told": "\\u00fc, \\"\'"}'
    assert at.replace(tzinfo=UTC) == DAY + timedelta(days=1)


def test_a_late_event_is_in_a_later_batch_and_none_is_in_two(lake):
    customer = make_company()
    first = add(customer, range(10))
    work()
    assert set(ids_in(lake, customer.company_id)) == first
    late = add(customer, range(10, 14), at=DAY - timedelta(days=400))
    again = add(customer, range(4))
    assert again <= first
    for _ in range(2):
        work()
    found = ids_in(lake, customer.company_id)
    assert len(found) == len(set(found))
    assert set(found) == first | late


def test_a_batch_holds_no_more_than_it_may_and_the_rest_follows(lake, monkeypatch):
    monkeypatch.setenv("ANALYTICS_EXPORT_ROWS", "7")
    settings.cache_clear()
    customer = make_company()
    ids = add(customer, range(20))
    work()
    assert sorted(ids_in(lake, customer.company_id)) == sorted(ids)
    with transaction() as session:
        sizes = session.scalars(
            select(AnalyticsExport.events).order_by(AnalyticsExport.number.desc()).limit(3)
        ).all()
    assert list(sizes) == [6, 7, 7]


def test_a_message_that_comes_twice_writes_nothing_new(lake):
    customer = make_company()
    add(customer, range(3))
    sweep()
    [(task, owed_id)] = owed()
    sweep()
    assert owed() == [(task, owed_id)]
    for _ in range(2):
        ring(task, owed_id)
    assert len(ids_in(lake, customer.company_id)) == 3
    with transaction() as session:
        [batch] = session.scalars(
            select(AnalyticsExport).order_by(AnalyticsExport.number.desc()).limit(1)
        )
    assert sorted(each["path"] for each in batch.files) == sorted(named(place_of(str(lake))))


def test_what_is_not_named_by_a_manifest_is_not_there(lake):
    customer = make_company()
    add(customer, range(3))
    batch = in_transaction(exports.form, None, most=10)
    assert batch.events == 3
    stray = lake / "analytics_events" / "date=2026-03-01" / "part-999999999999.parquet"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"half")
    work()
    assert len(ids_in(lake, customer.company_id)) == 3


@pytest.mark.parametrize("point", ["exports.part", "exports.written", "exports.named"])
def test_a_worker_that_is_killed_leaves_no_twin_and_no_gap(lake, tmp_path, point, server_environ):
    customer = make_company()
    ids = add(customer, range(30))
    sweep()
    [(task, owed_id)] = owed()
    marks = tmp_path / "marks"
    marks.mkdir()
    (marks / point).touch()
    program = (
        f"from uuid import UUID; from tests.bell import ring; ring('{task}', UUID('{owed_id}'))"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **server_environ, "CRASH_MARKS": str(marks)},
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    # What comes meanwhile is none of the killed batch.
    late = add(customer, range(30, 33))
    free(owed_id)
    work()
    files = [str(each) for each in lake.glob("analytics_events/date=*/*.parquet")]
    assert sorted(str(lake / path) for path in named(place_of(str(lake)))) == sorted(files)
    assert sorted(ids_in(lake, customer.company_id)) == sorted(ids | late)
    with transaction() as session:
        assert (
            session.scalars(
                select(AnalyticsExport.number).where(AnalyticsExport.written_at.is_(None))
            ).all()
            == []
        )


def free(owed_id: UUID) -> None:
    """Let the lease of who was killed end."""
    with transaction() as session:
        session.get_one(Owed, owed_id).claimed_until = None


def test_an_object_store_has_the_same_files(lake, monkeypatch, tmp_path):
    monkeypatch.setenv("ANALYTICS_EXPORT_DIR", f"file://{tmp_path}/store")
    settings.cache_clear()
    customer = make_company()
    ids = add(customer, range(6))
    work()
    assert sorted(ids_in(tmp_path / "store", customer.company_id)) == sorted(ids)
    assert list(named(place_of(f"file://{tmp_path}/store"))) == list(
        named(place_of(f"{tmp_path}/store"))
    )


def test_what_was_left_unfinished_long_ago_is_removed(tmp_path):
    place = place_of(str(tmp_path))
    place.put("one", b"1")
    for name, age_s in (("old", 7200), ("new", 0)):
        file = tmp_path / UNFINISHED / name
        file.touch()
        at = file.stat().st_mtime - age_s
        os.utime(file, (at, at))
    place.tidy()
    assert place.names(UNFINISHED) == ["new"]


def test_nothing_is_taken_while_there_is_nowhere_to_export_to(database):
    assert not settings().analytics_export_dir
    customer = make_company()
    add(customer, range(2))
    sweep()
    with transaction(company_id=customer.company_id) as session:
        assert session.scalars(select(AnalyticsEvent.export_id)).all() == [None, None]


def test_a_search_engine_gets_each_batch_and_one_that_is_away_is_waited_for(lake, monkeypatch):
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://127.0.0.1:9")
    settings.cache_clear()
    customer = make_company()
    add(customer, range(2))
    work()
    [(task, owed_id)] = [each for each in owed() if each[0] == "exports.index"][-1:]
    with transaction() as session:
        waits = session.get_one(Owed, owed_id)
        assert (waits.failures, "away" in waits.error) == (0, True)
        number = waits.arguments["number"]
        assert in_transaction(exports.lock, None, number).indexed_at is None
    sent: list[int] = []
    monkeypatch.setattr(elastic, "_send", lambda events: sent.append(len(events)))
    ring(task, owed_id)
    assert sent == [2]
    assert in_transaction(exports.lock, None, number).indexed_at is not None
    for task, owed_id in owed():
        ring(task, owed_id)
