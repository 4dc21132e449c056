"""Webhooks are lost for days: what they would have told is fetched, and each has one effect."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import orjson
import pytest
from sqlalchemy import delete, select

from models import clock
from models.alerts import Alert
from models.cursors import ProviderCursor
from models.outbox import Owed
from models.timeline import history
from models.transactions import Status
from models.webhooks import FETCHED, PaymentWebhook, WebhookStatus
from tasks import missed
from tests.bell import ring
from worker.database import transaction
from worker.intake import Arrival, Outcome, intake
from worker.settings import settings
from worker.signatures import event_of

NOWHERE = "http://127.0.0.1:9/"


@pytest.fixture
def lost(shop):
    """The shop's stand-in, whose events all get lost; nobody has looked for any yet."""
    with transaction() as session:
        session.execute(delete(ProviderCursor))
        for alert in session.scalars(select(Alert).where(Alert.kind == "webhooks_missed")):
            session.delete(alert)
    shop.sandbox.control.webhooks(url=NOWHERE, drop=1_000_000)
    yield shop.sandbox.control
    intake().close()
    intake.cache_clear()


def look(shop) -> None:
    """Look when it is due, and handle what came."""
    shop.advance(seconds=settings().missed_events_every_s)
    missed.fetch_missed()
    with transaction() as session:
        rows = list(session.scalars(select(Owed).where(Owed.task == "webhooks.handle")))
    for row in rows:
        ring(row.task, row.id)
    shop.work()


def events_in(control) -> set[str]:
    return {event["id"] for event in control.book()["events"]}


def stored(control) -> dict[str, PaymentWebhook]:
    with transaction() as session:
        query = select(PaymentWebhook).where(
            PaymentWebhook.provider_event_id.in_(events_in(control))
        )
        return {row.provider_event_id: row for row in session.scalars(query)}


def pass_days(shop, control, days: int) -> None:
    """Set both clocks forward, ours and the provider's."""
    shop.advance(days=days)
    control.advance(days * 86_400)


def at_work(shop) -> tuple:
    payment_id = shop.pay(shop.card("pm_sandbox_processing"))
    return payment_id, shop.payment(payment_id).provider_transaction_id


def effects(shop, payment_id) -> list[str]:
    with shop.session() as session:
        return [line.event_id for line in history(session, [payment_id]) if line.what == "event"]


def position() -> datetime | None:
    with transaction() as session:
        cursor = session.scalars(select(ProviderCursor)).one()
        return datetime.fromisoformat(cursor.position) if cursor.position else None


def test_three_days_of_lost_webhooks_come_in_and_each_has_one_effect(shop, lost):
    look(shop)
    settled, declined = at_work(shop), at_work(shop)
    paid = shop.pay(shop.card())
    pass_days(shop, lost, 1)
    lost.settle(settled[1])
    lost.settle(declined[1], outcome="failed")
    lost.refund(payment_intent=shop.payment(paid).provider_transaction_id, amount=40_00)
    pass_days(shop, lost, 2)
    look(shop)
    assert stored(lost).keys() == events_in(lost)
    assert all(FETCHED in row.headers for row in stored(lost).values())
    assert {row.status for row in stored(lost).values()} == {
        WebhookStatus.COMPLETED,
        WebhookStatus.IGNORED,
    }
    assert shop.payment(settled[0]).status == Status.SUCCEEDED
    assert shop.payment(declined[0]).status == Status.FAILED
    assert shop.payment(paid).status == Status.PARTIALLY_REFUNDED
    before = {each: effects(shop, each) for each in (settled[0], declined[0], paid)}
    for events in before.values():
        assert events
        assert len(set(events)) == len(events)
    look(shop)
    look(shop)
    assert {each: effects(shop, each) for each in before} == before


def test_an_event_that_comes_after_it_was_fetched_changes_nothing(shop, lost):
    payment_id = shop.pay(shop.card())
    look(shop)
    before = effects(shop, payment_id)
    for event in lost.book()["events"]:
        arrival = Arrival("stripe", event_of(orjson.dumps(event)), {}, None)
        assert intake().store(arrival) is Outcome.DUPLICATE
    look(shop)
    assert effects(shop, payment_id) == before


def test_what_was_delivered_is_not_fetched(shop, lost):
    lost.webhooks(url="")  # nobody is owed an event, so none is undelivered
    shop.pay(shop.card())
    look(shop)
    assert stored(lost) == {}


def test_more_than_a_page_is_fetched_to_its_end(shop, lost):
    customers = shop.sandbox.client().v1.customers
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: customers.create({"name": str(n)}), range(230)))
    look(shop)
    assert len(stored(lost)) >= 230
    assert stored(lost).keys() == events_in(lost)


def test_a_look_that_breaks_off_is_made_again_from_where_the_last_one_ended(shop, lost):
    look(shop)
    began = position()
    shop.pay(shop.card())
    lost.fault("server_error", method="GET", path="/v1/events", count=1)
    look(shop)
    assert position() == began
    assert stored(lost) == {}
    look(shop)
    assert position() > began
    assert stored(lost).keys() == events_in(lost)


def test_nobody_looks_twice_in_the_same_minutes(shop, lost):
    look(shop)
    began = position()
    shop.advance(seconds=settings().missed_events_every_s / 2)
    shop.pay(shop.card())
    missed.fetch_missed()
    assert (position(), stored(lost)) == (began, {})
    look(shop)
    assert stored(lost)


def test_many_who_look_at_once_take_each_event_in_once(shop, lost):
    payment_id = shop.pay(shop.card())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: missed.fetch_missed(), range(4)))
    look(shop)
    assert stored(lost).keys() == events_in(lost)
    assert len(effects(shop, payment_id)) == len(set(effects(shop, payment_id)))


def test_no_look_goes_further_back_than_events_are_kept(shop, lost, monkeypatch):
    asked = []
    gateway = missed.gateway_for("stripe")
    listed = gateway.missed_events
    monkeypatch.setattr(
        gateway, "missed_events", lambda *, since: asked.append(since) or listed(since=since)
    )
    look(shop)
    first = clock.now()
    shop.advance(hours=5)
    look(shop)
    shop.advance(days=45)
    look(shop)
    after = clock.now()
    tolerance = timedelta(seconds=30)
    wanted = [first - timedelta(days=30), first - timedelta(hours=2), after - timedelta(days=30)]
    for since, meant in zip(asked, wanted, strict=True):
        assert abs(since - meant) < tolerance


def test_webhooks_that_stay_away_are_told_and_so_is_that_they_come_again(shop, lost):
    def alerts() -> list[Alert]:
        with transaction() as session:
            return list(session.scalars(select(Alert).where(Alert.kind == "webhooks_missed")))

    shop.pay(shop.card())
    look(shop)
    # They were only minutes on their way, by the provider's clock.
    first = [alert.resolved_at for alert in alerts()]
    shop.pay(shop.card())
    shop.advance(hours=1)
    look(shop)
    assert first == []
    [raised] = alerts()
    assert "webhook endpoint" in raised.message
    assert raised.resolved_at is None
    look(shop)
    [raised] = alerts()
    assert raised.resolved_at is not None
