"""Real workers that are killed and a Redis that is flushed: what was accepted is stored, or named.

Some thousand events; with PAYBEAT_ANALYTICS_LONG=1 a million, or as many as PAYBEAT_EVENTS says.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import func, select

from models.analytics_events import AnalyticsEvent, DirtyDay, EventType, NewEvent, Source, event_id
from models.analytics_producers import Gap
from models.analytics_producers import Producer as ProducerRow
from models.base import across_companies
from models.clock import now, wall
from models.ids import new_id
from tests.factories import make_company
from tests.system import BIN, Part
from tests.waiting import wait_for
from worker import dispatch
from worker.cache import Cache, CacheAway
from worker.collecting import accepting, flushing
from worker.collecting.accepting import Full, Producer
from worker.collecting.flushing import settle
from worker.collecting.stream import REFUSED, Stream
from worker.database import transaction

IS_LONG = "PAYBEAT_ANALYTICS_LONG" in os.environ
EVENTS = int(os.environ.get("PAYBEAT_EVENTS", "1000000")) if IS_LONG else 6000
PRODUCERS = 3
KILLS = 10 if IS_LONG else 1
FLUSHES = 2 if IS_LONG else 1
# Before the first flush: far less than the stream takes while no worker runs.
FIRST = 2000 if IS_LONG else 300
SIZES = (1, 5, 100, 700, 1000)
# What waits at most, and so what a flush takes at most, and of each producer one request more.
MOST = 20_000 if IS_LONG else 4000
BATCH = 100
BECAUSE = "a test's own companies"


class Line(threading.Thread):
    """One producer that accepts events for a company, each named by its number."""

    def __init__(self, into: Stream, number: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.company_id = make_company().company_id
        self.producer = Producer(into, batch=BATCH, told_within_s=0.5)
        self.number = number
        self.rng = random.Random(seed)
        self.at = now()
        self.key = str(new_id())
        self.has_begun = threading.Event()
        self.may_go_on = threading.Event()

    def run(self) -> None:
        done = 0
        while done < self.number:
            if done >= FIRST:
                self.has_begun.set()
                self.may_go_on.wait()
            size = min(self.rng.choice(SIZES), self.number - done)
            events = [self.event(each) for each in range(done + 1, done + size + 1)]
            try:
                self.producer.accept(events)
            except Full:
                time.sleep(0.1)
                continue
            done += size
        self.producer.tell()

    def event(self, number: int) -> NewEvent:
        return NewEvent(
            id=event_id(self.company_id, self.key, str(number)),
            company_id=self.company_id,
            event_type=EventType.USAGE,
            name="report.opened",
            timestamp=self.at - timedelta(hours=number % 72),
            source=Source.API,
            dimension=f"module-{number % 7}",
        )

    def row(self) -> ProducerRow:
        with transaction() as session:
            return session.get_one(ProducerRow, self.producer.id)

    def lost(self) -> set[int]:
        """Return the numbers that are named as lost."""
        with transaction() as session:
            gaps = session.scalars(
                select(Gap).where(Gap.producer_id == self.producer.id, Gap.lost_at.is_not(None))
            )
            return {each for gap in gaps for each in range(gap.first, gap.last + 1)}

    def stored(self) -> set[bytes]:
        with transaction(company_id=self.company_id) as session:
            return {each.bytes for each in session.scalars(select(AnalyticsEvent.id))}


class Works:
    """A Valkey, a worker of the queue of analytics, and what beat would do."""

    def __init__(self, url: str, folder: Path, opened: ExitStack) -> None:
        self.stream = Stream(Cache(url), most_events=MOST)
        self.client = opened.enter_context(redis.Redis.from_url(url, decode_responses=True))
        self.marks = folder / "marks"
        self.marks.mkdir()
        command: list[str | Path] = [BIN / "celery", "-A", "worker.app", "worker"]
        flags = "-P threads -c 2 -Q analytics -n analytics@%h --without-mingle --without-gossip"
        environ = {
            **os.environ,
            "REDIS_URL": url,
            "BROKER_URL": url,
            "CRASH_MARKS": str(self.marks),
            "ANALYTICS_CLAIM_AFTER_S": "1",
            "ANALYTICS_BATCH_SIZE": str(BATCH),
        }
        self.worker = Part(
            "analytics",
            [*command, *flags.split()],
            environ,
            log=folder / "worker.log",
            is_ready=lambda part: " ready." in part.said,
        )
        opened.callback(self.worker.stop)
        self._over = threading.Event()
        self._beat = threading.Thread(target=self._ring_on, daemon=True)
        self._beat.start()
        opened.callback(self._beat.join)
        opened.callback(self._over.set)

    def ring(self) -> None:
        queue, raw = dispatch.ring_for(accepting.FLUSH)
        self.client.lpush(queue, raw)

    def _ring_on(self) -> None:
        while not self._over.wait(0.2):
            with suppress(redis.RedisError):
                if not self.client.llen("analytics"):
                    self.ring()

    def crash_at(self, point: str) -> None:
        (self.marks / point).touch()
        self.worker.wait_dead()
        assert not (self.marks / point).exists()
        self.worker.start()

    def kill(self) -> None:
        self.worker.signal(signal.SIGKILL)
        self.worker.wait_dead()
        self.worker.start()

    def waits(self) -> int:
        try:
            return self.stream.standing().entries
        except CacheAway:
            return 1


@pytest.fixture
def works(database, fresh_valkey, tmp_path, monkeypatch) -> Iterator[Works]:
    with ExitStack() as opened:
        made = Works(fresh_valkey().url, tmp_path, opened)
        monkeypatch.setattr(accepting, "ring", made.ring)
        yield made


def flush_at_first(works: Works, lines: list[Line]) -> None:
    """Flush Redis when everybody has accepted something, and nothing of it is stored."""
    for line in lines:
        line.start()
    for line in lines:
        line.has_begun.wait()
    works.client.flushall()
    for line in lines:
        line.may_go_on.set()


def test_what_was_accepted_is_stored_or_named_as_lost(works, monkeypatch, record_property):
    lines = [Line(works.stream, EVENTS // PRODUCERS, seed) for seed in range(PRODUCERS)]
    began = time.monotonic()
    flush_at_first(works, lines)
    works.worker.start()
    works.crash_at("analytics.taken")
    works.crash_at("analytics.committed")
    for number in range(KILLS):
        time.sleep(EVENTS / 1e6)
        works.kill()
        if number < FLUSHES - 1:
            works.client.flushall()
    for line in lines:
        line.join()
    wait_for(lambda: not works.waits())
    took_s = time.monotonic() - began
    later = wall() + timedelta(minutes=5)
    monkeypatch.setattr(flushing, "wall", lambda: later)
    while settle(works.stream):
        pass
    lost = 0
    for line in lines:
        row, missing = line.row(), line.lost()
        ids = {
            number: event_id(line.company_id, line.key, str(number)).bytes
            for number in range(1, line.number + 1)
        }
        stored = line.stored()
        assert row.accepted == line.number
        assert row.stored + row.lost == line.number
        assert len(missing) == row.lost
        # Not only as many: exactly these.
        assert stored == {identity for number, identity in ids.items() if number not in missing}
        lost += row.lost
    assert 0 < lost < min(EVENTS, FLUSHES * (MOST + PRODUCERS * max(SIZES)))
    assert works.client.xlen(REFUSED) == 0
    assert days_of(lines) == {(line.company_id.bytes) for line in lines}
    record_property(
        "told", f"{EVENTS} events in {took_s:.0f} s, {EVENTS - lost} stored, {lost} named as lost"
    )


def days_of(lines: list[Line]) -> set[bytes]:
    """Return the companies that have a day to be rolled up."""
    with transaction() as session:
        query = select(DirtyDay.company_id, func.count()).group_by(DirtyDay.company_id)
        of = query.where(DirtyDay.company_id.in_([line.company_id for line in lines]))
        return {
            row.company_id.bytes for row in session.execute(across_companies(of, because=BECAUSE))
        }
