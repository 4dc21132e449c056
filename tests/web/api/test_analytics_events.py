"""Events over the API: all of a request are taken or none, and 202 means that they are stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from models.analytics_events import AnalyticsEvent, Source
from models.clock import now
from models.ids import new_id
from tests.factories import make_company, make_module
from tests.web.visitor import problem_of
from worker.cache import Cache
from worker.collecting import accepting, stream
from worker.collecting.flushing import Flush
from worker.collecting.stream import Stream
from worker.database import transaction

EVENTS = "/api/v1/analytics/events"
COLLECTOR = "/api/v1/analytics/collector"
OPENED = {"event_type": "usage", "name": "report.opened"}


class Collector:
    """A stream of a test's own, and this process as a producer of it."""

    def __init__(self, valkey, monkeypatch):
        self.valkey = valkey
        self.monkeypatch = monkeypatch
        self.use(Stream(Cache(valkey.url)))
        monkeypatch.setattr(accepting, "ring", lambda: None)

    def use(self, into):
        self.stream = into
        self.producer = accepting.Producer(into, batch=100, told_within_s=3600)
        self.monkeypatch.setattr(accepting, "producer", lambda: self.producer)
        self.monkeypatch.setattr(stream, "stream", lambda: self.stream)

    def flush(self):
        Flush(self.stream, batch=100, claimed_after_s=60).run()


@pytest.fixture
def collector(own_valkey, monkeypatch):
    return Collector(own_valkey, monkeypatch)


@pytest.fixture
def nobody(monkeypatch):
    """Nobody accepts anything."""

    def accepts(*_):
        raise AssertionError("it was accepted")

    monkeypatch.setattr(accepting.Producer, "accept", accepts)


@pytest.fixture
def owner(visitor, person):
    """In this process, where a test's own stream is."""
    return visitor.sign_in(person.email)


def stored(customer):
    with transaction(company_id=customer.company_id) as session:
        query = select(AnalyticsEvent).order_by(AnalyticsEvent.timestamp, AnalyticsEvent.id)
        return session.scalars(query).all()


def test_one_event_is_accepted_and_stored_as_it_was_sent(collector, owner, person):
    module_id = make_module(person)
    at = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
    answer = owner.post(
        EVENTS,
        {
            "id": "mine-1",
            "event_type": "payment",
            "name": "checkout.opened",
            "timestamp": "2026-03-01T18:00:15.123456+05:30",
            "module_id": str(module_id),
            "user_id": str(person.user_id),
            "amount": "12.50",
            "currency": "EUR",
            "quantity": 3,
            "dimension": "mobile",
            "metadata": {"a": [1, {"b": None}]},
        },
    )
    assert answer.status_code == 202
    assert stored(person) == []
    collector.flush()
    [row] = stored(person)
    assert answer.json == {"accepted": 1, "ids": [str(row.id)]}
    assert (row.event_type, row.name, row.timestamp) == ("payment", "checkout.opened", at)
    assert (row.module_id, row.user_id) == (module_id, person.user_id)
    assert (row.amount, row.currency, row.quantity) == (Decimal("12.50"), "EUR", 3)
    assert (row.dimension, row.details) == ("mobile", {"a": [1, {"b": None}]})
    # Whatever a customer says is none of our own books.
    assert row.source == Source.API


def test_a_thousand_at_once_are_accepted_and_one_more_is_not(collector, owner, person):
    events = [{**OPENED, "id": str(number)} for number in range(1001)]
    problem_of(owner.post(EVENTS, {"events": events}), 422, "invalid")
    answer = owner.post(EVENTS, {"events": events[:1000]})
    assert answer.status_code == 202
    assert answer.json["accepted"] == 1000
    collector.flush()
    assert {str(row.id) for row in stored(person)} == set(answer.json["ids"])
    assert len(stored(person)) == 1000


def test_the_same_id_is_the_same_event_in_this_company_only(collector, owner, person):
    first = owner.post(EVENTS, {**OPENED, "id": "one"}).json["ids"]
    assert owner.post(EVENTS, {**OPENED, "id": "one"}).json["ids"] == first
    assert owner.post(EVENTS, {**OPENED, "id": "two"}).json["ids"] != first
    collector.flush()
    assert len(stored(person)) == 2


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"event_type": "gossip"}, "event_type"),
        ({"event_type": None}, "event_type"),
        ({"name": "Report Opened"}, "name"),
        ({"name": "n" * 101}, "name"),
        ({"name": ""}, "name"),
        ({"id": ""}, "id"),
        ({"id": "a b"}, "id"),
        ({"id": 1}, "id"),
        ({"timestamp": 1772366400}, "timestamp"),
        ({"timestamp": "2026-03-01T12:00:00"}, "timestamp"),
        ({"timestamp": "1999-12-31T23:59:59Z"}, "timestamp"),
        ({"amount": "1.001", "currency": "EUR"}, "amount"),
        ({"amount": "10000000000000", "currency": "EUR"}, "amount"),
        ({"amount": True, "currency": "EUR"}, "amount"),
        ({"amount": "1.00", "currency": "XXX"}, "currency"),
        ({"quantity": "1.00001"}, "quantity"),
        ({"quantity": "100000000000"}, "quantity"),
        ({"dimension": "d" * 101}, "dimension"),
        ({"dimension": "a\nb"}, "dimension"),
        ({"metadata": [1]}, "metadata"),
        ({"metadata": {"a": "x" * 4096}}, "metadata"),
        ({"module_id": "me"}, "module_id"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_taken(nobody, owner, changed, field):
    body = {"events": [OPENED, {**OPENED, **changed}]}
    problem = problem_of(owner.post(EVENTS, body), 422, "invalid")
    assert any(each["field"].startswith(f"events.1.{field}") for each in problem["errors"])


def test_an_amount_and_its_currency_go_together(nobody, owner):
    for half in ({"amount": "1.00"}, {"currency": "EUR"}):
        problem = problem_of(owner.post(EVENTS, {**OPENED, **half}), 422, "invalid")
        assert "amount and currency go together" in str(problem["errors"])


def test_a_time_far_ahead_is_refused_and_a_clock_that_is_a_little_fast_is_not(collector, owner):
    for ahead, status in ((timedelta(minutes=6), 422), (timedelta(minutes=4), 202)):
        event = {**OPENED, "timestamp": (now() + ahead).isoformat()}
        assert owner.post(EVENTS, event).status_code == status


def test_nothing_or_no_list_is_refused(nobody, owner):
    for body in ({}, {"events": []}, {"events": OPENED}, {"event": [OPENED]}):
        problem_of(owner.post(EVENTS, body), 422, "invalid")


def test_modules_and_people_of_others_are_as_good_as_none(nobody, owner):
    other = make_company()
    module_id = make_module(other)
    for named in (
        {"module_id": str(module_id)},
        {"module_id": str(new_id())},
        {"user_id": str(other.user_id)},
    ):
        body = {"events": [OPENED, {**OPENED, **named}]}
        problem = problem_of(owner.post(EVENTS, body), 422, "invalid")
        [error] = problem["errors"]
        assert error == {
            "field": f"events.1.{next(iter(named))}",
            "detail": "is none of the company's",
        }


def test_a_full_stream_says_when_to_come_back(collector, owner):
    collector.use(Stream(collector.stream._cache, most_events=1))
    assert owner.post(EVENTS, OPENED).status_code == 202
    answer = owner.post(EVENTS, OPENED)
    problem = problem_of(answer, 429, "too-many-requests")
    assert "1 events wait" in problem["detail"]
    assert int(answer.headers["Retry-After"]) > 0


def test_with_redis_away_an_event_is_stored_at_once(collector, owner, person):
    collector.valkey.stop()
    answer = owner.post(EVENTS, {"events": [OPENED, OPENED]})
    assert answer.status_code == 202
    assert {str(row.id) for row in stored(person)} == set(answer.json["ids"])


def test_with_both_away_nothing_is_accepted(collector, owner, monkeypatch):
    def away(*_):
        raise OperationalError("INSERT", {}, Exception(2013, "lost"))

    collector.valkey.stop()
    monkeypatch.setattr(accepting, "store", away)
    answer = owner.post(EVENTS, OPENED)
    assert "Neither Redis" in problem_of(answer, 503, "unavailable")["detail"]
    assert int(answer.headers["Retry-After"]) > 0


def test_switched_off_it_says_so(collector, owner, use):
    use(analytics_enabled="false")
    problem = problem_of(owner.post(EVENTS, OPENED), 404, "not-found")
    assert "ANALYTICS_ENABLED" in problem["detail"]


def test_operators_see_what_waits_and_what_became_of_the_rest(collector, owner, operator):
    before = operator.get(COLLECTOR).json
    assert (before["waiting"], before["lag_s"], before["is_enabled"]) == (0, 0, True)
    owner.post(EVENTS, {"events": [OPENED] * 3})
    waits = operator.get(COLLECTOR).json
    assert (waits["waiting"], waits["entries"], waits["held"]) == (3, 1, 0)
    assert waits["waiting_bytes"] > 0
    assert waits["lag_s"] >= 0
    collector.flush()
    after = operator.get(COLLECTOR).json
    assert (after["waiting"], after["stored"] - before["stored"]) == (0, 3)
    assert after["accepted"] - before["accepted"] == 3


def test_with_redis_away_operators_see_what_the_database_knows(collector, operator):
    collector.valkey.stop()
    told = operator.get(COLLECTOR).json
    assert (told["waiting"], told["lag_s"]) == (None, None)
    assert told["accepted"] >= told["stored"]


def test_ids_are_uuids_of_the_company(collector, owner):
    [identity] = owner.post(EVENTS, {**OPENED, "id": "one"}).json["ids"]
    assert UUID(identity).version == 5
