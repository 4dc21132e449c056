"""Roll-ups: what the days came to, whatever came late, twice, or in between."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import delete, select, text, update

from models import daily_metrics
from models.analytics_events import DirtyDay, NewEvent, Source, event_id, mark_days, store
from models.base import across_companies
from models.clock import now
from models.daily_metrics import ClaimLost, DailyMetric
from models.ids import new_id
from models.outbox import Owed
from models.tenants import Company
from tasks import metrics
from tests.bell import ring
from tests.factories import make_company
from worker.database import in_transaction, transaction

AT = datetime(2026, 3, 1, 20, 0, tzinfo=UTC)
DAY = date(2026, 3, 1)
ZONES = ("UTC", "Asia/Kolkata", "America/Los_Angeles", "Pacific/Kiritimati", "Australia/Lord_Howe")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

# What each kept value is, in SQL that knows nothing of the registry.
RECOUNT = {
    "revenue": ("payment.succeeded", "SUM(amount)", "currency", "''"),
    "refunds": ("refund.succeeded", "SUM(amount)", "currency", "''"),
    "mrr": ("mrr.changed", "SUM(amount)", "currency", "''"),
    "arr": ("mrr.changed", "12 * SUM(amount)", "currency", "''"),
    "payments_attempted": ("payment.attempted", "COUNT(*)", "''", "dimension"),
    "payment_success_rate:terms": ("payment.attempted", "SUM(dimension = '')", "''", "''"),
    "payment_success_rate:per": ("payment.attempted", "COUNT(*)", "''", "''"),
    "recoveries": ("payment.recovered", "COUNT(*)", "''", "dimension"),
    "recovery_rate:per": ("payment.retried", "COUNT(*)", "''", "dimension"),
    "days_to_pay:terms": ("invoice.paid", "SUM(quantity)", "''", "''"),
    "usage": ("usage.recorded", "SUM(quantity)", "''", "dimension"),
}
NAMES = sorted({each[0] for each in RECOUNT.values()})


def made(company_id, at=AT, **changed) -> NewEvent:
    return NewEvent(
        **{
            "id": event_id(company_id),
            "company_id": company_id,
            "event_type": "payment",
            "name": "payment.succeeded",
            "timestamp": at,
            "source": Source.OWN,
            "amount": Decimal("10.00"),
            "currency": "EUR",
            **changed,
        }
    )


def keep(*events) -> int:
    return in_transaction(store, None, list(events))


def kept(company_id, name="revenue") -> dict:
    with transaction(company_id=company_id) as session:
        rows = session.scalars(select(DailyMetric).where(DailyMetric.metric_name == name))
        return {(row.date, row.currency, row.dimension): row.metric_value for row in rows}


def marks(company_id) -> dict:
    with transaction(company_id=company_id) as session:
        return {row.date: row.marked for row in session.scalars(select(DirtyDay))}


def claim_of(*company_ids):
    """Claim the days of these companies, and no other test's."""
    with transaction() as session:
        others = update(DirtyDay).where(DirtyDay.company_id.not_in(company_ids))
        others = others.values(claimed_until=now() + timedelta(days=1), claim=new_id())
        session.execute(across_companies(others, because="they are other tests'"))
    return in_transaction(lambda session: daily_metrics.claim(session, before=now()), None)


def recount(company_id) -> dict:
    found = {}
    with transaction() as session:
        for name, (event, value, currency, dimension) in RECOUNT.items():
            rows = session.execute(
                across_companies(
                    text(
                        f"SELECT date, COALESCE({currency}, ''), {dimension}, {value} AS v"
                        " FROM analytics_events WHERE company_id = :company AND name = :event"
                        " AND source = 'own' GROUP BY 1, 2, 3 HAVING v <> 0"
                    ).bindparams(company=company_id.bytes, event=event),
                    because="a recount of one company's",
                )
            )
            found |= {(name, row[0], row[1], row[2]): Decimal(row[3]) for row in rows}
    return found


def rolled(company_id) -> dict:
    return {
        (name, *cell): value for name in RECOUNT for cell, value in kept(company_id, name).items()
    }


def test_a_day_is_rolled_up_in_the_companys_zone_and_its_mark_ends(customer):
    company_id = customer.company_id
    with transaction() as session:
        session.get(Company, company_id).time_zone = "Asia/Kolkata"
    keep(made(company_id), made(company_id, currency="INR"), made(company_id, source=Source.API))
    metrics.roll_up()
    day = date(2026, 3, 2)
    assert kept(company_id) == {(day, "EUR", ""): 10, (day, "INR", ""): 10}
    assert kept(company_id, "payments_succeeded") == {(day, "", ""): 2}
    assert kept(company_id, "active_companies") == {(day, "", ""): 1}
    assert marks(company_id) == {}


def test_a_late_event_and_a_correction_roll_the_day_up_again(customer):
    company_id = customer.company_id
    keep(made(company_id), made(company_id, name="refund.succeeded"))
    metrics.roll_up()
    keep(made(company_id), made(company_id, name="refund.succeeded", amount=Decimal("-10.00")))
    metrics.roll_up()
    assert kept(company_id) == {(DAY, "EUR", ""): 20}
    # What became nothing has no row any more.
    assert kept(company_id, "refunds") == {}


def test_a_mark_made_while_the_day_is_rolled_up_is_not_lost(customer):
    company_id = customer.company_id
    keep(made(company_id))
    claimed = claim_of(company_id)
    with transaction() as session:
        counted = daily_metrics._of_claim(session, claimed)
        keep(made(company_id))
        daily_metrics._write(session, before={}, after=counted)
        assert daily_metrics._end_marks(session, claimed) == 1
    assert kept(company_id) == {(DAY, "EUR", ""): 10}
    assert list(marks(company_id)) == [DAY]
    metrics.roll_up()
    assert marks(company_id) == {}
    assert kept(company_id) == {(DAY, "EUR", ""): 20}


def test_a_claim_that_another_took_over_writes_nothing(customer):
    company_id = customer.company_id
    keep(made(company_id))
    slow = claim_of(company_id)
    with transaction(company_id=company_id) as session:
        session.execute(update(DirtyDay).values(claimed_until=LONG_AGO))
    keep(made(company_id))
    metrics.roll_up()
    assert kept(company_id) == {(DAY, "EUR", ""): 20}
    with pytest.raises(ClaimLost):
        in_transaction(daily_metrics.roll_up, None, slow)
    assert kept(company_id) == {(DAY, "EUR", ""): 20}


def anything(chance: random.Random, company_id) -> NewEvent:
    return made(
        company_id,
        AT + timedelta(minutes=chance.randrange(-3000, 3000)),
        name=chance.choice(NAMES),
        source=Source.API if chance.random() < 0.1 else Source.OWN,
        amount=Decimal(chance.randrange(-5000, 50000)) / 100 if chance.random() < 0.9 else None,
        currency=chance.choice(["EUR", "INR", "JPY", None]),
        quantity=Decimal(chance.randrange(0, 10**6)) / 10**4 if chance.random() < 0.9 else None,
        dimension=chance.choice(["", "1", "2", "é", "É", "lost_card"]),
    )


def at_once(batches) -> None:
    """Store batches by two threads while two others roll up; raise what went wrong in any."""
    done = threading.Event()

    def roll() -> None:
        while not done.is_set():
            metrics.roll_up()

    def write(mine) -> None:
        for batch in mine:
            keep(*batch)

    with ThreadPoolExecutor(4) as pool:
        rollers = [pool.submit(roll) for _ in range(2)]
        writers = [pool.submit(write, batches[n::2]) for n in range(2)]
        wait(writers)
        done.set()
    for each in (*rollers, *writers):
        each.result()


def test_roll_ups_are_a_plain_recount_whatever_comes_late_and_at_once(database):
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    companies = [make_company().company_id for _ in ZONES]
    with transaction() as session:
        for company_id, zone in zip(companies, ZONES, strict=True):
            session.get(Company, company_id).time_zone = zone
    batches = [
        [anything(chance, chance.choice(companies)) for _ in range(chance.randrange(1, 60))]
        for _ in range(24)
    ]
    at_once(batches)
    metrics.roll_up()
    for company_id in companies:
        assert marks(company_id) == {}, seed
        assert rolled(company_id) == recount(company_id), seed


def compare_all() -> None:
    with transaction() as session:
        session.execute(delete(daily_metrics.MetricsCheck))
        metrics._owe_check(session, DAY)
    while ids := _owed():
        for owed_id in ids:
            ring("metrics.compare", owed_id)


def _owed():
    with transaction() as session:
        return session.scalars(select(Owed.id).where(Owed.task == "metrics.compare")).all()


def test_the_nights_check_finds_what_differs_and_has_it_made_again(customer, caplog):
    company_id = customer.company_id
    keep(made(company_id), made(company_id, AT + timedelta(days=200)))
    metrics.roll_up()
    compare_all()
    assert str(company_id) not in caplog.text
    with transaction(company_id=company_id) as session:
        wrong = update(DailyMetric).where(DailyMetric.metric_name == "revenue")
        session.execute(wrong.where(DailyMetric.date == DAY).values(metric_value=7))
    compare_all()
    assert f"roll-ups of company {company_id} differ on 1 days: {DAY}" in caplog.text
    assert list(marks(company_id)) == [DAY]
    metrics.roll_up()
    assert kept(company_id)[DAY, "EUR", ""] == 10


def test_the_check_leaves_what_is_marked_to_the_roll_up(customer):
    company_id = customer.company_id
    keep(made(company_id))
    assert metrics._wrong_days(company_id) == set()
    with transaction(company_id=company_id) as session:
        session.execute(delete(DirtyDay))
    assert metrics._wrong_days(company_id) == {DAY}
    with transaction() as session:
        mark_days(session, [(company_id, DAY)])
    assert metrics._wrong_days(company_id) == set()


def test_a_day_is_checked_once_however_often_beat_rings(database, monkeypatch):
    at = datetime(2026, 5, 5, 3, 0, tzinfo=UTC)
    with transaction() as session:
        session.execute(delete(daily_metrics.MetricsCheck))
    before = set(_owed())
    for hour in (1, 3, 4):
        monkeypatch.setattr(metrics, "now", lambda hour=hour: at.replace(hour=hour))
        metrics.check()
        assert len(set(_owed()) - before) == (0 if hour == 1 else 1)
