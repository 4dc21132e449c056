"""The collector: what is accepted is stored once, whatever becomes of Redis and of workers."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from models import analytics_producers
from models.alerts import Alert
from models.analytics_events import AnalyticsEvent, EventType, NewEvent, Source, event_id
from models.analytics_producers import Producer as ProducerRow
from models.clock import wall
from models.ids import new_id
from worker import dispatch
from worker.cache import Cache, CacheAway
from worker.collecting import accepting, flushing
from worker.collecting.accepting import Full, Producer
from worker.collecting.entries import Unreadable, entry_of, groups, written
from worker.collecting.flushing import MOST_TIMES, Flush, settle
from worker.collecting.stream import GROUP, LOAD, REFUSED, STREAM, Stream
from worker.database import transaction

AT = datetime(2026, 3, 1, 20, 0, 0, 123456, tzinfo=UTC)


class Bench:
    """A stream in a Valkey of its own, a company, and who accepts and stores for it."""

    def __init__(self, valkey, company_id, monkeypatch):
        self.valkey = valkey
        self.company_id = company_id
        self.stream = Stream(Cache(valkey.url))
        self.producer = Producer(self.stream, batch=10, told_within_s=3600)
        self.rings = []
        monkeypatch.setattr(accepting, "ring", lambda: self.rings.append(1))

    def client(self):
        return self.stream._cache.client

    def event(self, number=0, **changed):
        made = {
            "id": event_id(self.company_id, f"{self.producer.id} {number}"),
            "company_id": self.company_id,
            "event_type": EventType.USAGE,
            "name": "report.opened",
            "timestamp": AT,
            "source": Source.API,
        }
        return NewEvent(**{**made, **changed})

    def events(self, first, last):
        return [self.event(number) for number in range(first, last + 1)]

    def flush(self, **how):
        run = Flush(self.stream, **{"batch": 10, "claimed_after_s": 0.0, **how})
        run.run()
        return run.number

    def stored(self):
        with transaction(company_id=self.company_id) as session:
            return session.scalar(select(func.count(AnalyticsEvent.id)))

    def row(self):
        with transaction() as session:
            return session.get(ProducerRow, self.producer.id)

    def settle(self, monkeypatch):
        """Settle as if a while had gone by."""
        later = wall() + timedelta(minutes=5)
        monkeypatch.setattr(flushing, "wall", lambda: later)
        return settle(self.stream)


@pytest.fixture
def bench(own_valkey, customer, monkeypatch):
    return Bench(own_valkey, customer.company_id, monkeypatch)


def test_an_event_comes_through_the_stream_as_it_was(bench):
    event = bench.event(
        user_id=new_id(),
        module_id=new_id(),
        amount=Decimal("-0.10"),
        currency="EUR",
        quantity=Decimal("0.0001"),
        dimension="ü",
        metadata={"a": Decimal("0.10"), "b": "\u2028"},
    )
    fields = {"producer": new_id().hex, "first": "1", "count": "1", "events": written([event])}
    [read] = entry_of("1-0", fields).events()
    assert read == replace(event, metadata='{"a":0.10,"b":"\u2028"}')


def test_what_is_no_entry_is_said_to_be_unreadable():
    fields = {"producer": new_id().hex, "first": "1", "count": "2", "events": "[[1]]"}
    with pytest.raises(Unreadable):
        entry_of("1-0", fields).events()
    for wrong in ({"first": "x"}, {"producer": "me"}):
        with pytest.raises(Unreadable):
            entry_of("1-0", {**fields, **wrong})


def test_entries_are_grouped_into_batches_and_none_is_split():
    def entry(first, last):
        number = last - first + 1
        fields = {"producer": UUID(int=1).hex, "first": first, "count": number, "events": "[]"}
        return entry_of(f"{first}-0", fields)

    entries = [entry(1, 4), entry(5, 8), entry(9, 9), entry(10, 40), entry(41, 41)]
    sizes = [[each.number for each in group] for group in groups(entries, 9)]
    assert sizes == [[4, 4, 1], [31], [1]]


def test_what_is_accepted_is_stored_and_leaves_the_stream(bench):
    bench.producer.accept(bench.events(1, 25))
    bench.producer.accept(bench.events(26, 26))
    assert bench.stream.standing().events == 26
    assert bench.stored() == 0
    assert bench.flush() == 26
    assert bench.stored() == 26
    assert (bench.row().highest, bench.row().stored) == (26, 26)
    standing = bench.stream.standing()
    assert (standing.events, standing.bytes, standing.entries, standing.held) == (0, 0, 0, 0)


def test_what_is_done_makes_room_and_what_waits_does_not(bench):
    bench.producer.accept(bench.events(1, 20))
    whole = bench.stream.standing()
    [first] = bench.stream.read("one", 1)
    bench.stream.done([first])
    left = bench.stream.standing()
    assert (left.events, left.bytes, left.entries) == (10, whole.bytes - first.size, 1)
    # Acknowledged twice it makes no more room.
    bench.stream.done([first])
    assert bench.stream.standing().events == 10


def test_a_count_that_went_wrong_is_right_again_once_nothing_waits(bench):
    bench.producer.accept(bench.events(1, 5))
    bench.client().hset(LOAD, "events", 999)
    bench.flush()
    assert bench.stream.standing().events == 0


def test_the_same_event_accepted_twice_is_stored_once_and_no_loss(bench, monkeypatch):
    bench.producer.accept(bench.events(1, 5))
    bench.producer.accept(bench.events(1, 5))
    bench.flush()
    bench.producer.tell()
    assert (bench.stored(), bench.row().stored) == (5, 10)
    bench.settle(monkeypatch)
    assert bench.row().lost == 0


def test_a_full_batch_rings_once_until_somebody_hears(bench):
    bench.producer.accept(bench.events(1, 9))
    assert bench.rings == []
    bench.producer.accept(bench.events(10, 10))
    bench.producer.accept(bench.events(11, 30))
    assert bench.rings == [1]
    bench.flush()
    bench.producer.accept(bench.events(31, 45))
    assert bench.rings == [1, 1]


def test_what_a_dead_worker_held_is_taken_over(bench):
    bench.producer.accept(bench.events(1, 30))
    bench.stream.read("dead", 2)
    assert bench.flush(claimed_after_s=3600) == 10
    assert bench.flush() == 20
    assert (bench.stored(), bench.row().stored, bench.stream.standing().held) == (30, 30, 0)


def test_what_was_stored_and_not_acknowledged_is_stored_once(bench, monkeypatch):
    def dies(entries):
        raise CacheAway("gone after the commit")

    bench.producer.accept(bench.events(1, 5))
    with monkeypatch.context() as patched:
        patched.setattr(bench.stream, "done", dies)
        with pytest.raises(CacheAway):
            bench.flush()
    assert bench.stored() == 5
    assert bench.flush() == 0
    assert (bench.stored(), bench.row().stored, bench.stream.standing().entries) == (5, 5, 0)


def test_a_database_that_comes_back_finds_all_that_was_taken(bench, monkeypatch):
    def away(*_):
        raise OperationalError("INSERT", {}, Exception(2013, "lost"))

    bench.producer.accept(bench.events(1, 20))
    with monkeypatch.context() as patched:
        patched.setattr(flushing, "store", away)
        for _ in range(MOST_TIMES + 1):
            with pytest.raises(OperationalError):
                bench.flush()
    assert bench.client().xlen(REFUSED) == 0
    assert bench.flush(claimed_after_s=3600) == 20


def test_one_event_that_cannot_be_stored_holds_up_no_other(bench):
    bad = bench.event(3, company_id=new_id())
    long = bench.event(4, name="n" * 200)
    bench.producer.accept([*bench.events(1, 2), bad, long, *bench.events(5, 12)])
    bench.flush()
    row = bench.row()
    assert (bench.stored(), row.stored, row.refused, row.highest) == (10, 10, 2, 12)
    refused = [fields["why"] for _, fields in bench.client().xrange(REFUSED)]
    assert [str(bad.id) in refused[0], str(long.id) in refused[1]] == [True, True]
    assert bench.stream.standing().entries == 0
    with transaction() as session:
        assert session.scalar(select(Alert.id).where(Alert.open_key == "analytics_refused"))


def test_what_is_no_entry_is_put_aside(bench):
    bench.producer.accept(bench.events(1, 2))
    bench.client().xadd(STREAM, {"hello": "world"})
    fields = {"producer": bench.producer.id.hex, "first": "3", "count": "2", "events": "nonsense"}
    bench.client().xadd(STREAM, fields)
    bench.producer.accept(bench.events(3, 4))
    bench.flush()
    assert bench.client().xlen(REFUSED) == 2
    assert (bench.stored(), bench.stream.standing().entries) == (4, 0)


def test_an_entry_that_kills_its_workers_is_put_aside(bench):
    bench.producer.accept(bench.events(1, 2))
    [entry] = bench.stream.read("first", 10)
    for _ in range(MOST_TIMES - 1):
        bench.stream.claim("dead", 10, idle_s=0)
        bench.stream.begin(entry.id)
    bench.flush()
    assert (bench.stored(), bench.row().refused) == (0, 2)
    assert (bench.client().xlen(REFUSED), bench.stream.standing().entries) == (1, 0)


def test_what_a_flush_of_redis_took_is_counted_as_lost(bench, monkeypatch):
    bench.producer.accept(bench.events(1, 10))
    bench.flush()
    bench.producer.accept(bench.events(11, 17))
    bench.client().flushall()
    bench.producer.accept(bench.events(18, 20))
    bench.flush()
    bench.producer.accept(bench.events(21, 25))
    bench.producer.tell()
    bench.client().flushall()
    assert bench.flush() == 0
    bench.settle(monkeypatch)
    row = bench.row()
    assert (bench.stored(), row.stored, row.lost, row.accepted) == (13, 13, 12, 25)
    with transaction() as session:
        assert session.scalar(select(Alert.id).where(Alert.open_key == "analytics_lost"))


def test_what_waits_is_not_lost(bench, monkeypatch):
    bench.producer.accept(bench.events(1, 10))
    bench.producer.accept(bench.events(11, 20))
    first, *_ = bench.stream.read("slow", 1)
    bench.flush(claimed_after_s=3600)
    bench.producer.tell()
    monkeypatch.setattr(
        bench.stream, "standing", lambda: replace(Stream.standing(bench.stream), oldest_s=400.0)
    )
    bench.settle(monkeypatch)
    assert (bench.row().lost, bench.row().stored, first.number) == (0, 10, 10)


def test_the_group_is_made_again_after_a_flush(bench):
    bench.producer.accept(bench.events(1, 2))
    bench.client().flushall()
    assert bench.flush() == 0
    bench.producer.accept(bench.events(3, 4))
    bench.client().xgroup_destroy(STREAM, GROUP)
    assert bench.flush() == 2
    assert bench.stored() == 2


def test_with_redis_away_events_go_straight_to_the_table(bench, monkeypatch):
    bench.producer.accept(bench.events(1, 3))
    bench.flush()
    bench.valkey.stop()
    bench.producer.accept(bench.events(4, 8))
    assert (bench.stored(), bench.row().stored, bench.row().highest) == (8, 8, 8)


def test_with_redis_hung_callers_wait_once_and_then_not_at_all(bench):
    os.kill(bench.valkey.pid, signal.SIGSTOP)
    try:
        bench.producer.accept(bench.events(1, 3))
        assert bench.stream._cache.breaker.is_tripped
        bench.producer.accept(bench.events(4, 5))
    finally:
        os.kill(bench.valkey.pid, signal.SIGCONT)
    assert bench.stored() == 5


def test_with_both_away_nothing_is_accepted_and_nothing_is_lost(bench, monkeypatch):
    def away(*_):
        raise OperationalError("INSERT", {}, Exception(2013, "lost"))

    bench.valkey.stop()
    with monkeypatch.context() as patched:
        patched.setattr(accepting, "store", away)
        with pytest.raises(OperationalError):
            bench.producer.accept(bench.events(1, 3))
    bench.producer.accept(bench.events(4, 8))
    bench.producer.tell()
    row = bench.row()
    assert (row.stored, row.withdrawn, row.accepted, row.lost) == (5, 3, 8, 0)


def test_a_full_stream_takes_nothing_until_there_is_room(bench):
    bench.producer._stream = Stream(bench.stream._cache, most_events=10)
    bench.producer.accept(bench.events(1, 9))
    bench.producer.accept(bench.events(10, 14))
    with pytest.raises(Full, match="14 events"):
        bench.producer.accept(bench.events(15, 15))
    assert bench.stream.standing().events == 14
    bench.flush()
    bench.producer.accept(bench.events(15, 15))
    bench.flush()
    assert (bench.row().highest, bench.row().stored, bench.stored()) == (15, 15, 15)


def test_bytes_are_limited_as_well(bench):
    bench.producer._stream = Stream(bench.stream._cache, most_bytes=100)
    bench.producer.accept(bench.events(1, 1))
    with pytest.raises(Full):
        bench.producer.accept(bench.events(2, 2))


def test_a_producer_tells_how_far_it_has_come_by_itself(bench):
    quick = Producer(bench.stream, batch=10, told_within_s=0.01)
    quick.accept(bench.events(1, 3))
    timer = quick._timer
    if timer is not None:
        timer.join(60)
    with transaction() as session:
        assert session.get_one(ProducerRow, quick.id).accepted == 3


def test_what_could_not_be_told_is_told_the_next_time(bench, monkeypatch):
    def away(*_, **__):
        raise OperationalError("INSERT", {}, Exception(2013, "lost"))

    bench.producer.accept(bench.events(1, 3))
    with monkeypatch.context() as patched:
        patched.setattr(analytics_producers, "tell", away)
        bench.producer.tell()
    assert bench.row() is None
    bench.producer.tell()
    assert bench.row().accepted == 3


def test_workers_that_are_gone_are_forgotten_once_they_hold_nothing(bench):
    bench.producer.accept(bench.events(1, 2))
    bench.stream.read("holder", 1)
    bench.stream.read("idle", 1)
    assert bench.stream.forget_workers(gone_s=-1) == 1
    [left] = bench.client().xinfo_consumers(STREAM, GROUP)
    assert left["name"] == "holder"


def test_a_ring_is_what_beat_sends(own_valkey):
    queue, raw = dispatch.ring_for("analytics.flush")
    assert queue == "analytics"
    assert b'"task":"analytics.flush"' in raw
    assert b'"argsrepr":"()"' in raw
