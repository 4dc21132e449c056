"""Publishing: in order, one run for all, and nobody waits for a company that cannot be served."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, select

from models.clock import now
from models.outbox import Owed, enqueue
from tasks import events
from tests.bell import ring
from tests.factories import Customer, make_company
from tests.waiting import PATIENCE_S
from worker.cache import CacheAway, shared
from worker.channels import stream_of
from worker.database import PUBLISH, in_transaction, transaction


@pytest.fixture(autouse=True)
def nothing_owed(database):
    """What other tests have left to be published is not heard here."""
    with transaction() as session:
        session.execute(delete(Owed).where(Owed.task == PUBLISH))


def announce(customer: Customer, *numbers: int) -> Owed:
    with transaction(company_id=customer.company_id) as session:
        return [
            enqueue(
                session, PUBLISH, events=[{"type": "invoice.updated", "data": {"number": number}}]
            )
            for number in numbers
        ][-1]


def heard(customer: Customer) -> list[int]:
    messages = shared().client.xrange(stream_of(customer.company_id))
    return [json.loads(fields["message"])["data"]["number"] for _, fields in messages]


def owed_to(customer: Customer) -> list[Owed]:
    with transaction() as session:
        query = select(Owed).where(Owed.company_id == customer.company_id)
        return list(session.scalars(query))


def test_one_run_publishes_what_is_owed_to_all_companies_in_order():
    one, other = make_company(), make_company()
    announce(one, 1, 2)
    announce(other, 10)
    ring(PUBLISH, announce(one, 3).id)
    assert heard(one) == [1, 2, 3]
    assert heard(other) == [10]
    assert owed_to(one) == owed_to(other) == []


def test_a_second_publisher_waits_so_that_no_event_overtakes_another(monkeypatch):
    customer = make_company()
    announce(customer, 1)
    publish = events.relay.publish
    with ThreadPoolExecutor(1) as pool:
        second = []

        def slowly(by_company):
            if not second:
                announce(customer, 2)
                second.append(pool.submit(in_transaction, events._publish_batch, None))
                with pytest.raises(TimeoutError):
                    second[0].result(0.3)
            return publish(by_company)

        monkeypatch.setattr(events.relay, "publish", slowly)
        in_transaction(events._publish_batch, None)
        assert second[0].result(PATIENCE_S) == 1
    assert heard(customer) == [1, 2]


def test_a_company_whose_stream_cannot_be_written_holds_up_nobody():
    broken, healthy = make_company(), make_company()
    ring(PUBLISH, announce(broken, 0).id)
    shared().client.set(stream_of(broken.company_id), "not a stream")
    announce(broken, 1)
    ring(PUBLISH, announce(healthy, 2).id)
    assert heard(healthy) == [2]
    [row] = owed_to(broken)
    assert row.failures == 1
    assert "WRONGTYPE" in (row.error or "")
    # It comes back by its date, and is not tried again with every other event.
    ring(PUBLISH, announce(healthy, 3).id)
    assert heard(healthy) == [2, 3]
    assert owed_to(broken)[0].failures == 1


def test_while_redis_is_away_all_stays_owed(monkeypatch):
    customer = make_company()

    def away(_):
        raise CacheAway("Redis is away")

    monkeypatch.setattr(events.relay, "publish", away)
    ring(PUBLISH, announce(customer, 1).id)
    [row] = owed_to(customer)
    assert (row.failures, row.error) == (0, "Redis is away")
    monkeypatch.undo()
    ring(PUBLISH, row.id)
    assert heard(customer) == [1]


def test_a_publisher_does_not_wait_for_what_is_in_hand_on_other_queues():
    customer = make_company()
    owed = announce(customer, 1)
    with transaction(company_id=customer.company_id) as session:
        in_hand = enqueue(session, "outbox.test_nothing", due_at=now())
    with transaction() as other:
        other.get_one(Owed, in_hand.id, with_for_update=True)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(ring, PUBLISH, owed.id).result(PATIENCE_S)
            assert heard(customer) == [1]
    with transaction() as session:
        session.delete(session.get_one(Owed, in_hand.id))
