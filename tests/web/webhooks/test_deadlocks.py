"""A deadlock at the door: the database ends one of the two, and the door tries again."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest

from tests.waiting import wait_for
from tests.web.webhooks.door import Door, event
from worker import intake as door_writer
from worker.intake import Arrival, NotStored, Outcome, intake
from worker.signatures import event_of

# The handler holds these, and its work weighs more than the group's: the group is the one to end.
HELD = [f"evt_held_{number}" for number in range(20)]

Flush = Callable[..., list[Outcome | Exception]]


@pytest.fixture
def flush_into_a_deadlock(door: Door, monkeypatch) -> Flush:
    """Return what flushes a group with a held event and has it lose a deadlock at its first try."""
    # On a busy machine too the group waits for its lock until the handler closes the circle.
    monkeypatch.setattr(door_writer, "LOCK_WAIT_S", 30)
    monkeypatch.setattr(door_writer, "ANSWER_TIMEOUT_S", 40)
    for each in HELD:
        assert door.post(event(each)).status_code == 200

    def flush(*event_ids: str) -> list[Outcome | Exception]:
        arrivals = [Arrival("stripe", event_of(event(each)), {}, None) for each in event_ids]
        told: list[Outcome | Exception] = []

        def write() -> None:
            try:
                outcomes, afterwards = intake()._flush(arrivals)
            except NotStored as error:
                told.append(error)
            else:
                afterwards()
                told.extend(outcomes)

        writer = threading.Thread(target=write)
        with door.database.connect() as handler:
            handler.exec_driver_sql("UPDATE payment_webhooks SET retry_count = retry_count + 1")
            writer.start()
            wait_for(lambda: _is_waiting(door, min(event_ids)))
            # The group holds the event's entry in this index and waits for the row behind it.
            handler.exec_driver_sql(
                "SELECT id FROM payment_webhooks FORCE INDEX (uq_payment_webhooks) FOR UPDATE"
            )
            handler.rollback()
        writer.join(60)
        return told

    return flush


def _is_waiting(door: Door, first: str) -> bool:
    """Return whether the statement that begins with the event waits for a row.

    INNODB_TRX would tell it in one query, but is not renewed while somebody reads it often.
    """
    with door.database.connect() as connection:
        threads = connection.exec_driver_sql(
            "SELECT id FROM information_schema.processlist WHERE LOWER(info) LIKE %s",
            (f"insert%{first.encode().hex()}%",),
        ).scalars()
        waiting = "|".join(map(str, threads))
        [[_, _, told]] = connection.exec_driver_sql("SHOW ENGINE INNODB STATUS").all()
    return bool(waiting and re.search(rf"LOCK WAIT .*\n.* thread id ({waiting}),", told))


def test_a_copy_that_lost_a_deadlock_is_known_at_its_next_try(door, flush_into_a_deadlock):
    assert flush_into_a_deadlock(HELD[0]) == [Outcome.DUPLICATE]
    assert len(door.stored()) == len(door.owed()) == len(HELD)


def test_a_group_that_lost_a_deadlock_is_stored_whole(door, flush_into_a_deadlock):
    told = flush_into_a_deadlock("evt_a", HELD[0], "evt_z")
    assert told == [Outcome.STORED, Outcome.DUPLICATE, Outcome.STORED]
    assert [row.provider_event_id for row in door.stored()] == sorted(["evt_a", "evt_z", *HELD])
    assert len(door.owed()) == len(HELD) + 2
    assert {str(row.id) for row in door.owed()[-2:]} <= set(door.rung())


def test_an_event_that_loses_every_deadlock_is_not_taken(door, flush_into_a_deadlock, monkeypatch):
    monkeypatch.setattr(door_writer, "TRIES", 0)
    [told] = flush_into_a_deadlock(HELD[0])
    assert isinstance(told, NotStored)
    assert door.post(event(HELD[0])).status_code == 200


def test_what_loses_every_deadlock_fails_alone(door, flush_into_a_deadlock, monkeypatch):
    monkeypatch.setattr(door_writer, "TRIES", 0)
    assert flush_into_a_deadlock("evt_a", HELD[0]) == [Outcome.STORED, Outcome.DUPLICATE]
    assert len(door.stored()) == len(door.owed()) == len(HELD) + 1
