"""A provider's breaker on a real Redis: when it opens, who probes, when it closes."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy import select

from models.alerts import Alert
from models.ids import new_id
from models.outbox import Owed, enqueue
from tests.bell import ring
from worker import breaker
from worker.app import calling_task
from worker.breaker import Limits, ProviderBreaker, State, breaker_of, tell_people
from worker.cache import Cache
from worker.database import in_transaction, transaction
from worker.gateways import health
from worker.gateways.base import Advice, Declined, GatewayError, OutcomeUnknown, Rejected
from worker.gateways.base import Unavailable as NotExecuted

# Long, for no test waits for its end: `Several.pass_time` has it behind it at once.
LIMITS = Limits(failures=5, share=0.5, window_s=600, pause_s=60, longest_pause_s=240, probe_s=300)


class Several:
    """One provider's breaker as several processes have it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.provider = f"provider-{uuid4().hex}"
        self.changes: list[str] = []
        self._key = f"breaker:{self.provider}"

    def of_a_process(self) -> ProviderBreaker:
        cache = Cache(self.url)
        return ProviderBreaker(self.provider, cache, LIMITS, on_change=self.changes.append)

    def pass_time(self, seconds: float) -> None:
        """Let all that Redis knows of it be so much older."""
        client = Cache(self.url).client
        for name in {"opened_at", "next_at", "probe_until"} & client.hgetall(self._key).keys():
            client.hincrby(self._key, name, -round(seconds * 1000))
        parts = math.ceil(seconds / (LIMITS.window_s / breaker.PARTS))
        for field, count in client.hgetall(f"{self._key}:calls").items():
            part, _, kind = field.partition(":")
            client.hdel(f"{self._key}:calls", field)
            client.hset(f"{self._key}:calls", f"{int(part) - parts}:{kind}", count)

    def pause_s(self) -> float:
        """How long it stays open since it was opened last."""
        next_at, opened_at = Cache(self.url).client.hmget(self._key, "next_at", "opened_at")
        return (int(next_at) - int(opened_at)) / 1000

    def let_probe(self, one: ProviderBreaker, who: str) -> None:
        self.pass_time(self.pause_s())
        assert one.wait_s(who) == 0


@pytest.fixture
def several(redis_url: str) -> Several:
    return Several(redis_url)


def fail(one: ProviderBreaker, times: int = 1) -> None:
    for _ in range(times):
        one.tell(has_failed=True, took_s=0)


def succeed(one: ProviderBreaker, times: int = 1) -> None:
    for _ in range(times):
        one.tell(has_failed=False, took_s=0)


def opened(several: Several) -> ProviderBreaker:
    one = several.of_a_process()
    fail(one, LIMITS.failures)
    assert one.standing().state is State.OPEN
    return one


def test_five_failures_open_it_for_every_process(several):
    one, other = several.of_a_process(), several.of_a_process()
    fail(one, 3)
    fail(other, 1)
    assert other.wait_s("a") == 0
    fail(one, 1)
    assert 0 < several.of_a_process().wait_s("a") <= 2 * LIMITS.pause_s
    standing = other.standing()
    assert (standing.state, standing.failures) == (State.OPEN, 5)
    assert standing.since < standing.next_probe_at
    assert len(several.changes) == 1


def test_failures_among_more_successes_do_not(several):
    one, other = several.of_a_process(), several.of_a_process()
    succeed(one)
    succeed(one, 20)
    fail(one, 15)
    assert one.standing().state is State.CLOSED
    # What was counted in silence is told with the next failure.
    succeed(other)
    fail(other, 9)
    assert one.standing().state is State.OPEN


def test_failures_that_are_long_past_do_not_count(several):
    one = several.of_a_process()
    fail(one, 4)
    several.pass_time(LIMITS.window_s)
    fail(one, 4)
    assert one.standing().state is State.CLOSED
    fail(one, 1)
    assert one.standing().state is State.OPEN


def test_successes_that_were_kept_back_do_not_count_for_a_later_part(several):
    one = several.of_a_process()
    assert one.wait_s("a caller") == 0
    succeed(one, 20)  # all but the first wait to be told
    assert one._successes > LIMITS.failures
    one._told_at -= LIMITS.window_s / breaker.PARTS
    fail(one, LIMITS.failures)
    assert one.standing().state is State.OPEN


def test_after_the_pause_one_of_many_probes_and_the_others_wait(several):
    opened(several)
    processes = [several.of_a_process() for _ in range(4)]
    start = threading.Barrier(32)

    def ask(number: int) -> float:
        start.wait()
        return processes[number % 4].wait_s(f"task-{number}")

    several.pass_time(LIMITS.pause_s)
    with ThreadPoolExecutor(32) as pool:
        waits = list(pool.map(ask, range(32)))
    assert min(waits) == 0
    assert sorted(waits)[1] > 0
    probe = waits.index(0)
    assert processes[0].standing().state is State.HALF_OPEN
    # Its transaction ran into a deadlock and it asks again; it is the same probe.
    assert processes[probe % 4].wait_s(f"task-{probe}") == 0


def test_a_probe_that_succeeds_closes_it_for_all(several):
    one, other = opened(several), several.of_a_process()
    assert other.wait_s("b") > 0
    several.let_probe(one, "a")
    assert other.wait_s("b") > 0
    succeed(one)
    assert other.wait_s("b") == 0
    assert other.standing().state is State.CLOSED
    assert len(several.changes) == 2
    # And it starts anew: the failures of before are forgotten.
    fail(one, 4)
    assert one.standing().state is State.CLOSED


def test_a_probe_that_fails_doubles_the_pause_up_to_the_longest(several):
    one = opened(several)
    pauses = []
    for number in range(4):
        several.let_probe(one, f"task-{number}")
        fail(one)
        pauses.append(several.pause_s())
    assert pauses == [120, 240, 240, 240]
    assert several.changes == [several.provider]


def test_a_second_try_within_the_call_that_failed_makes_the_pause_no_longer(several):
    one = opened(several)
    before = one.standing().next_probe_at
    fail(one, 3)
    assert one.standing().next_probe_at == before
    assert one.standing().failures == 8


def test_a_provider_that_asks_to_be_left_alone_for_longer_is(several):
    one = several.of_a_process()
    for _ in range(5):
        one.tell(has_failed=True, took_s=0, retry_after_s=100)
    assert several.pause_s() == 100


def test_what_was_sent_before_it_opened_tells_nothing(several):
    one = opened(several)
    several.let_probe(one, "a")
    one.tell(has_failed=False, took_s=2 * LIMITS.pause_s)
    assert one.standing().state is State.HALF_OPEN
    before = one.standing()
    one.tell(has_failed=True, took_s=2 * LIMITS.pause_s)
    assert one.standing() == before


def test_a_probe_whose_worker_died_is_replaced(several):
    one = opened(several)
    several.let_probe(one, "dies")
    assert one.wait_s("next") > 0
    several.pass_time(LIMITS.probe_s)
    assert one.wait_s("next") == 0


def test_a_healthy_provider_costs_a_round_trip_a_second(several, monkeypatch):
    one = several.of_a_process()
    asked = []
    do = one._cache.do
    monkeypatch.setattr(one._cache, "do", lambda work: (asked.append(1), do(work))[1])
    began = time.monotonic()
    assert one.wait_s("a") == 0
    for number in range(1000):
        one.wait_s(f"task-{number}")
        succeed(one)
    assert len(asked) < 8 * (1 + time.monotonic() - began)


def test_with_redis_away_it_is_closed_and_nobody_fails(fresh_valkey):
    valkey = fresh_valkey()
    one = Several(valkey.url).of_a_process()
    fail(one, 5)
    assert one.wait_s("a") > 0
    valkey.stop()
    assert one.wait_s("a") == 0
    fail(one, 7)
    succeed(one, 2)
    assert one.standing().state is State.UNKNOWN


@pytest.mark.parametrize(
    ("failure", "is_unwell"),
    [
        (None, False),
        (OutcomeUnknown(message="no answer in time", code="timeout"), True),
        (OutcomeUnknown(message="lost", code="connection_lost"), True),
        (OutcomeUnknown(message="a page", code="unreadable"), True),
        (OutcomeUnknown(message="broken", code="api_error", http_status=500), True),
        (NotExecuted(message="refused", code="not_connected"), True),
        (NotExecuted(message="slow down", code="rate_limit", http_status=429), True),
        (NotExecuted(message="broken", code="api_error", http_status=503), True),
        (NotExecuted(message="locked", code="lock_timeout", http_status=429), False),
        (OutcomeUnknown(message="in use", code="idempotency_key_in_use", http_status=409), False),
        (Rejected(message="bad", code="parameter_missing", http_status=400), False),
        (Rejected(message="who?", code="", http_status=401), False),
        (Declined(message="no", advice=Advice.STOP, http_status=402), False),
    ],
    ids=str,
)
def test_what_counts_as_unwell(failure: GatewayError | None, is_unwell):
    assert health.is_unwell(failure) == is_unwell


CALLED: list[str] = []


def claim(session, debt, *, provider: str):
    return None if debt.waits_for(session, provider) else provider


@calling_task("outbox.test_waits", claim=claim)
def call(debt, provider):
    """Call; end."""
    CALLED.append(provider)
    in_transaction(debt.end, debt.company_id)


@pytest.fixture
def away(database, monkeypatch, several):
    """A provider of this test's own, whose breaker is open."""
    breaker_of.cache_clear()
    monkeypatch.setattr(breaker.Limits, "of", lambda _: LIMITS)
    fail(breaker_of(several.provider), 5)
    yield several.provider
    breaker_of.cache_clear()


def owed_of(provider: str) -> Owed:
    with transaction() as session:
        return enqueue(session, "outbox.test_waits", provider=provider)


def test_what_needs_the_provider_waits_unclaimed_and_uses_up_no_try(away):
    CALLED.clear()
    owed = owed_of(away)
    for _ in range(6):
        ring("outbox.test_waits", owed.id)
    with transaction() as session:
        row = session.get_one(Owed, owed.id)
    assert (row.failures, row.starts, row.sends, row.claimed_until) == (0, 0, 0, None)
    assert row.error == f"{away} is away"
    assert row.due_at > row.updated_at
    assert CALLED == []
    other = f"provider-{new_id().hex}"
    ring("outbox.test_waits", owed_of(other).id)
    assert [other] == CALLED


def test_of_many_that_wait_one_probes_and_once_it_is_well_all_go_on(away, several):
    CALLED.clear()
    debts = [owed_of(away) for _ in range(12)]

    def ring_all() -> None:
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda owed: ring("outbox.test_waits", owed.id), debts))

    ring_all()
    assert CALLED == []
    one = breaker_of(away)
    for probes in (1, 2):
        several.pass_time(several.pause_s())
        ring_all()
        assert len(CALLED) == probes
        debts = [owed for owed in debts if _is_owed(owed)]
        if probes == 1:
            fail(one)
    succeed(one)
    ring_all()
    assert len(CALLED) == 12
    assert not any(map(_is_owed, debts))


def _is_owed(owed: Owed) -> bool:
    with transaction() as session:
        return session.get(Owed, owed.id) is not None


def test_people_are_told_when_it_opens_and_when_it_closes(away, several):
    def alerts() -> list[Alert]:
        with transaction() as session:
            found = session.scalars(select(Alert).where(Alert.kind == "provider_away"))
            return [alert for alert in found if away in alert.message]

    [alert] = alerts()
    assert alert.open_key == f"breaker:{away}"
    in_transaction(tell_people, None, away)
    assert len(alerts()) == 1
    one = breaker_of(away)
    several.let_probe(one, "a")
    succeed(one)
    [alert] = alerts()
    assert alert.open_key is None
    assert alert.resolved_at is not None
