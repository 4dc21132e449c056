"""Payouts are kept, read to the end and added up; what does not come to its amount is a break."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select

from models.alerts import open_alert
from models.breaks import BreakKind, BreakStatus, ReconciliationBreak
from models.clock import now
from models.ids import new_id
from models.payouts import Payout
from tasks import payouts as paying
from tests.factories import make_company
from tests.tasks.reconciling_desk import (
    Book,
    fetch_payouts,
    installation,
    owed_for_payouts,
    serving,
)
from worker.database import transaction
from worker.gateways.books import book_of
from worker.gateways.payouts import payouts_of
from worker.settings import settings

MADE = int(now().timestamp()) - 5 * 86_400


def forget() -> None:
    for each in (settings, book_of, payouts_of):
        each.cache_clear()


class Bank:
    """Stripe's payouts of one account, each with its movements."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.mark = new_id().hex[-10:]

    def pay(self, n: int, amount: int, *movements: tuple[str, int, int], **fields: object) -> str:
        name = f"po_{self.mark}{n:>03}"
        told = {"amount": amount, "currency": "inr", "status": "paid", "created": MADE + n}
        more = {"arrival_date": MADE + 86_400, "automatic": True}
        self.book.add("payouts", name, **(told | more | fields))
        itself = ("payout", -amount, 0)
        for number, (kind, gross, fee) in enumerate((itself, *movements)):
            self.book.add(
                "balance_transactions",
                f"txn_{name}{number:>05}",
                payout=name,
                type=kind,
                amount=gross,
                fee=fee,
                net=gross - fee,
                currency="inr",
                created=MADE + number,
            )
        return name

    fetch = staticmethod(fetch_payouts)
    _owed = staticmethod(owed_for_payouts)

    def kept(self) -> list[Payout]:
        with transaction() as session:
            mine = Payout.provider_payout_id.like(f"po_{self.mark}%")
            return list(session.scalars(select(Payout).where(mine).order_by(Payout.id)))

    def is_alarmed(self, payout_id: UUID) -> bool:
        with transaction() as session:
            return open_alert(session, f"payout_unbalanced:{payout_id}") is not None

    def found(self, name: str) -> ReconciliationBreak | None:
        with transaction() as session:
            query = select(ReconciliationBreak).where(ReconciliationBreak.object_id == name)
            return session.scalars(query).one_or_none()


@pytest.fixture
def bank(database, monkeypatch):
    book = Book()
    with serving(book) as address, installation(make_company().company_id):
        monkeypatch.setenv("STRIPE_API_BASE", address)
        forget()
        yield Bank(book)
        assert {method for method, _ in book.requests} == {"GET"}
    monkeypatch.undo()
    forget()


def test_a_payout_is_made_up_of_its_movements_by_type(bank):
    bank.pay(1, 145_00, ("charge", 100_00, 3_00), ("charge", 60_00, 2_00), ("refund", -10_00, 0))
    bank.fetch()
    [kept] = bank.kept()
    assert (kept.amount, kept.currency, kept.status) == (Decimal("145.00"), "INR", "paid")
    assert kept.is_balanced is True
    parts = {each["type"]: each for each in kept.parts}
    assert parts.keys() == {"charge", "refund"}
    charges = parts["charge"]
    assert charges["count"] == 2
    assert [Decimal(charges[name]) for name in ("gross", "fee", "net")] == [160, 5, 155]
    assert kept.arrival_date == datetime.fromtimestamp(MADE + 86_400, UTC).date()


@pytest.mark.parametrize("amount", [144_99, 145_01])
def test_a_sum_that_is_not_the_amount_is_a_break_until_it_is(bank, amount):
    movements = (("charge", 150_00, 5_00),)
    name = bank.pay(1, amount, *movements)
    bank.fetch()
    [kept] = bank.kept()
    assert kept.is_balanced is False
    found = bank.found(name)
    assert (found.kind, found.status, found.amount) == (
        BreakKind.PAYOUT_UNBALANCED,
        BreakStatus.OPEN,
        Decimal("0.01"),
    )
    assert (found.ours["amount"], found.theirs["amount"]) == ("145.00", f"{amount / 100:.2f}")
    assert bank.is_alarmed(kept.id)
    bank.book.objects["payouts"][name]["amount"] = 145_00
    bank.fetch()
    assert bank.kept()[0].is_balanced is True
    assert bank.found(name).status == BreakStatus.RESOLVED
    assert not bank.is_alarmed(kept.id)


def test_a_movement_of_another_currency_balances_nothing(bank):
    name = bank.pay(1, 100_00, ("charge", 100_00, 0))
    bank.book.objects["balance_transactions"][f"txn_{name}00001"]["currency"] = "eur"
    bank.fetch()
    assert bank.kept()[0].is_balanced is False


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "failed"},
        {"automatic": False},
        {"reconciliation_status": "in_progress"},
    ],
)
def test_what_the_provider_cannot_explain_is_not_judged(bank, fields):
    name = bank.pay(1, 100_00, **fields)
    bank.fetch()
    assert bank.kept()[0].is_balanced is None
    assert bank.found(name) is None


def test_pages_of_payouts_and_of_movements_are_read_to_the_end(bank):
    bank.pay(0, 250_00, *[("charge", 1_00, 0)] * 250)
    for n in range(1, 102):
        bank.pay(n, 0)
    bank.fetch()
    kept = {each.provider_payout_id[-3:]: each for each in bank.kept()}
    assert len(kept) == 102
    [part] = kept["000"].parts
    assert (part["type"], part["count"]) == ("charge", 250)
    assert [Decimal(part[name]) for name in ("gross", "fee", "net")] == [250, 0, 250]


def test_a_reading_goes_on_where_it_was_cut_off(bank):
    name = bank.pay(1, 250_00, *[("charge", 1_00, 0)] * 250)
    cut = {"left": 2}

    def lose() -> None:
        if any("balance_transactions" in path for _, path in bank.book.requests):
            cut["left"] -= 1
            if cut["left"] == 0:
                bank.book.answers.append((503, {}))

    bank.book.after_page = lose
    bank.fetch()
    asked = [path for _, path in bank.book.requests if f"payout={name}" in path]
    assert bank.kept()[0].is_balanced is True
    firsts = [path for path in asked if "starting_after" not in path]
    assert len(firsts) == 1


def test_a_day_has_one_look(bank):
    bank.fetch()
    asked = len(bank.book.requests)
    paying.sweep()
    assert not bank._owed()
    assert len(bank.book.requests) == asked
