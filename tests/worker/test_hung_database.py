"""A MySQL that hangs: whoever asks it is told so in time, and is served once it goes on."""

from __future__ import annotations

import os
import signal
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from models.base import across_companies
from sandbox.servers import PrivateMariaDB
from worker import database
from worker.database import answer_within, engine, is_away, transaction
from worker.settings import settings

PATIENCE_S = 1.0
ONE = across_companies(text("SELECT 1"), because="it is of no company")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with PrivateMariaDB(tmp_path_factory.mktemp("mariadb")) as running:
        yield running


@pytest.fixture
def mariadb(server, monkeypatch):
    """A MariaDB of these tests' own, which this process uses with little patience."""
    monkeypatch.setenv("DATABASE_URL", server.url)
    settings.cache_clear()
    answer_within(PATIENCE_S)
    yield server
    engine().dispose()
    monkeypatch.undo()
    settings.cache_clear()
    answer_within(database.PATIENCE_S)


def ask() -> None:
    with transaction() as session:
        assert session.scalar(ONE) == 1


def fails_in_time() -> None:
    started = time.monotonic()
    with pytest.raises(OperationalError) as caught:
        ask()
    assert is_away(caught.value)
    assert time.monotonic() - started < 10 * PATIENCE_S


@pytest.mark.parametrize("fresh_s", [60.0, 0.0])
def test_a_database_that_hangs_is_given_up_in_time(mariadb, monkeypatch, fresh_s):
    monkeypatch.setattr(database, "FRESH_S", fresh_s)
    ask()
    os.kill(mariadb.pid, signal.SIGSTOP)
    try:
        fails_in_time()
        # The second caller has no connection, and waits for the first word of a new one.
        fails_in_time()
    finally:
        os.kill(mariadb.pid, signal.SIGCONT)
    ask()


def test_a_connection_that_was_cut_off_is_replaced_without_a_word(mariadb, monkeypatch):
    monkeypatch.setattr(database, "FRESH_S", 0.0)
    ask()
    mariadb.stop()
    mariadb.start()
    ask()
