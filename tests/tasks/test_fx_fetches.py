"""Asking the source of exchange rates, at a stand-in over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

import pytest

from models import fx_fetches
from models.clock import now
from models.fx import FetchStatus
from models.money import CURRENCIES
from sandbox.fx import market
from tests.bell import ring
from tests.exchange import Exchange, opened
from worker.database import transaction
from worker.fx.client import OpenExchangeRates, source
from worker.gateways.base import Rejected, Unavailable
from worker.settings import settings


@pytest.fixture
def exchange(database, fx, monkeypatch) -> Iterator[Exchange]:
    with opened(fx, monkeypatch) as made:
        yield made


def ask(**about) -> None:
    with transaction() as session:
        fx_fetches.begin(session, moment=now(), **about)


def test_the_days_rates_are_fetched_once_and_kept_exactly(exchange, fx):
    exchange.watch()
    exchange.watch()
    [owed] = exchange.owed()
    ring(owed.task, owed.id)
    ring(owed.task, owed.id)
    exchange.watch()
    assert exchange.owed() == []
    assert [(each["path"], each["status"]) for each in exchange.control.asks()] == [
        ("/api/latest.json", 200)
    ]
    [fetch] = exchange.fetches()
    assert (fetch.status, fetch.open_key) == (FetchStatus.STORED, None)
    kept = {each.currency: each.rate for each in exchange.rates()}
    assert kept.keys() == CURRENCIES - {"USD"}
    told = market.rates_at(round(fetch.as_of.timestamp()))
    assert kept == {currency: told[currency] for currency in kept}
    assert {(each.source, each.base, each.as_of) for each in exchange.rates()} == {
        ("openexchangerates", "USD", fetch.as_of)
    }


def test_two_beats_at_once_owe_one_question(exchange):
    together = threading.Barrier(4)

    def beat() -> None:
        together.wait()
        exchange.watch()

    beats = [threading.Thread(target=beat) for _ in range(4)]
    for each in beats:
        each.start()
    for each in beats:
        each.join()
    assert len(exchange.owed()) == len(exchange.fetches()) == 1


def test_the_next_day_is_asked_for_again(exchange):
    exchange.watch()
    exchange.work()
    exchange.advance(days=1)
    exchange.watch()
    exchange.work()
    assert len({each.as_of for each in exchange.rates()}) == 2
    assert len(exchange.control.asks()) == 2


def test_who_asks_again_within_a_minute_hears_what_was_told(exchange):
    ask()
    exchange.work()
    ask()
    assert exchange.owed() == []
    exchange.advance(minutes=2)
    ask()
    exchange.work()
    # The source moves by the hour; two minutes may lie in two.
    assert exchange.fetches()[-1].status in (FetchStatus.UNCHANGED, FetchStatus.STORED)
    assert len(exchange.control.asks()) == 2


def test_a_past_days_last_rates_can_be_asked_for(exchange):
    day = now().date() - timedelta(days=40)
    ask(day=day)
    exchange.work()
    [fetch] = exchange.fetches()
    assert (fetch.status, fetch.as_of.date()) == (FetchStatus.STORED, day)
    assert exchange.control.asks()[0]["path"] == f"/api/historical/{day}.json"


@pytest.mark.parametrize("kind", ["rate_limit", "server_error", "drop_before", "garbage"])
def test_what_may_pass_is_tried_again_in_minutes(exchange, kind, unbroken):
    exchange.control.fault(kind)
    exchange.watch()
    exchange.work()
    [owed] = exchange.owed()
    assert owed.due_at - now() > timedelta(seconds=settings().outbox_backoff_s - 10)
    assert (exchange.fetches()[0].status, exchange.rates()) == (FetchStatus.OWED, [])
    exchange.advance(minutes=2)
    exchange.work()
    assert exchange.fetches()[0].status == FetchStatus.STORED


def test_a_source_that_stays_away_is_given_up_until_the_next_hour(exchange, unbroken):
    exchange.control.fault("server_error", count=None)
    exchange.watch()
    for _ in range(4):
        exchange.work()
        exchange.advance(minutes=10)
    assert exchange.owed() == []
    assert exchange.fetches()[0].status == FetchStatus.FAILED
    exchange.control.clear_faults()
    exchange.watch()
    exchange.work()
    assert exchange.fetches()[-1].status == FetchStatus.STORED


@pytest.mark.parametrize("kind", ["unauthorized", "not_allowed"])
def test_a_source_that_refuses_us_is_told_to_people(exchange, kind):
    exchange.control.fault(kind)
    exchange.watch()
    exchange.work()
    assert exchange.owed() == []
    assert exchange.fetches()[0].status == FetchStatus.FAILED
    assert exchange.alerts() == ["fx_failed"]
    exchange.watch()
    exchange.work()
    assert exchange.alerts() == []


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no_base", "It is in no base"),
        ("zero", "EUR is at 0"),
        ("negative", "EUR is at -"),
        ("truncated", "before there were"),
    ],
)
def test_what_cannot_be_true_is_kept_nowhere(exchange, kind, said):
    exchange.watch()
    exchange.work()
    before = [each.id for each in exchange.rates()]
    exchange.advance(days=1)
    exchange.control.fault(kind)
    exchange.watch()
    exchange.work()
    assert [each.id for each in exchange.rates()] == before
    fetch = exchange.fetches()[-1]
    assert fetch.status == FetchStatus.REFUSED
    assert said in fetch.error
    assert exchange.alerts() == ["fx_refused"]


def test_a_jump_is_refused_until_somebody_says_that_it_is_so(exchange):
    exchange.watch()
    exchange.work()
    exchange.control.set_rate("EUR", "0.4")
    exchange.advance(days=1)
    ask()
    exchange.work()
    assert "EUR moved by" in exchange.fetches()[-1].error
    ask(accepts_jumps=True)
    exchange.work()
    assert exchange.fetches()[-1].status == FetchStatus.STORED
    euro = [each.rate for each in exchange.rates() if each.currency == "EUR"]
    assert euro[-1] == Decimal("0.4")
    assert exchange.alerts() == []


def test_who_accepts_jumps_while_a_question_is_owed_is_heard(exchange):
    exchange.watch()
    exchange.work()
    exchange.control.set_rate("EUR", "0.4")
    exchange.advance(days=1)
    ask()
    ask(accepts_jumps=True)
    [owed] = exchange.owed()
    ring(owed.task, owed.id)
    assert exchange.fetches()[-1].status == FetchStatus.STORED


def test_rates_that_grow_old_are_told_until_there_are_fresh_ones(exchange, unbroken):
    exchange.watch()
    exchange.work()
    exchange.control.fault("server_error", count=None)
    exchange.advance(hours=40)
    exchange.watch()
    exchange.work()
    assert exchange.alerts() == ["fx_stale"]
    exchange.control.clear_faults()
    exchange.advance(minutes=10)
    exchange.work()
    assert exchange.alerts() == []


def test_a_question_that_dies_is_no_end_of_all_questions(exchange, monkeypatch):
    from tasks import fx

    def broken(*_):
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(fx, "_record", broken)
        exchange.watch()
        [owed] = exchange.owed()
        for _ in range(5):
            ring(owed.task, owed.id)
            exchange.advance(minutes=20)
    assert exchange.fetches()[0].status == FetchStatus.FAILED
    exchange.watch()
    exchange.work()
    assert exchange.fetches()[-1].status == FetchStatus.STORED


def test_the_app_id_is_in_no_log_and_no_row(exchange, fx, caplog):
    caplog.set_level("DEBUG")
    exchange.control.fault("unauthorized")
    exchange.watch()
    exchange.work()
    ask()
    exchange.work()
    assert "openexchangerates latest" in caplog.text
    assert fx.app_id not in caplog.text
    rows = [str(vars(row)) for row in (*exchange.fetches(), *exchange.owed())]
    assert not any(fx.app_id in row for row in rows)
    assert fx.app_id not in repr(settings())


def test_without_a_source_nothing_is_owed(database, exchange, monkeypatch):
    monkeypatch.delenv("OPENEXCHANGERATES_BASE")
    monkeypatch.delenv("OPENEXCHANGERATES_APP_ID")
    settings.cache_clear()
    exchange.watch()
    assert exchange.owed() == []


def test_errors_say_whether_patience_helps(exchange, fx, unbroken):
    exchange.control.fault("timeout_before", delay_ms=60_000)
    hasty = OpenExchangeRates(app_id=fx.app_id, base=fx.url, timeout_s=0.3)
    with pytest.raises(Unavailable) as late:
        hasty.latest()
    hasty.close()
    assert late.value.code == "timeout"
    exchange.control.fault("rate_limit")
    with pytest.raises(Unavailable) as limited:
        source().latest()
    assert limited.value.code == "access_restricted"
    with pytest.raises(Rejected) as missing:
        source().historical(date(1990, 1, 1))
    assert (missing.value.code, missing.value.http_status) == ("not_found", 404)
