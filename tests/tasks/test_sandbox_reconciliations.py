"""Runs and payouts against the stand-in for Stripe: a clean book, and one of each kind planted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from models import clock, reconciliations
from models.payouts import Payout
from models.reconciliations import RunStatus
from models.transactions import Provider
from tests.factories import make_company
from tests.sandbox.shop import Shop
from tests.tasks.reconciling_desk import Book, Desk, fetch_payouts, installation
from tests.tasks.subscription_shop import time_goes_back
from worker.database import transaction
from worker.gateways import gateway_for
from worker.gateways.books import book_of
from worker.gateways.payouts import payouts_of
from worker.settings import settings

LATER = timedelta(hours=2)


class SandboxDesk(Desk):
    """Our rows beside what the stand-in has taken just now; runs are made two hours later."""

    def __init__(self, shop: Shop, customer) -> None:
        super().__init__(Book(), customer, clock.now() - timedelta(minutes=5))
        self.shop = shop
        self.control = shop.control
        # Other tests leave rows of the same minutes.
        self.mine: set[str] = set()

    def take(self, amount: int = 1000, currency: str = "usd", **more):
        """Take money at Stripe; return the charge."""
        told = {"company_id": str(self.customer.company_id)}
        intent = self.shop.pay(amount, currency, metadata=told, **more)
        self.mine.add(intent.latest_charge)
        return intent.latest_charge

    def know(self, charge: str, amount: str = "10.00", currency: str = "USD", **columns):
        told = {"payment_processor_id": charge, "amount": amount, "currency": currency}
        return self.ours(1, at=300, **(told | columns))[0]

    def begin(self, *, days: int = 1):
        with transaction() as session:
            return reconciliations.begin(
                session,
                tenant_id=self.customer.tenant_id,
                provider=Provider.STRIPE,
                account=self.account,
                starts_at=self.day,
                ends_at=self.day + timedelta(minutes=30),
            ).id

    def told(self) -> list[tuple[str, str]]:
        """The open breaks of what this test has made."""
        found = [each for each in self.breaks() if each.object_id in self.mine]
        return sorted((each.kind.value, each.object_id) for each in found if each.status == "open")


@pytest.fixture
def desk(database, customer, sandbox, monkeypatch):
    monkeypatch.setenv("STRIPE_API_BASE", sandbox.url)
    for forget in (settings, book_of, payouts_of, gateway_for):
        forget.cache_clear()
    with time_goes_back():
        yield SandboxDesk(Shop(sandbox), customer)
    monkeypatch.undo()
    for forget in (settings, book_of, payouts_of, gateway_for):
        forget.cache_clear()


def later() -> None:
    clock.advance_by(lambda: LATER)


def keep(desk: SandboxDesk) -> None:
    """Keep the customer that the shop has made."""
    desk.control.alter(desk.shop.customer, metadata={})


def test_a_clean_book_of_several_currencies_gives_no_break(desk):
    keep(desk)
    for amount, currency, kept in (
        (1000, "usd", "10.00"),
        (1250, "eur", "12.50"),
        (90, "jpy", "90"),
    ):
        desk.know(desk.take(amount, currency), kept, currency.upper())
    charge = desk.take(2000)
    paid = desk.know(charge, "20.00")
    refund = desk.control.refund(charge=charge, amount=400)["id"]
    desk.our_refund(paid, "", at=300, provider_refund_id=refund)
    desk.mine.add(refund)
    later()
    run = desk.reconcile()
    assert (run.status, run.error) == (RunStatus.DONE, None)
    assert run.matched >= 5
    assert desk.told() == []


def test_one_of_each_kind_is_found_once(desk):
    keep(desk)
    names = ("dearer", "foreign", "failed", "theirs", "greedy", "lost")
    charges = {name: desk.take() for name in names}
    paid = {name: desk.know(charge) for name, charge in charges.items() if name != "lost"}
    desk.know("ch_nobody_has")
    control = desk.control
    control.alter(charges["dearer"], amount=2000, amount_captured=2000)
    control.alter(charges["foreign"], currency="eur")
    control.alter(charges["failed"], status="failed", captured=False, paid=False)
    control.alter(charges["theirs"], metadata={"company_id": str(make_company().company_id)})
    control.alter(charges["greedy"], movement={"net": 1})
    unheard = control.refund(charge=charges["greedy"], amount=100)["id"]
    dispute = control.dispute(charge=charges["theirs"])["id"]
    desk.our_refund(paid["greedy"], "", at=300, provider_refund_id="re_nobody_has")
    planted = {
        ("amount", charges["dearer"]),
        ("fee", charges["dearer"]),  # its movement is of the sum that it was
        ("currency", charges["foreign"]),
        ("status", charges["failed"]),
        ("wrong_company", charges["theirs"]),
        ("fee", charges["greedy"]),
        ("missing_locally", charges["lost"]),
        ("missing_at_provider", "ch_nobody_has"),
        ("refund_missing_locally", unheard),
        ("refund_missing_at_provider", "re_nobody_has"),
        ("dispute", dispute),
    }
    desk.mine |= {object_id for _, object_id in planted}
    later()
    control.fault("rate_limit", method="GET", path="/v1/charges", count=2)
    desk.reconcile()
    assert control.faults() == []
    assert desk.told() == sorted(planted)
    assert desk.reconcile().opened == 0
    assert desk.told() == sorted(planted)


def test_a_payout_is_explained_by_what_it_is_made_up_of(desk):
    desk.take(1000)
    desk.control.refund(charge=desk.take(5000), amount=700)
    whole = desk.control.pay_out("usd")["id"]
    desk.take(3000, "eur")
    less = desk.control.pay_out("eur", short_by=100)["id"]
    with installation(desk.customer.company_id):
        fetch_payouts()
    with transaction() as session:
        rows = {each.provider_payout_id: each for each in session.scalars(select(Payout))}
    assert (rows[whole].is_balanced, rows[less].is_balanced) == (True, False)
    assert {each["type"]: each["count"] for each in rows[whole].parts} == {"charge": 2, "refund": 1}
