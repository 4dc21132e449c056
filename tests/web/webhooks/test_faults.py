"""MySQL or Redis away, hung or unwilling: never a 2xx for what is not stored, never a lost debt."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import sqlalchemy

from sandbox.servers import PrivateMariaDB, PrivateValkey
from tests.waiting import PATIENCE_S
from tests.web.webhooks.conftest import own_engine
from tests.web.webhooks.door import Door, at_once, event
from worker.intake import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, Arrival, Outcome, Unkeepable, intake
from worker.signatures import event_of

GIVES_UP_AFTER_S = 10


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    with PrivateMariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(scope="module")
def own_database(mariadb: PrivateMariaDB) -> Iterator[sqlalchemy.Engine]:
    with own_engine(mariadb.url) as engine:
        yield engine


@pytest.fixture
def fragile(open_door, mariadb: PrivateMariaDB, own_database, broker_url: str) -> Iterator[Door]:
    """A door whose MariaDB a test may hurt."""
    yield open_door(own_database, broker_url)
    mariadb.start()


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def assert_try_again(response) -> None:
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert response.content_type == "application/problem+json"


def timed(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def test_with_mysql_stopped_an_event_is_refused_and_taken_when_it_is_back(
    fragile: Door, mariadb: PrivateMariaDB
) -> None:
    assert fragile.post(event("evt_before")).status_code == 200
    mariadb.stop()
    assert_try_again(fragile.post(event("evt_1")))
    assert at_once([event(f"evt_{n}") for n in range(10)], fragile) == [503] * 10
    mariadb.start()
    assert fragile.post(event("evt_1")).status_code == 200
    assert [row.provider_event_id for row in fragile.stored()] == ["evt_1", "evt_before"]
    assert len(fragile.owed()) == 2


def test_connections_that_a_restart_has_closed_cost_no_event(
    fragile: Door, mariadb: PrivateMariaDB
) -> None:
    assert fragile.post(event("evt_1")).status_code == 200
    mariadb.stop()
    mariadb.start()
    assert fragile.post(event("evt_2")).status_code == 200


def test_with_mysql_hung_all_are_refused_in_time(fragile: Door, mariadb: PrivateMariaDB) -> None:
    assert fragile.post(event("evt_0")).status_code == 200
    bodies = [event(f"evt_{n}") for n in range(10)]
    statuses: list[int] = []
    with frozen(mariadb.pid):
        took_s = timed(lambda: statuses.extend(at_once(bodies, fragile)))
    assert statuses == [503] * 10
    # Together, not one after the other.
    assert took_s < 4 * (CONNECT_TIMEOUT_S + ANSWER_TIMEOUT_S)
    assert at_once(bodies, fragile) == [200] * 10
    assert len(fragile.stored()) == len(fragile.owed()) == 10


def test_with_redis_stopped_an_event_is_taken_and_due_at_once(
    open_door, migrated_engine, fresh_valkey
) -> None:
    valkey: PrivateValkey = fresh_valkey()
    door = open_door(migrated_engine, valkey.url)
    valkey.stop()
    assert door.post(event("evt_1")).status_code == 200
    (owed,) = door.owed()
    assert owed.sent_at is None
    assert owed.due_at <= datetime.now(UTC)
    assert at_once([event(f"evt_{n}") for n in range(10)], door) == [200] * 10
    assert all(row.sent_at is None for row in door.owed())


def test_with_redis_hung_events_are_taken_before_the_provider_gives_up(
    open_door, migrated_engine, fresh_valkey
) -> None:
    valkey: PrivateValkey = fresh_valkey()
    door = open_door(migrated_engine, valkey.url)
    assert door.post(event("evt_before")).status_code == 200
    statuses: list[int] = []
    with frozen(valkey.pid):
        for turn in range(3):
            bodies = [event(f"evt_{turn}_{n}") for n in range(10)]
            took_s = timed(lambda bodies=bodies: statuses.extend(at_once(bodies, door)))
            assert took_s < GIVES_UP_AFTER_S
    assert statuses == [200] * 30
    assert len(door.stored()) == len(door.owed()) == 31


def test_an_event_that_the_database_refuses_fails_alone(fragile: Door) -> None:
    with fragile.database.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE payment_webhooks ADD CONSTRAINT no_bad CHECK (event_type <> 'bad.event')"
        )
    try:
        bodies = {"evt_bad": event("evt_bad", type="bad.event")}
        bodies |= {f"evt_{n}": event(f"evt_{n}") for n in range(9)}
        group = [Arrival("stripe", event_of(body), {}, None) for body in bodies.values()]
        answers, afterwards = intake()._flush(group)
        afterwards()
        refused = fragile.post(bodies["evt_bad"])
    finally:
        with fragile.database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE payment_webhooks DROP CONSTRAINT no_bad")
    assert isinstance(answers[0], Unkeepable)
    assert list(answers[1:]) == [Outcome.STORED] * 9
    assert refused.status_code == 400
    assert [row.provider_event_id for row in fragile.stored()] == [f"evt_{n}" for n in range(9)]
    assert sorted(fragile.rung()) == sorted(str(row.id) for row in fragile.owed())
    assert len(fragile.rung()) == 9


def test_a_database_that_cannot_write_is_never_answered_2xx(fragile: Door) -> None:
    with fragile.database.begin() as connection:
        connection.exec_driver_sql("RENAME TABLE outbox TO elsewhere")
    try:
        assert_try_again(fragile.post(event("evt_1")))
        assert at_once([event(f"evt_{n}") for n in range(10)], fragile) == [503] * 10
    finally:
        with fragile.database.begin() as connection:
            connection.exec_driver_sql("RENAME TABLE elsewhere TO outbox")
    assert fragile.stored() == []


def test_a_copy_of_an_event_that_is_being_handled_holds_up_only_itself(door: Door) -> None:
    assert door.post(event("evt_held")).status_code == 200
    with door.database.begin() as handler:
        handler.exec_driver_sql(
            "SELECT id FROM payment_webhooks WHERE provider_event_id = 'evt_held' FOR UPDATE"
        )
        bodies = [event("evt_held"), *(event(f"evt_{n}") for n in range(9))]
        assert sorted(at_once(bodies, door)) == [200] * 9 + [503]
    assert door.post(event("evt_held")).status_code == 200
    assert len(door.stored()) == len(door.owed()) == 10


def test_groups_of_the_same_events_in_every_order_do_not_lose_any(door: Door) -> None:
    """Several processes, each with its own intake, meet the same burst in different orders."""
    from worker.intake import Intake

    url = door.database.url.render_as_string(hide_password=False)
    intakes = [Intake(url, resend_after_s=30) for _ in range(4)]
    ids = [f"evt_{n}" for n in range(30)]
    outcomes: list[Outcome | Exception] = []

    def flush(number: int) -> None:
        for turn in range(5):
            order = ids[number * 7 + turn :] + ids[: number * 7 + turn]
            group = [Arrival("stripe", event_of(event(f"{i}_{turn}")), {}, None) for i in order]
            outcomes.extend(intakes[number]._flush(group)[0])

    threads = [threading.Thread(target=flush, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    for each in intakes:
        each.close()
    assert outcomes.count(Outcome.STORED) == 150
    assert outcomes.count(Outcome.DUPLICATE) == 450
    assert len(door.stored()) == len(door.owed()) == 150
