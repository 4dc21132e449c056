"""The servers of one test run: those named in the environment, else private ones.

One MariaDB and one Valkey serve the whole run; each test process has a database and a Redis
number of its own on them. Under xdist the controller starts and stops them.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pytest
import redis
import sqlalchemy
from sqlalchemy.engine import make_url

from sandbox.children import VAR
from sandbox.servers import PrivateMariaDB, PrivateValkey

RUNS = VAR / "tests"


@dataclass(frozen=True)
class Urls:
    """Where a test process finds its database, its cache and its queues."""

    database: str
    redis: str
    broker: str

    def of_process(self, worker: str) -> Self:
        """Return the URLs of one test process, `gw0`, `gw1`, … or `master`."""
        number = int(worker[2:]) + 1 if worker.startswith("gw") else 0
        suffix = worker if worker.startswith("gw") else "main"
        database = make_url(self.database)
        return replace(
            self,
            database=database.set(database=f"{database.database}_{suffix}").render_as_string(
                hide_password=False
            ),
            redis=_numbered(self.redis, number),
            broker=_numbered(self.broker, number),
        )


def _numbered(url: str, add: int) -> str:
    address, _, number = url.rpartition("/")
    return f"{address}/{int(number) + add}"


class Servers:
    """Starts what the environment does not name, once; stops what it started."""

    def __init__(self) -> None:
        self._folder = RUNS / str(os.getpid())
        self._started: list[PrivateMariaDB | PrivateValkey] = []
        self._urls: Urls | None = None

    def urls(self) -> Urls:
        """Return the URLs of the run, starting servers at the first call."""
        if self._urls is None:
            sweep()
            redis = os.environ.get("REDIS_URL") or self._valkey().url
            self._urls = Urls(
                database=os.environ.get("DATABASE_URL") or self._mariadb().url,
                redis=redis,
                broker=os.environ.get("BROKER_URL") or redis,
            )
        return self._urls

    def stop(self) -> None:
        """Stop what was started here and forget its data."""
        for server in self._started:
            server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _mariadb(self) -> PrivateMariaDB:
        # Nobody kills this one: a test that does makes its own, which is durable.
        server = PrivateMariaDB(self._folder / "mariadb", is_durable=False)
        self._started.append(server)
        return server.start()

    def _valkey(self) -> PrivateValkey:
        server = PrivateValkey(self._folder / "valkey")
        self._started.append(server)
        return server.start()


def sweep() -> None:
    """Remove what killed runs left in `var/tests`."""
    for folder in RUNS.glob("*"):
        if folder.name.isdigit() and not Path("/proc", folder.name).exists():
            shutil.rmtree(folder, ignore_errors=True)


def close_breakers(client: redis.Redis) -> None:
    """Forget what was made of providers."""
    for key in client.scan_iter("breaker:*"):
        client.delete(key)


def make_empty_database(url: str) -> None:
    """Make the database that the URL names, empty."""
    target = make_url(url)
    engine = sqlalchemy.create_engine(target.set(database=""), poolclass=sqlalchemy.NullPool)
    name = engine.dialect.identifier_preparer.quote_identifier(str(target.database))
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"DROP DATABASE IF EXISTS {name}"))
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
    except sqlalchemy.exc.OperationalError as error:
        pytest.exit(f"The database {name} cannot be made for the tests: {error.orig}", 2)
