"""A year of renewals: companies in mixed zones, currencies and plans, on a clock set forward.

What each is to pay is calculated here once more, by plain means: months by the calendar of the
company's zone, lines, discounts and taxes rounded one by one, changes by the second. The year has
a leap day.

`PAYBEAT_LONG=1` takes 200 companies at random, otherwise a few that were chosen for their dates.
"""

from __future__ import annotations

import os
import random
from bisect import bisect_right
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from models import invariants
from models.base import across_companies
from models.invoices import Invoice
from models.outbox import Owed
from models.prices import Tier, TiersMode
from models.subscriptions import PeriodStatus, SubscriptionPeriod
from models.totals import Tax
from schedules.periods import Interval
from tasks.subscriptions import sweep
from tests.bell import ring
from tests.factories import make_company
from tests.tasks.subscription_shop import (
    Subscriber,
    add_module,
    add_plan,
    price,
    set_clock,
    time_goes_back,
)
from worker.database import transaction
from worker.subscribing import Change

IS_LONG = "PAYBEAT_LONG" in os.environ
BEGIN = datetime(2027, 8, 27, tzinfo=UTC)
# How often time goes on by how many days; how likely who has seats changes them then.
STEPS, STEP_DAYS, CHANGES = (34, 11, 0.06) if IS_LONG else (13, 29, 0.25)
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe",
    "Pacific/Apia", "America/St_Johns", "Asia/Kathmandu", "Pacific/Kiritimati",
)  # fmt: skip
CURRENCIES = {"EUR": 2, "INR": 2, "JPY": 0, "USD": 2}
GRADUATED = (
    Tier(50, Decimal("0.125")),
    Tier(200, Decimal("0.05"), Decimal(3)),
    Tier(None, Decimal("0.011")),
)
VOLUME = (Tier(100, Decimal("0.2"), Decimal(1)), Tier(None, Decimal("0.09")))


@dataclass(frozen=True)
class Offer:
    """A plan as it is sold: months a period, what is asked flat and for a seat, and by use."""

    months: int
    flat: str = "0"
    seat: str = "0"
    tiers: tuple[Tier, ...] = ()
    mode: TiersMode | None = None


OFFERS = (
    Offer(1, flat="19"),
    Offer(1, flat="5", seat="7"),
    Offer(3, seat="31"),
    Offer(12, flat="1000", seat="10"),
    Offer(1, flat="3", tiers=GRADUATED, mode=TiersMode.GRADUATED),
    Offer(1, seat="2", tiers=VOLUME, mode=TiersMode.VOLUME),
)
# One for each offer: where it is billed, in what, and when it begins by its zone's clocks.
CHOSEN = (
    ("America/St_Johns", "INR", "2027-08-31 23:59:59"),  # the 29th in February
    ("Australia/Lord_Howe", "JPY", "2027-09-03 02:15"),  # skipped on 3 October
    ("America/New_York", "USD", "2027-08-31 00:00"),  # after two quarters the leap day
    ("Pacific/Kiritimati", "JPY", "2027-08-29 00:00:01"),  # the 28th by UTC
    ("Europe/Berlin", "EUR", "2027-08-30 02:30"),
    ("Asia/Kathmandu", "USD", "2027-08-31 05:44:59"),  # the 30th by UTC
)


@dataclass
class Life:
    """One company's year: what it was sold and what happened."""

    company: Subscriber
    offer: Offer
    module_id: UUID
    started_at: datetime
    zone: str
    currency: str
    seats: int
    tax: Decimal
    discount: Decimal
    subscription_id: UUID | None = None
    used: list[tuple[datetime, int]] = field(default_factory=list)
    changes: list[tuple[datetime, int, int]] = field(default_factory=list)

    def bounds(self, until: datetime) -> list[datetime]:
        """Its periods' starts up to a time, and the one after."""
        wall = self.started_at.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)
        found = [self.started_at]
        while found[-1] <= until:
            month = wall.month - 1 + self.offer.months * len(found)
            year, month = wall.year + month // 12, month % 12 + 1
            day = min(wall.day, monthrange(year, month)[1])
            local = wall.replace(year=year, month=month, day=day)
            found.append(local.replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC))
        return found

    def rounded(self, amount: Decimal | Fraction) -> Decimal:
        places = CURRENCIES[self.currency]
        if isinstance(amount, Fraction):
            return Decimal(round(amount * 10**places)).scaleb(-places)
        return amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)

    def net(self, quantity: int, unit: Decimal) -> Decimal:
        gross = self.rounded(quantity * unit)
        return gross - self.rounded(gross * self.discount / 100)

    def taxed(self, net: Decimal) -> Decimal:
        return net + self.rounded(net * self.tax / 100)

    def of_use(self, start: datetime, end: datetime) -> list[Decimal]:
        quantity = sum(each for at, each in self.used if start <= at < end)
        if not quantity or not self.offer.tiers:
            return []
        found, below = [], 0
        for tier in self.offer.tiers:
            is_all = self.offer.mode is TiersMode.VOLUME
            end_of = tier.up_to or 10**9
            if is_all and quantity > end_of:
                continue
            share = quantity if is_all else min(quantity, end_of) - below
            if share <= 0:
                break
            found += [self.net(share, tier.unit_amount)]
            found += [self.net(1, tier.flat_amount)] if tier.flat_amount else []
            below = end_of
            if is_all:
                break
        return found

    def expected(self, until: datetime) -> list[tuple[datetime, datetime, Decimal]]:
        """What each period that has begun is to cost, in full."""
        bounds = self.bounds(until)
        seats_at, told = self.seats, []
        flat, seat = Decimal(self.offer.flat), Decimal(self.offer.seat)
        for number, (start, end) in enumerate(pairwise(bounds)):
            before = bounds[number - 1] if number else start
            nets = [self.net(1, flat)] if flat else []
            happened = [each for each in self.changes if before <= each[0] < start]
            seats_at = happened[-1][2] if happened else seats_at
            nets += [self.net(seats_at, seat)] if seat else []
            for at, old, new in happened if seat else []:
                for sign, seats in ((-1, old), (1, new)):
                    whole = sign * self.net(seats, seat)
                    gone = Fraction(
                        int((at - before).total_seconds()), int((start - before).total_seconds())
                    )
                    nets.append(whole - self.rounded(Fraction(whole) * gone))
            nets += self.of_use(before, start)
            told.append((start, end, sum(map(self.taxed, nets))))
        return told


def chosen(chance: random.Random) -> Iterator[tuple[str, str, datetime]]:
    """Where each company is, its currency and when it begins, in UTC."""
    if not IS_LONG:
        for zone, currency, wall in CHOSEN:
            local = datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo(zone))
            yield zone, currency, local.astimezone(UTC)
        return
    for number in range(200):
        started_at = BEGIN + timedelta(seconds=chance.randrange(6 * 86400))
        yield ZONES[number % len(ZONES)], chance.choice(sorted(CURRENCIES)), started_at


def lives(chance: random.Random) -> list[Life]:
    tenant_id = make_company().tenant_id
    modules = [add_module(tenant_id, "Calls", unit="call") for _ in OFFERS]
    plans = [_sold(tenant_id, offer, module) for offer, module in zip(OFFERS, modules, strict=True)]
    made = []
    for number, (zone, currency, started_at) in enumerate(chosen(chance)):
        which = number % len(OFFERS)
        life = Life(
            company=Subscriber(tenant_id, zone=zone, currency=currency),
            offer=OFFERS[which],
            module_id=modules[which],
            started_at=started_at,
            zone=zone,
            currency=currency,
            seats=chance.randint(1, 20),
            tax=Decimal(chance.choice(["0", "19", "7.7"])),
            discount=Decimal(chance.choice(["0", "12.5"])),
        )
        set_clock(started_at)
        life.subscription_id = life.company.start(
            plans[which],
            seats=life.seats,
            taxes=(Tax("VAT", life.tax),) if life.tax else (),
            discount_percent=life.discount,
            starts_at=started_at,
        )
        made.append(life)
    return made


def _sold(tenant_id: UUID, offer: Offer, module_id: UUID) -> UUID:
    prices = []
    for currency in CURRENCIES:
        for kind, amount in (("flat", offer.flat), ("per_seat", offer.seat)):
            if amount != "0":
                prices.append(price(module_id, amount, kind, currency=currency))
        if offer.tiers:
            prices.append(
                price(
                    module_id, kind="usage", currency=currency, tiers=offer.tiers, mode=offer.mode
                )
            )
    every = (Interval.YEAR, 1) if offer.months == 12 else (Interval.MONTH, offer.months)
    return add_plan(tenant_id, prices, every=every)


def work(ids: list[UUID]) -> None:
    """Make all invoices that these companies are owed."""
    with transaction() as session:
        query = select(Owed.id).where(Owed.queue == "invoicing", Owed.company_id.in_(ids))
        owed = session.scalars(
            across_companies(query.order_by(Owed.id), because="a test's own companies")
        ).all()
    for each in owed:
        ring("invoicing.generate", each)


def live_on(some: list[Life], chance: random.Random, moment: datetime) -> None:
    """A few use something, a few change their seats, now."""
    for life in some:
        if life.offer.tiers and chance.random() < 0.4:
            quantity = chance.randint(1, 150)
            life.company.use(life.module_id, quantity, moment)
            life.used.append((moment, quantity))
        if life.offer.seat != "0" and chance.random() < CHANGES:
            seats = chance.randint(1, 20)
            # What is given back of an invoice that is due lowers that, and not the next one.
            for invoice in life.company.invoices():
                if invoice.due.amount > 0:
                    life.company.pay(invoice.id)
            life.company.act("change", life.subscription_id, Change(seats=seats))
            now_has = life.changes[-1][2] if life.changes else life.seats
            life.changes.append((moment, now_has, seats))


@pytest.mark.timeout(1800 if IS_LONG else 300)
@pytest.mark.parametrize("seed", [5])
def test_every_period_of_a_year_is_invoiced_once_for_what_it_is_to_cost(database, seed):
    chance = random.Random(seed)
    with time_goes_back():
        some = lives(chance)
        ids = [life.company.company_id for life in some]
        for step in range(1, STEPS + 1):
            moment = BEGIN + timedelta(days=7 + step * STEP_DAYS, seconds=chance.randrange(86400))
            set_clock(moment)
            sweep()
            work(ids)
            live_on(some, chance, moment)
        changed = sum(len(life.changes) for life in some)
        for life in some:
            judge(life, moment)
        assert changed > len(some) / 2
        told = {str(life.subscription_id) for life in some} | set(map(str, ids))
        with transaction() as session:
            found = invariants.check(session, limit=1000)
        assert not [each for each in found if any(one in each.detail for one in told)]


def judge(life: Life, until: datetime) -> None:
    expected = life.expected(until)
    assert bisect_right([start for start, _, _ in expected], until) == len(expected) >= 2 or (
        life.offer.months == 12
    )
    with life.company.session() as session:
        periods = session.scalars(
            select(SubscriptionPeriod).order_by(SubscriptionPeriod.starts_at)
        ).all()
        invoices = {each.id: each for each in session.scalars(select(Invoice))}
    assert {period.status for period in periods} == {PeriodStatus.INVOICED}
    assert len({period.invoice_id for period in periods}) == len(periods) == len(invoices)
    numbers = [invoices[period.invoice_id].number for period in periods]
    assert numbers == [f"INV-{number:06d}" for number in range(1, len(periods) + 1)]
    billed = [
        (period.starts_at, period.ends_at, invoices[period.invoice_id].amount) for period in periods
    ]
    # What less than nothing was asked for stands on the next invoices: see the sums.
    assert [each[:2] for each in billed] == [each[:2] for each in expected]
    assert [each[2] for each in billed] == carried([each[2] for each in expected])


def carried(amounts: list[Decimal]) -> list[Decimal]:
    """No invoice is below zero: what would be is taken off the ones after it."""
    left, found = Decimal(0), []
    for amount in amounts:
        left += amount
        found.append(max(left, Decimal(0)))
        left = min(left, Decimal(0))
    return found
