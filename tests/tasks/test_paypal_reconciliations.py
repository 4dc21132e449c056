"""Runs against PayPal's report: what was planted is found, each once, and nothing else is."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from decimal import Decimal
from uuid import UUID

import pytest

from models import reconciliations
from models.outbox import Owed
from models.reconciliations import ReconciliationRun, RunStatus
from models.transactions import Provider, Status
from tests.factories import make_company
from tests.sandbox.paypal_shop import TRANSACTIONS, PayPalShop
from tests.tasks.reconciling_desk import Book, Desk, a_day
from worker.database import transaction
from worker.gateways import gateway_for
from worker.gateways.books import book_of
from worker.gateways.paypal import report
from worker.reconciling import reading
from worker.settings import settings

# Days of which no other run has transactions there; the stand-in forgets nothing between two.
DAYS = itertools.count(os.getpid() % 97 * 20 + 1)


class PayPalDesk(Desk):
    """Our rows beside what a stand-in for PayPal has, of one day."""

    def __init__(self, shop: PayPalShop, customer, day) -> None:
        super().__init__(Book(), customer, day)
        self.shop = shop
        self.at = int(day.timestamp())

    def take(self, seconds: int, *, count: int = 1, **told) -> list[str]:
        """Have PayPal take money then; return the captures."""
        return self.shop.control.plant(at=self.at + seconds, count=count, **told)["ids"]

    def know(self, *captures: str, at: float, **columns) -> list[UUID]:
        """Have rows of ours for captures, a moment later."""
        told = {"currency": "USD", "payment_method": Provider.PAYPAL}
        return [
            self.ours(1, at=at, **(told | {"payment_processor_id": capture} | columns))[0]
            for capture in captures
        ]

    def give_back(self, capture: str, seconds: int, **told) -> str:
        """Refund as on PayPal's site, without a word to us; return the refund."""
        refund = self.shop.control.refund(capture=capture, **told)["id"]
        self.shop.control.date(self.at + seconds, refund)
        return refund

    def begin(self, *, days: int = 1) -> UUID:
        with transaction() as session:
            return reconciliations.begin(
                session,
                tenant_id=self.customer.tenant_id,
                provider=Provider.PAYPAL,
                account=self.account,
                starts_at=self.day,
                ends_at=self.day.replace(hour=23, minute=59, second=59),
            ).id


@pytest.fixture
def desk(database, customer, paypal, monkeypatch):
    monkeypatch.setenv("PAYPAL_API_BASE", paypal.url)
    for forget in (settings, book_of, gateway_for):
        forget.cache_clear()
    yield PayPalDesk(PayPalShop(paypal), customer, a_day(next(DAYS)))
    monkeypatch.undo()
    for forget in (settings, book_of, gateway_for):
        forget.cache_clear()


def plant(desk: PayPalDesk) -> set[tuple[str, str]]:
    """A clean ground, and each kind of break that PayPal's books can show."""
    ground = desk.take(100, count=12)
    desk.know(*ground, at=100)
    [whole] = desk.take(200)
    [paid] = desk.know(whole, at=200)
    good = desk.give_back(whole, 201, amount="4.00")
    desk.our_refund(paid, "good", 201, provider_refund_id=good)
    [lost] = desk.take(300)
    desk.know("CAPTURENOBODYHAS", at=301)
    [dearer] = desk.take(302, value="20.00")
    [foreign] = desk.take(303, currency="EUR")
    [failed] = desk.take(304)
    [greedy] = desk.take(305, fee="40.00", value="100.00")
    [theirs] = desk.take(306, custom_id=f"transaction.{paid}.{make_company().company_id}.{paid}")
    desk.know(dearer, at=302)
    desk.know(foreign, at=303)
    desk.know(failed, at=304, status=Status.FAILED)
    desk.know(theirs, at=306)
    desk.know(greedy, at=305, amount=Decimal("100.00"))
    unheard = desk.give_back(whole, 400, amount="1.00")
    less = desk.give_back(whole, 401, amount="2.00")
    desk.our_refund(paid, "less", 401, provider_refund_id=less, amount=Decimal("2.50"))
    desk.our_refund(paid, "gone", 402, provider_refund_id="REFUNDNOBODYHAS")
    return {
        ("missing_locally", lost),
        ("missing_at_provider", "CAPTURENOBODYHAS"),
        ("amount", dearer),
        ("currency", foreign),
        ("status", failed),
        ("fee", greedy),
        ("wrong_company", theirs),
        ("refund_missing_locally", unheard),
        ("refund_amount", less),
        ("refund_missing_at_provider", "REFUNDNOBODYHAS"),
    }


def found(desk: PayPalDesk) -> set[tuple[str, str]]:
    return {(each.kind.value, each.object_id) for each in desk.breaks() if each.status == "open"}


def test_what_is_planted_is_found_each_once(desk):
    planted = plant(desk)
    run = desk.reconcile()
    assert (run.status, run.error) == (RunStatus.DONE, None)
    assert found(desk) == planted
    again = desk.reconcile()
    assert (again.opened, again.closed) == (0, 0)
    assert len(desk.breaks()) == len(planted)


def test_a_clean_book_gives_no_break(desk):
    [part, whole, other] = desk.take(50, count=3)
    for capture in (part, whole, other):
        [paid] = desk.know(capture, at=50)
        if capture != other:
            asked = {"amount": "4.00"} if capture == part else {}
            told = {"amount": Decimal("10.00")} if capture == whole else {}
            refund = desk.give_back(capture, 60, **asked)
            desk.our_refund(paid, "", 60, provider_refund_id=refund, **told)
    [yen] = desk.take(70, currency="JPY", value="1200")
    desk.know(yen, at=70, currency="JPY", amount=Decimal(1200))
    run = desk.reconcile()
    assert (run.status, run.matched) == (RunStatus.DONE, 6)
    assert desk.breaks() == []


@pytest.fixture
def small(monkeypatch):
    """Pages and chunks so small that a second goes over many of them."""
    monkeypatch.setattr(report, "PAGE", 20)
    monkeypatch.setattr(reading, "MOST_ENTRIES", 50)


def test_a_second_that_goes_over_many_pages_and_a_429_lose_nothing(desk, small):
    """A page that is refused is asked for again, from where it stood."""
    crowd = desk.take(500, count=130)
    desk.know(*crowd, at=500)
    late = desk.take(501, count=3)
    desk.know(*late[:2], at=501)
    desk.shop.control.fault("rate_limit", count=2, method="GET", path=TRANSACTIONS)
    desk.reconcile()
    assert desk.shop.control.faults() == []
    assert found(desk) == {("missing_locally", late[2])}


def test_what_comes_in_while_it_is_read_shifts_nothing_away(desk, small, monkeypatch):
    crowd = desk.take(500, count=70)
    desk.know(*crowd[:-1], at=500)
    read, more = reading.read, []

    def read_and_take(*told):
        answer = read(*told)
        if len(more) < 3:
            more.extend(desk.take(499, count=1))
            desk.know(more[-1], at=499)
        return answer

    monkeypatch.setattr("tasks.reconciliations.reading.read", read_and_take)
    desk.reconcile()
    assert len(more) == 3
    assert ("missing_locally", crowd[-1]) in found(desk)
    assert desk.reconcile().opened == 0
    assert found(desk) == {("missing_locally", crowd[-1])}


KILLED = """
import sys
from uuid import UUID
from tests.bell import ring
from worker.gateways.paypal import report
from worker.reconciling import reading
report.PAGE, reading.MOST_ENTRIES = 20, 50
ring("reconciliations.run", UUID(sys.argv[1]))
"""


def test_a_run_outlives_a_real_kill(desk, small, paypal, tmp_path):
    captures = [*desk.take(500, count=60), *desk.take(900, count=60)]
    desk.know(*captures[:-1], at=500)
    run_id = desk.begin()
    for point in ("reconciliations.read", "reconciliations.kept"):
        with transaction() as session:
            task_id = session.get_one(ReconciliationRun, run_id).task_id
            # As after the lease of the worker that died.
            session.get_one(Owed, task_id).claimed_until = None
        (tmp_path / point).touch()
        dead = subprocess.run(
            [sys.executable, "-c", KILLED, str(task_id)],
            env={**os.environ, "CRASH_MARKS": str(tmp_path), "PAYPAL_API_BASE": paypal.url},
            check=False,
            capture_output=True,
            timeout=60,
        )
        assert dead.returncode == -signal.SIGKILL, dead.stderr
    with transaction() as session:
        found_run = session.get_one(ReconciliationRun, run_id)
        session.get_one(Owed, found_run.task_id).claimed_until = None
    assert desk.work(run_id).status == RunStatus.DONE
    assert found(desk) == {("missing_locally", captures[-1])}
