"""Our own events: told with the commit that makes them true, stored once, and agreeing with it."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from models.analytics_events import AnalyticsEvent, Source
from models.metric_registry import METRICS
from models.money import Money
from models.outbox import Owed
from models.own_events import OWN_EVENTS
from models.tenants import Company
from models.tracking import RECORD, track_for
from tests.bell import ring
from worker.database import transaction


def owed(company_id):
    with transaction() as session:
        query = select(Owed.id).where(Owed.task == RECORD, Owed.company_id == company_id)
        return list(session.scalars(query))


def stored(company_id):
    with transaction(company_id=company_id) as session:
        return list(session.scalars(select(AnalyticsEvent).order_by(AnalyticsEvent.timestamp)))


def test_what_a_transaction_tracks_is_one_debt_and_each_event_is_stored_once(customer):
    company_id = customer.company_id
    money = Money(Decimal("12.50"), "INR")
    with transaction(company_id=company_id) as session:
        track_for(session, "payment.succeeded", company_id, "a", money=money)
        track_for(session, "usage.recorded", company_id, "b", quantity=3, dimension="sms")
        track_for(session, "payment.succeeded", company_id, "a", money=money)
    [debt] = owed(company_id)
    ring(RECORD, debt)
    ring(RECORD, debt)
    assert owed(company_id) == []
    with transaction(company_id=company_id) as session:
        track_for(session, "payment.succeeded", company_id, "a", money=money)
    ring(RECORD, *owed(company_id))
    told = {
        (each.name, each.amount, each.currency, each.quantity, each.dimension, each.source)
        for each in stored(company_id)
    }
    assert len(stored(company_id)) == 2
    assert told == {
        ("payment.succeeded", Decimal("12.50"), "INR", None, "", Source.OWN),
        ("usage.recorded", None, None, Decimal("3.0000"), "sms", Source.OWN),
    }


def test_nothing_is_told_of_what_was_rolled_back(customer):
    with transaction(company_id=customer.company_id) as session:
        track_for(session, "payment.succeeded", customer.company_id, "a")
        session.rollback()
    assert owed(customer.company_id) == []


def test_a_savepoint_that_is_rolled_back_takes_nothing_along(customer):
    with transaction(company_id=customer.company_id) as session:
        track_for(session, "payment.succeeded", customer.company_id, "a")
        with pytest.raises(IntegrityError), session.begin_nested():
            session.add(Company(id=customer.company_id, tenant_id=customer.tenant_id, name="twin"))
    assert len(owed(customer.company_id)) == 1


def test_a_name_that_is_in_no_table_is_refused(customer):
    with pytest.raises(KeyError), transaction(company_id=customer.company_id) as session:
        track_for(session, "payment.suceeded", customer.company_id, "a")


def test_every_metric_is_of_events_that_are_told():
    used = {name for metric in METRICS.values() for name in metric.events}
    assert used <= set(OWN_EVENTS)


def told_of(company_id):
    return [
        (each.name, each.dimension, each.amount)
        for each in stored(company_id)
        if each.name.startswith("payment.")
    ]


def test_a_recovery_is_told_with_each_step_of_the_ladder(shop):
    shop.decline_next("insufficient_funds", count=2)
    payment_id = shop.pay(shop.card())
    shop.climb_when_due(payment_id)
    shop.climb_when_due(payment_id)
    assert Counter(told_of(shop.company_id)) == Counter(
        {
            ("payment.attempted", "insufficient_funds", None): 2,
            ("payment.retried", "1", None): 1,
            ("payment.retried", "2", None): 1,
            ("payment.attempted", "", None): 1,
            ("payment.recovered", "2", Decimal("100.00")): 1,
            ("payment.succeeded", "", Decimal("100.00")): 1,
        }
    )


def test_a_payment_fails_for_good_once_however_long_it_climbed(shop):
    payment_id = shop.pay(shop.card("pm_sandbox_decline_insufficient_funds"))
    for _ in range(3):
        shop.climb_when_due(payment_id)
    told = Counter(name for name, _, _ in told_of(shop.company_id))
    assert told == {"payment.attempted": 4, "payment.retried": 3, "payment.failed": 1}
