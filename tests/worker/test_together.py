"""Acts of many threads in one transaction: shared when all goes well, each alone when not."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from sqlalchemy import text

from models import locks
from models.base import Unfenced, turn_to
from models.invoices import Invoice
from tests.factories import Customer, make_company, make_invoice
from tests.waiting import PATIENCE_S, wait_for
from worker.database import engine, transaction
from worker.together import LANES, Together


@dataclass(frozen=True)
class Mark:
    """A letter to be put behind an invoice's memo."""

    company_id: UUID
    invoice_id: UUID
    letter: str


@dataclass
class Marker:
    """Marks invoices together. Who comes first waits until all the others stand in line."""

    fails: frozenset[str] = frozenset()
    sessions: dict[str, int] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    begin: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.together = Together(self.act, self.hold)

    def hold(self, session, marks) -> None:
        self.begin.wait(PATIENCE_S)
        locks.lock_all(session, Invoice, {mark.invoice_id for mark in marks})

    def act(self, session, mark: Mark) -> str:
        turn_to(session, mark.company_id)
        self.tries[mark.letter] += 1
        self.sessions[mark.letter] = id(session)
        invoice = locks.lock_existing(session, Invoice, mark.invoice_id)
        invoice.memo = (invoice.memo or "") + mark.letter
        if mark.letter in self.fails:
            raise ValueError(mark.letter)
        return mark.letter

    def run(self, marks: list[Mark]) -> list[str | Exception]:
        """Return what each got; the lanes wait until all the others stand in line."""

        def one(mark: Mark) -> str | Exception:
            try:
                return self.together.run(mark)
            except Exception as error:  # noqa: BLE001  told to the test
                return error

        with ThreadPoolExecutor(len(marks)) as pool:
            waiting = [pool.submit(one, mark) for mark in marks]
            wait_for(lambda: self.together.waiting == len(marks) - LANES)
            self.begin.set()
            return [each.result(PATIENCE_S) for each in waiting]


def marks_of(*customers: Customer, letters: str) -> list[Mark]:
    return [
        Mark(customer.company_id, make_invoice(customer.company_id), letter)
        for customer, letter in zip(customers * len(letters), letters, strict=False)
    ]


def memo_of(mark: Mark) -> str | None:
    with transaction(company_id=mark.company_id) as session:
        return session.get_one(Invoice, mark.invoice_id).memo


def test_those_who_wait_share_one_transaction_across_companies(database):
    marks = marks_of(make_company(), make_company(), letters="abcdefgh")
    marker = Marker()
    assert marker.run(marks) == list("abcdefgh")
    assert [memo_of(mark) for mark in marks] == list("abcdefgh")
    assert len(set(marker.sessions.values())) <= LANES + 1
    assert set(marker.tries.values()) == {1}


def test_one_that_fails_takes_nobody_along(database):
    marks = marks_of(make_company(), letters="abcdef")
    marker = Marker(fails=frozenset("d"))
    answers = marker.run(marks)
    failed = answers.pop(3)
    assert isinstance(failed, ValueError)
    # What is reported of it speaks of no group.
    assert failed.__context__ is None
    assert answers == list("abcef")
    assert [memo_of(mark) for mark in marks] == ["a", "b", "c", None, "e", "f"]


def test_several_acts_on_one_row_all_count(database):
    company = make_company()
    invoice_id = make_invoice(company.company_id)
    marks = [Mark(company.company_id, invoice_id, letter) for letter in "abcdef"]
    Marker().run(marks)
    assert sorted(memo_of(marks[0]) or "") == list("abcdef")


def test_a_row_that_somebody_else_holds_keeps_only_its_own_act_waiting(database):
    marks = marks_of(make_company(), letters="abcdef")
    marker = Marker()
    with engine().connect() as other, ThreadPoolExecutor(1) as pool:
        other.execute(
            text("SELECT id FROM invoices WHERE id = :id FOR UPDATE"),
            {"id": marks[4].invoice_id.bytes},
        )
        all_done = pool.submit(marker.run, marks)
        wait_for(lambda: [memo_of(mark) for mark in marks] == ["a", "b", "c", "d", None, "f"])
        assert not all_done.done()
        other.rollback()
        assert all_done.result(PATIENCE_S) == list("abcdef")
    assert memo_of(marks[4]) == "e"


def test_an_act_gets_no_row_of_the_company_that_acted_before_it(database):
    mine, theirs = marks_of(make_company(), make_company(), letters="ab")
    with transaction() as session:
        locks.lock_all(session, Invoice, {mine.invoice_id, theirs.invoice_id})
        turn_to(session, mine.company_id)
        assert locks.lock(session, Invoice, mine.invoice_id) is not None
        assert locks.lock(session, Invoice, theirs.invoice_id) is None
        assert session.get(Invoice, theirs.invoice_id) is None


def test_what_an_act_writes_is_checked_before_the_next_company_acts(database):
    mine, theirs = marks_of(make_company(), make_company(), letters="ab")
    with transaction() as session, session.no_autoflush:
        held = locks.lock_all(session, Invoice, {mine.invoice_id, theirs.invoice_id})
        turn_to(session, mine.company_id)
        held[theirs.invoice_id].memo = "not mine"
        with pytest.raises(Unfenced):
            turn_to(session, theirs.company_id)
        session.rollback()
    assert memo_of(theirs) is None


def test_a_group_locks_its_own_rows_and_no_others_of_a_small_table(database):
    marks = marks_of(make_company(), letters="abcdef")
    with transaction() as session:
        locks.lock_all(session, Invoice, {mark.invoice_id for mark in marks[:3]})
        with transaction() as other:
            free = locks.lock_all(other, Invoice, {mark.invoice_id for mark in marks})
    assert free.keys() == {mark.invoice_id for mark in marks[3:]}
