"""Events as they are kept: once each, on the right day, and their days marked."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import delete, select, update

from models.analytics_events import (
    AnalyticsEvent,
    DirtyDay,
    EventType,
    NewEvent,
    Source,
    event_id,
    store,
)
from models.ids import new_id
from models.tenants import Company
from tests.factories import make_company
from worker.database import in_transaction, transaction

AT = datetime(2026, 3, 1, 20, 0, tzinfo=UTC)


def made(company_id, key=None, **changed):
    return NewEvent(
        **{
            "id": event_id(company_id, key) if key else event_id(company_id),
            "company_id": company_id,
            "event_type": EventType.PAYMENT,
            "name": "payment.succeeded",
            "timestamp": AT,
            "source": Source.OWN,
            **changed,
        }
    )


def kept(company_id):
    with transaction(company_id=company_id) as session:
        return session.scalars(select(AnalyticsEvent).order_by(AnalyticsEvent.timestamp)).all()


def marks(company_id):
    with transaction(company_id=company_id) as session:
        return {row.date: row.marked for row in session.scalars(select(DirtyDay))}


def keep(*events):
    return in_transaction(store, None, list(events))


def test_an_event_is_kept_with_all_that_it_says(customer):
    user, module = new_id(), new_id()
    event = made(
        customer.company_id,
        amount=Decimal("12.50"),
        currency="EUR",
        quantity=Decimal("3.2500"),
        dimension="insufficient_funds",
        user_id=user,
        module_id=module,
        metadata={"a": [1, "ü\\'"], "b": None},
    )
    assert keep(event) == 1
    [row] = kept(customer.company_id)
    assert (row.id, row.event_type, row.name) == (event.id, "payment", "payment.succeeded")
    assert (row.amount, row.currency, row.quantity) == (Decimal("12.50"), "EUR", Decimal("3.25"))
    assert (row.user_id, row.module_id, row.dimension) == (user, module, "insufficient_funds")
    assert row.details == {"a": [1, "ü\\'"], "b": None}
    assert (row.timestamp, row.source) == (AT, Source.OWN)


def test_the_same_event_is_kept_once_however_often_it_comes(customer):
    first, second, third = (made(customer.company_id, key) for key in "abc")
    assert keep(first, second, first) == 2
    assert keep(second, third) == 1
    assert keep(first) == 0
    assert len(kept(customer.company_id)) == 3


def test_one_key_of_two_companies_is_two_events(customer):
    other = make_company()
    assert event_id(customer.company_id, "a") != event_id(other.company_id, "a")
    assert event_id(customer.company_id) != event_id(customer.company_id)
    assert event_id(customer.company_id, "a", "b") != event_id(customer.company_id, "ab")


def test_the_day_is_that_of_the_companys_zone(customer):
    with transaction() as session:
        company = update(Company).where(Company.id == customer.company_id)
        session.execute(company.values(time_zone="Asia/Kolkata"))
    keep(made(customer.company_id))
    [row] = kept(customer.company_id)
    assert row.date == date(2026, 3, 2)
    assert list(marks(customer.company_id)) == [date(2026, 3, 2)]


def test_a_day_is_marked_anew_by_each_change_and_by_nothing_else(customer):
    event = made(customer.company_id, "a")
    keep(event)
    before = marks(customer.company_id)[AT.date()]
    keep(event)
    assert marks(customer.company_id)[AT.date()] == before
    keep(made(customer.company_id, "b"))
    after = marks(customer.company_id)[AT.date()]
    assert after > before
    with transaction(company_id=customer.company_id) as session:
        session.execute(delete(DirtyDay))
    keep(made(customer.company_id, "c"))
    assert marks(customer.company_id)[AT.date()] > after


def test_an_event_of_no_company_is_refused_and_nothing_of_its_batch_is_kept(customer):
    with pytest.raises(LookupError):
        keep(made(customer.company_id), made(new_id()))
    assert kept(customer.company_id) == []


def test_what_does_not_fit_is_an_error_and_never_cut(customer):
    for wrong in ({"name": "n" * 101}, {"amount": Decimal("1e14")}, {"currency": "EURO"}):
        with pytest.raises(Exception, match=r"Data too long|Out of range"):
            keep(made(customer.company_id, **wrong))
    assert kept(customer.company_id) == []
