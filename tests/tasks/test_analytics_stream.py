"""What beat rings for the stream of events: stored, told of, and patient while Redis is away."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from models.alerts import Alert
from models.analytics_events import AnalyticsEvent, EventType, NewEvent, Source, event_id
from models.analytics_producers import Producer as ProducerRow
from models.clock import now, wall
from tasks import analytics
from worker.cache import Cache
from worker.collecting import accepting, flushing
from worker.collecting.accepting import Producer
from worker.collecting.stream import Stream
from worker.database import transaction


@pytest.fixture
def stream(own_valkey, database, monkeypatch):
    made = Stream(Cache(own_valkey.url))
    monkeypatch.setattr(analytics, "stream", lambda: made)
    return made


@pytest.fixture
def rings(monkeypatch):
    rung = []
    monkeypatch.setattr(accepting, "ring", lambda: rung.append(1))
    monkeypatch.setattr(analytics, "ring", lambda: rung.append(1))
    return rung


def accept(stream, company_id, number):
    producer = Producer(stream, batch=100, told_within_s=3600)
    producer.accept(
        [
            NewEvent(
                id=event_id(company_id),
                company_id=company_id,
                event_type=EventType.ERROR,
                name="import.failed",
                timestamp=now(),
                source=Source.API,
            )
            for _ in range(number)
        ]
    )
    return producer


def stored(company_id):
    with transaction(company_id=company_id) as session:
        return session.scalar(select(func.count(AnalyticsEvent.id)))


def test_a_ring_stores_what_waits(stream, rings, customer):
    accept(stream, customer.company_id, 3)
    analytics.flush()
    assert stored(customer.company_id) == 3
    assert rings == []


def test_a_run_that_lasted_long_enough_rings_for_the_next(stream, rings, customer, monkeypatch):
    accept(stream, customer.company_id, 3)
    monkeypatch.setattr(flushing.Flush.__init__, "__kwdefaults__", {"run_s": 0.0})
    analytics.flush()
    assert rings == [1]
    assert stored(customer.company_id) == 3


def test_the_sweep_names_what_redis_lost_and_tells_people(stream, rings, customer, monkeypatch):
    producer = accept(stream, customer.company_id, 3)
    producer.tell()
    stream._cache.client.flushall()
    analytics.sweep()
    with transaction() as session:
        assert session.get_one(ProducerRow, producer.id).lost == 0
    later = wall() + timedelta(minutes=5)
    monkeypatch.setattr(flushing, "wall", lambda: later)
    analytics.sweep()
    with transaction() as session:
        assert session.get_one(ProducerRow, producer.id).lost == 3
        assert session.scalar(select(Alert.id).where(Alert.open_key == "analytics_lost"))


def test_with_redis_away_nobody_fails_and_nothing_is_called_lost(
    stream, rings, customer, own_valkey, monkeypatch
):
    producer = accept(stream, customer.company_id, 3)
    producer.tell()
    own_valkey.stop()
    later = wall() + timedelta(minutes=5)
    monkeypatch.setattr(flushing, "wall", lambda: later)
    analytics.flush()
    analytics.sweep()
    with transaction() as session:
        assert session.get_one(ProducerRow, producer.id).lost == 0
