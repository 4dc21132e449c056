"""A provider's breaker on a real Redis: when it opens, who probes, when it closes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import select

from models.alerts import Alert
from models.ids import new_id
from models.outbox import Owed, enqueue
from tests.bell import ring
from tests.waiting import wait_for
from worker import breaker
from worker.app import calling_task
from worker.breaker import Limits, ProviderBreaker, State, breaker_of, tell_people
from worker.cache import Cache
from worker.database import in_transaction, transaction
from worker.gateways import health
from worker.gateways.base import Advice, Declined, GatewayError, OutcomeUnknown, Rejected
from worker.gateways.base import Unavailable as NotExecuted

LIMITS = Limits(failures=5, share=0.5, window_s=30, pause_s=0.2, longest_pause_s=0.8, probe_s=20)


class Several:
    """One provider's breaker as several processes have it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.provider = f"provider-{uuid4().hex}"
        self.changes: list[str] = []

    def of_a_process(self, limits: Limits = LIMITS) -> ProviderBreaker:
        cache = Cache(self.url)
        return ProviderBreaker(self.provider, cache, limits, on_change=self.changes.append)


@pytest.fixture
def several(redis_url: str) -> Several:
    return Several(redis_url)


def fail(one: ProviderBreaker, times: int = 1) -> None:
    for _ in range(times):
        one.tell(has_failed=True, took_s=0)


def succeed(one: ProviderBreaker, times: int = 1) -> None:
    for _ in range(times):
        one.tell(has_failed=False, took_s=0)


def opened(several: Several, limits: Limits = LIMITS) -> ProviderBreaker:
    one = several.of_a_process(limits)
    fail(one, limits.failures)
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
    brief = Limits(**{**vars(LIMITS), "window_s": 0.6})
    one = several.of_a_process(brief)
    fail(one, 4)
    time.sleep(0.75)  # the window itself
    fail(one, 4)
    assert one.standing().state is State.CLOSED
    fail(one, 1)
    assert one.standing().state is State.OPEN


def test_successes_that_were_kept_back_do_not_count_for_a_later_part(several):
    one = several.of_a_process(replace(LIMITS, window_s=1.2))
    assert one.wait_s("a caller") == 0
    succeed(one, 20)  # all but the first wait to be told
    until = time.monotonic() + 0.3
    wait_for(lambda: time.monotonic() > until)
    fail(one, LIMITS.failures)
    assert one.standing().state is State.OPEN


def test_after_the_pause_one_of_many_probes_and_the_others_wait(several):
    opened(several)
    processes = [several.of_a_process() for _ in range(4)]
    start = threading.Barrier(32)

    def ask(number: int) -> float:
        start.wait()
        return processes[number % 4].wait_s(f"task-{number}")

    wait_for(lambda: time.time() > processes[0].standing().next_probe_at.timestamp(), 5)
    with ThreadPoolExecutor(32) as pool:
        waits = list(pool.map(ask, range(32)))
    assert min(waits) == 0
    assert sorted(waits)[1] > 0
    probe = waits.index(0)
    assert processes[0].standing().state is State.HALF_OPEN
    # Its transaction ran into a deadlock and it asks again; it is the same probe.
    assert processes[probe % 4].wait_s(f"task-{probe}") == 0


def until_probe(one: ProviderBreaker, who: str) -> None:
    wait_for(lambda: one.wait_s(who) == 0, 5)


def test_a_probe_that_succeeds_closes_it_for_all(several):
    one, other = opened(several), several.of_a_process()
    assert other.wait_s("b") > 0
    until_probe(one, "a")
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
        until_probe(one, f"task-{number}")
        before = time.time()
        fail(one)
        pauses.append(one.standing().next_probe_at.timestamp() - before)
    assert [round(pause, 1) for pause in pauses] == [0.4, 0.8, 0.8, 0.8]
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
        one.tell(has_failed=True, took_s=0, retry_after_s=0.6)
    assert 0.4 < one.standing().next_probe_at.timestamp() - time.time() <= 0.65


def test_what_was_sent_before_it_opened_tells_nothing(several):
    one = opened(several)
    until_probe(one, "a")
    one.tell(has_failed=False, took_s=20)
    assert one.standing().state is State.HALF_OPEN
    before = one.standing()
    one.tell(has_failed=True, took_s=20)
    assert one.standing() == before


def test_a_probe_whose_worker_died_is_replaced(several):
    one = opened(several, Limits(**{**vars(LIMITS), "probe_s": 0.3}))
    until_probe(one, "dies")
    assert one.wait_s("next") > 0
    until_probe(one, "next")


def test_a_healthy_provider_costs_a_round_trip_a_second(several, monkeypatch):
    one = several.of_a_process()
    asked = []
    do = one._cache.do
    monkeypatch.setattr(one._cache, "do", lambda work: (asked.append(1), do(work))[1])
    assert one.wait_s("a") == 0
    for number in range(1000):
        one.wait_s(f"task-{number}")
        succeed(one)
    assert len(asked) < 8


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
def away(database, monkeypatch, request):
    """A provider of this test's own, whose breaker is open."""
    provider = f"provider-{uuid4().hex}"
    breaker_of.cache_clear()
    limits = Limits(**{**vars(LIMITS), **getattr(request, "param", {})})
    monkeypatch.setattr(breaker.Limits, "of", lambda _: limits)
    fail(breaker_of(provider), 5)
    yield provider
    breaker_of.cache_clear()


def owed_of(provider: str) -> Owed:
    with transaction() as session:
        return enqueue(session, "outbox.test_waits", provider=provider)


@pytest.mark.parametrize("away", [{"pause_s": 60, "longest_pause_s": 60}], indirect=True)
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


@pytest.mark.parametrize("away", [{"pause_s": 1.5, "longest_pause_s": 1.5}], indirect=True)
def test_of_many_that_wait_one_probes_and_once_it_is_well_all_go_on(away):
    CALLED.clear()
    debts = [owed_of(away) for _ in range(12)]

    def ring_all() -> None:
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda owed: ring("outbox.test_waits", owed.id), debts))

    ring_all()
    assert CALLED == []
    one = breaker_of(away)
    for probes in (1, 2):
        wait_for(lambda: time.time() > one.standing().next_probe_at.timestamp(), 5)
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


def test_people_are_told_when_it_opens_and_when_it_closes(away):
    def alerts() -> list[Alert]:
        with transaction() as session:
            found = session.scalars(select(Alert).where(Alert.kind == "provider_away"))
            return [alert for alert in found if away in alert.message]

    [alert] = alerts()
    assert alert.open_key == f"breaker:{away}"
    in_transaction(tell_people, None, away)
    assert len(alerts()) == 1
    one = breaker_of(away)
    until_probe(one, "a")
    succeed(one)
    [alert] = alerts()
    assert alert.open_key is None
    assert alert.resolved_at is not None
