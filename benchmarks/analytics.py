"""Analytics: events stored in batches, and days rolled up, beside what else would do it.

Batches of 100 by our `store` (once by their ids, days marked, a commit each), by the ORM, and as
one LOAD DATA, in turns. Then a million events in 15,000 groups: rolled up whole by
`metrics.roll_up` with every day marked, counted by one plain SQL statement, and by DuckDB over the
Parquet files of our own exporter and over the same rows in its memory; and one day rolled up after
a late event. The machine's MariaDB is a private one as the tests have it. The figures are medians.
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from benchmarks.report import against_goal, keep, table, title
from sandbox.servers import PrivateMariaDB

NAME = "analytics"
MANY = int(os.environ.get("BENCH_EVENTS", "1000000"))
INSERTED = int(os.environ.get("BENCH_INSERTED", "10000"))
BATCH = 100
ROUNDS = 3
LATE = 15
COMPANIES, DAYS = 10, 50
FIRST = date(2026, 1, 1)
# Thirty of them: with ten companies and fifty days they make 15,000 groups.
GROUPS: tuple[tuple[str, str | None, str], ...] = (
    *(("payment.succeeded", currency, "") for currency in ("INR", "EUR", "USD")),
    *(("refund.succeeded", currency, "") for currency in ("INR", "EUR", "USD")),
    *(("payment.attempted", None, code) for code in ("", *"abcdefg")),
    *(("payment.recovered", "INR", step) for step in "1234"),
    *(("payment.retried", None, step) for step in "1234"),
    *(("usage.recorded", None, f"module-{n}") for n in range(6)),
    *(("mrr.changed", "INR", kind) for kind in ("new", "churn")),
)
COLUMNS = (
    "id, company_id, event_type, name, source, amount, currency, quantity, dimension, timestamp,"
    " date, created_at"
)
PLAIN = (
    "SELECT company_id, date, name, currency, dimension, COUNT(*), SUM(amount), SUM(quantity)"
    " FROM {} GROUP BY company_id, date, name, currency, dimension"
)


def run() -> None:
    """Measure all of them."""
    title("Analytics")
    with TemporaryDirectory() as folder, PrivateMariaDB(Path(folder, "mariadb")) as mariadb:
        os.environ["DATABASE_URL"] = mariadb.url
        # Roll-ups make nothing stale here: what is measured is the database's work.
        logging.getLogger("worker.caching").setLevel(logging.ERROR)
        os.environ["REDIS_URL"] = "redis://127.0.0.1:1/0"
        companies = _begin()
        insert(companies, Path(folder, "events.tsv"))
        roll_ups(companies, Path(folder))


def _begin() -> list[UUID]:
    from models.schema import upgrade
    from tests.factories import make_company
    from worker.database import engine

    upgrade(engine())
    return sorted(make_company().company_id for _ in range(COMPANIES))


def rows(companies: Sequence[UUID], first: int, many: int) -> Iterator[tuple[Any, ...]]:
    """Yield events as tuples in the order of COLUMNS; each number is one event."""
    made = datetime(2026, 3, 1)  # noqa: DTZ001  as the column has it
    for number in range(first, first + many):
        day = FIRST + timedelta(days=number // COMPANIES % DAYS)
        name, currency, dimension = GROUPS[number // (COMPANIES * DAYS) % len(GROUPS)]
        yield (
            UUID(int=number + 1),
            companies[number % COMPANIES],
            "payment",
            name,
            "own",
            None if currency is None else Decimal(number % 10_000) / 100,
            currency,
            Decimal(number % 100) if name == "usage.recorded" else None,
            dimension,
            datetime(day.year, day.month, day.day, 12),  # noqa: DTZ001
            day,
            made,
        )


def insert(companies: Sequence[UUID], file: Path) -> None:
    """Measure batches, in turns; each event is new."""
    ways: dict[str, Callable[[list[tuple[Any, ...]], Path], None]] = {
        "ours": by_store,
        "ORM": by_orm,
        "LOAD DATA": by_load,
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    first = 10 * MANY
    for _ in range(ROUNDS):
        for name, way in ways.items():
            events = list(rows(companies, first, INSERTED))
            first += INSERTED
            took[name].append(INSERTED / _seconds(lambda w=way, e=events: w(e, file)))  # type: ignore[misc]
    rates = {name: statistics.median(each) for name, each in took.items()}
    table([{"contender": name, "events a second": rate} for name, rate in rates.items()])
    for name, rate in rates.items():
        keep(NAME, contender=name, batch=BATCH, events_per_second=rate)
    against_goal(NAME, "rate of LOAD DATA", rates["ours"] / rates["LOAD DATA"], ">=", 0.25)
    against_goal(NAME, "times the rate of the ORM", rates["ours"] / rates["ORM"], ">=", 4.0)
    _forget()


def _forget() -> None:
    from sqlalchemy import text

    from worker.database import transaction

    with transaction() as session:
        for name in ("analytics_events", "analytics_dirty_days"):
            session.connection().execute(text(f"TRUNCATE TABLE {name}"))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def by_store(events: list[tuple[Any, ...]], _: Path) -> None:
    """As the collector's worker does, a transaction a batch."""
    from models.analytics_events import NewEvent, Source, store
    from worker.database import in_transaction

    made = [
        NewEvent(
            id=row[0],
            company_id=row[1],
            event_type=row[2],
            name=row[3],
            source=Source.OWN,
            amount=row[5],
            currency=row[6],
            quantity=row[7],
            dimension=row[8],
            timestamp=row[9].replace(tzinfo=UTC),
        )
        for row in events
    ]
    for start in range(0, len(made), BATCH):
        in_transaction(store, None, made[start : start + BATCH])


def by_orm(events: list[tuple[Any, ...]], _: Path) -> None:
    """A row an object, a flush a batch; no days are marked."""
    from models.analytics_events import AnalyticsEvent
    from worker.database import transaction

    names = COLUMNS.replace(" ", "").split(",")
    for start in range(0, len(events), BATCH):
        with transaction() as session:
            for row in events[start : start + BATCH]:
                told = dict(zip(names, row, strict=True))
                for name in ("timestamp", "created_at"):
                    told[name] = told[name].replace(tzinfo=UTC)
                session.add(AnalyticsEvent(**told))


def by_load(events: Iterator[tuple[Any, ...]] | list[tuple[Any, ...]], file: Path) -> None:
    """All at once out of a file, which is written first and counts too."""
    import pymysql
    from sqlalchemy.engine import make_url

    with file.open("w") as lines:
        for row in events:
            words = (each.hex if isinstance(each, UUID) else each for each in row)
            lines.write("\t".join("\\N" if each is None else str(each) for each in words) + "\n")
    url = make_url(os.environ["DATABASE_URL"])
    names = COLUMNS.replace("id, company_id", "@id, @company_id", 1)
    with pymysql.connect(
        host=url.host or "",
        port=url.port or 0,
        user=url.username,
        password=url.password or "",
        database=url.database,
        local_infile=True,
        unix_socket=url.query.get("unix_socket"),
    ) as connection:
        connection.cursor().execute(
            f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE analytics_events ({names})"
            " SET id = UNHEX(@id), company_id = UNHEX(@company_id)"
        )
        connection.commit()


def roll_ups(companies: Sequence[UUID], folder: Path) -> None:
    """Measure the whole, a plain count, one day, and DuckDB."""
    from sqlalchemy import text

    from worker.database import transaction

    for first in range(0, MANY, 100_000):
        part = rows(companies, first, min(100_000, MANY - first))
        by_load(part, folder / "events.tsv")
    with transaction() as session:
        session.connection().execute(text("ANALYZE TABLE analytics_events"))
    took: dict[str, list[float]] = {}

    def measure(name: str, work: Callable[[], object]) -> None:
        took.setdefault(name, []).append(_seconds(work) * 1000)

    for turn in range(ROUNDS):
        _mark_all(companies)
        measure("roll-up of all" if turn == 0 else "roll-up of all, nothing new", _roll_up)
        measure("plain SQL count", _count)
    for number in range(LATE):
        _late(companies, number)
        measure("roll-up of a day", _roll_up)
    _duckdb(folder, measure)
    _tell({name: statistics.median(each) for name, each in took.items()})


def _tell(ms: dict[str, float]) -> None:
    table([{"work": name, "ms": each} for name, each in ms.items()])
    for name, each in ms.items():
        keep(NAME, events=MANY, work=name, ms=each)
    full = ms["roll-up of all"]
    against_goal(NAME, "all, in times of DuckDB", full / ms["DuckDB in memory"], "<=", 8.0)
    against_goal(
        NAME, "all, in times of DuckDB on Parquet", full / ms["DuckDB on Parquet"], "<=", 8
    )
    against_goal(NAME, "a day, of all", ms["roll-up of a day"] / full, "<=", 0.05)


def _roll_up() -> None:
    from tasks.metrics import roll_up

    roll_up()


def _count() -> None:
    from sqlalchemy import text

    from worker.database import transaction

    with transaction() as session:
        found = session.connection().execute(text(PLAIN.format("analytics_events"))).all()
    assert len(found) == min(MANY, COMPANIES * DAYS * len(GROUPS))


def _mark_all(companies: Sequence[UUID]) -> None:
    from models.analytics_events import mark_days
    from worker.database import in_transaction

    days = [FIRST + timedelta(days=number) for number in range(DAYS)]
    in_transaction(mark_days, None, [(each, day) for each in companies for day in days])


def _late(companies: Sequence[UUID], number: int) -> None:
    from models.analytics_events import NewEvent, Source, event_id, store
    from worker.database import in_transaction

    company_id = companies[number % COMPANIES]
    event = NewEvent(
        id=event_id(company_id),
        company_id=company_id,
        event_type="payment",
        name="payment.succeeded",
        source=Source.OWN,
        amount=Decimal("10.00"),
        currency="INR",
        timestamp=datetime(2026, 1, 2 + number, 12, tzinfo=UTC),
    )
    in_transaction(store, None, [event])


def _duckdb(folder: Path, measure: Callable[[str, Callable[[], object]], None]) -> None:
    """Export all events as the exporter does, and count them there."""
    import duckdb

    from worker.lake.batches import ROOT, write
    from worker.lake.places import Folder

    write(Folder(folder / "lake"), 1, _events())
    files = f"read_parquet('{folder}/lake/{ROOT}/*/*.parquet', hive_partitioning = true)"
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE resident AS SELECT * FROM {files}")
        for _ in range(ROUNDS):
            for name, source in (("on Parquet", files), ("in memory", "resident")):
                query = PLAIN.format(source)
                measure(f"DuckDB {name}", lambda q=query: connection.execute(q).fetchall())  # type: ignore[misc]


def _events() -> Iterator[dict[str, Any]]:
    from sqlalchemy import select

    from models.analytics_events import AnalyticsEvent
    from models.base import across_companies
    from worker.database import transaction

    for number in range(DAYS):
        with transaction() as session:
            query = select(AnalyticsEvent.__table__).where(
                AnalyticsEvent.date == FIRST + timedelta(days=number)
            )
            found = session.execute(across_companies(query, because="a measurement"))
            yield from (dict(row) for row in found.mappings())
