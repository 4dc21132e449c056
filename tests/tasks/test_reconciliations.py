"""Runs against a provider's book: what was planted is found, each once, and nothing else is."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from datetime import UTC, timedelta

import pytest
from sqlalchemy import select

from models.breaks import BreakStatus, Resolution
from models.methods import ProviderCustomer
from models.outbox import Owed
from models.reconciliations import ReconciliationRun, RunStatus
from models.tenants import Tenant
from models.transactions import Status
from tasks import reconciliations as reconciling
from tests.bell import ring
from tests.factories import make_company, make_method
from tests.tasks.reconciling_desk import Book, Desk, a_day, serving
from worker.database import transaction
from worker.gateways.books import book_of
from worker.reconciling import reading
from worker.settings import settings

DAYS = itertools.count(os.getpid() % 97 * 20)


@pytest.fixture
def book():
    return Book()


@pytest.fixture
def url(book, database, monkeypatch):
    with serving(book) as address:
        monkeypatch.setenv("STRIPE_API_BASE", address)
        settings.cache_clear()
        book_of.cache_clear()
        yield address
    monkeypatch.undo()
    settings.cache_clear()
    book_of.cache_clear()


@pytest.fixture
def desk(book, url, customer):
    return Desk(book, customer, a_day(next(DAYS)))


def plant(desk: Desk) -> set[tuple[str, str]]:
    """A clean ground, and one of every kind of break in it."""
    desk.both(*range(20), at=100)
    [first] = desk.both(30, at=200)
    desk.our_refund(first, "good")
    desk.their_refund("good")
    desk.our_dispute(first, "good")
    desk.their_dispute("good")
    other = make_company()
    company_id = {"company_id": str(desk.customer.company_id)}
    desk.theirs(101, 300)
    desk.ours(102, at=301)
    desk.theirs(103, 302, amount=2000)
    desk.ours(103, at=302)
    desk.theirs(104, 303, currency="eur")
    desk.ours(104, at=303)
    desk.theirs(105, 304)
    desk.ours(105, at=304, status=Status.FAILED)
    movement = {"amount": 1000, "net": 900, "created": 1, "currency": "inr"}
    desk.theirs(106, 305, balance_transaction=movement | {"fee": 59})
    desk.ours(106, at=305)
    desk.theirs(107, 306, metadata=company_id | {"transaction_id": str(first)})
    desk.theirs(108, 307, metadata={"company_id": str(other.company_id)})
    desk.ours(108, at=307)
    # A webhook was missed: the payment knows its intent alone.
    desk.theirs(109, 308, payment_intent=f"pi_{desk.mark}")
    pending = {"payment_processor_id": None, "provider_transaction_id": f"pi_{desk.mark}"}
    desk.ours(109, at=308, status=Status.PROCESSING, open_invoice_id=None, **pending)
    desk.their_refund("lost", payment_intent="pi_none")
    desk.our_refund(first, "gone")
    desk.our_refund(first, "less")
    desk.their_refund("less", amount=300)
    desk.our_refund(first, "failed")
    desk.their_refund("failed", status="failed")
    desk.their_dispute("lost")
    desk.our_dispute(first, "won")
    desk.their_dispute("won", status="won")
    created = int(desk.day.timestamp())
    desk.book.add("customers", f"cus_{desk.mark}", created=created, metadata=company_id)
    desk.book.add("customers", f"cus_{desk.mark}nobody", created=created, metadata={})
    method = {"created": created, "customer": f"cus_{desk.mark}"}
    desk.book.add("payment_methods", f"pm_{desk.mark}", **method)
    return {
        ("missing_locally", "ch_00101"),
        ("missing_at_provider", "ch_00102"),
        ("amount", "ch_00103"),
        ("currency", "ch_00104"),
        ("status", "ch_00105"),
        ("fee", "ch_00106"),
        ("duplicate_charge", "ch_00107"),
        ("wrong_company", "ch_00108"),
        ("status", "ch_00109"),
        ("refund_missing_locally", "re_lost"),
        ("refund_missing_at_provider", "re_gone"),
        ("refund_amount", "re_less"),
        ("status", "re_failed"),
        ("dispute", "du_lost"),
        ("dispute", "du_won"),
        ("orphan_customer", "cus_"),
        ("orphan_method", "pm_"),
    }


def test_every_kind_of_break_is_found_each_once_over_overlapping_runs(desk):
    planted = plant(desk)
    run = desk.reconcile()
    assert (run.status, run.error) == ("done", None)
    assert desk.found() == planted
    assert (run.opened, run.confirmed, run.matched) == (len(planted), len(planted), 23)
    again = desk.reconcile()
    assert (again.opened, again.confirmed, again.closed) == (0, len(planted), 0)
    assert len(desk.breaks()) == len(planted)
    assert all(each.last_seen > each.first_seen for each in desk.breaks())
    assert all(each.run_id == again.id for each in desk.breaks())


def test_the_provider_is_only_ever_asked(desk):
    plant(desk)
    desk.reconcile()
    assert {method for method, _ in desk.book.requests} == {"GET"}


def test_clean_data_give_no_break(desk):
    desk.both(*range(250), at=50)
    run = desk.reconcile()
    assert (run.provider_rows, run.our_rows, run.matched) == (250, 250, 250)
    assert desk.breaks() == []


def test_a_break_keeps_both_sides_and_whose_it_is(desk):
    desk.theirs(1, amount=2000)
    [payment_id] = desk.ours(1)
    desk.reconcile()
    [row] = desk.breaks()
    assert (row.company_id, row.transaction_id) == (desk.customer.company_id, payment_id)
    assert (row.ours["amount"], row.theirs["amount"]) == ("10.00", "20.00")
    assert (str(row.amount), row.currency, row.happened_at) == ("20.00", "INR", desk.day)


def test_a_later_run_closes_what_it_finds_agreed(desk):
    desk.theirs(1)
    desk.theirs(2, amount=5)
    desk.ours(2)
    desk.reconcile()
    assert len(desk.found()) == 2
    desk.ours(1)
    again = desk.reconcile()
    assert again.closed == 1
    assert desk.found() == {("amount", "ch_00002")}
    [closed] = [each for each in desk.breaks() if each.status == BreakStatus.RESOLVED]
    assert (closed.kind, closed.resolution) == ("missing_locally", Resolution.AGREED)


def test_what_a_person_accepted_stays_so_until_it_changes(desk):
    desk.theirs(1, amount=5)
    desk.ours(1)
    desk.reconcile()
    [row] = desk.breaks()
    with transaction() as session:
        kept = session.get_one(type(row), row.id)
        kept.status, kept.resolution = BreakStatus.RESOLVED, Resolution.ACCEPTED
    assert desk.reconcile().opened == 0
    desk.theirs(1, amount=6)
    assert desk.reconcile().opened == 1


def test_thousands_of_one_second_across_borders_are_matched(desk):
    """One second's charges fill many pages and chunks, and our order of them is another."""
    many = 4500
    for n in range(many):
        desk.theirs(n, 7)
    desk.rows({n: 7 + (n * 7919 % many) / many * 40 for n in range(many)})
    desk.book.objects["charges"].pop(f"ch_{desk.mark}02300")
    desk.theirs(9999, 7)
    run_id = desk.begin()
    run = desk.work(run_id)
    assert run.provider_rows == many
    assert desk.found() == {
        ("missing_at_provider", "ch_02300"),
        ("missing_locally", "ch_09999"),
    }
    assert desk.suspects(run_id) == 0


def test_pages_that_shift_while_they_are_read_give_no_false_break(desk):
    desk.both(*range(300), at=50)
    pages = itertools.count()

    def shift() -> None:
        """What was on the next page is hidden from the lists, though it is there if asked for."""
        n = next(pages)
        if n < 3:
            desk.book.objects["charges"][f"ch_{desk.mark}{150 - n:>05}"]["hidden"] = True
            desk.theirs(1000 + n, 60)
            desk.rows({1000 + n: 60})

    desk.book.after_page = shift
    desk.reconcile()
    assert desk.breaks() == []


def test_rows_that_are_written_meanwhile_are_no_break(desk):
    desk.theirs(1)

    def write() -> None:
        desk.book.after_page = None
        desk.ours(1, at=90_000)  # heard of after the window's end

    desk.book.after_page = write
    desk.reconcile()
    assert desk.breaks() == []


def test_what_is_younger_than_the_lag_is_no_break(desk, book, customer):
    fresh = Desk(book, customer, (reconciling.now() - timedelta(minutes=5)).astimezone(UTC))
    fresh.theirs(1)
    fresh.reconcile()
    assert fresh.breaks() == []


def test_429_and_500_are_waited_for_and_the_run_goes_on(desk, unbroken):
    desk.both(*range(150), at=50)
    desk.theirs(500)
    desk.book.answers = [(429, {"Retry-After": "7"}), (500, {}), (503, {})]
    run_id = desk.begin()
    with transaction() as session:
        task_id = session.get_one(ReconciliationRun, run_id).task_id
    ring("reconciliations.run", task_id)
    with transaction() as session:
        run = session.get_one(ReconciliationRun, run_id)
        assert run.is_running
        assert "429" in run.waiting_for
        assert session.get_one(Owed, task_id).due_at > reconciling.now() + timedelta(seconds=5)
    desk.work(run_id)
    assert desk.found() == {("missing_locally", "ch_00500")}


def test_a_place_that_is_gone_begins_the_stream_anew(desk, monkeypatch):
    monkeypatch.setattr(reading, "MOST_ENTRIES", 100)
    desk.both(*range(250), at=50)
    calls = itertools.count()

    def remove() -> None:
        if next(calls) == 1:
            last = sorted(desk.book.objects["charges"])[50]
            desk.book.objects["charges"].pop(last)

    desk.book.after_page = remove
    assert desk.reconcile().status == "done"
    assert desk.found() == {("missing_at_provider", "ch_00050")}


def test_a_worker_that_comes_late_changes_nothing(desk):
    desk.both(*range(10))
    run_id = desk.begin()
    with transaction() as session:
        task_id = session.get_one(ReconciliationRun, run_id).task_id
    run = desk.work(run_id)
    ring("reconciliations.run", task_id)
    with transaction() as session:
        assert session.get_one(ReconciliationRun, run_id).our_rows == run.our_rows


KILLED = """
import sys
from uuid import UUID
from tests.bell import ring
from worker.reconciling import reading
reading.MOST_ENTRIES = 100
ring("reconciliations.run", UUID(sys.argv[1]))
"""


@pytest.mark.parametrize("point", ["reconciliations.read", "reconciliations.kept"])
def test_a_run_outlives_a_real_kill(desk, url, tmp_path, point):
    """SIGKILL in the middle of the stream, again and again: found exactly, each once."""
    desk.both(*range(350), at=50)
    desk.theirs(900, 60)
    desk.ours(901, at=40)
    run_id = desk.begin()
    for _ in range(3):
        with transaction() as session:
            task_id = session.get_one(ReconciliationRun, run_id).task_id
            # As after the lease of the worker that died.
            session.get_one(Owed, task_id).claimed_until = None
        (tmp_path / point).touch()
        dead = subprocess.run(
            [sys.executable, "-c", KILLED, str(task_id)],
            env={**os.environ, "CRASH_MARKS": str(tmp_path), "STRIPE_API_BASE": url},
            check=False,
            capture_output=True,
            timeout=60,
        )
        assert dead.returncode == -signal.SIGKILL, dead.stderr
    with transaction() as session:
        session.get_one(Owed, task_id).claimed_until = None
    run = desk.work(run_id)
    assert (run.provider_rows, run.our_rows, run.matched) == (351, 351, 350)
    assert desk.found() == {("missing_locally", "ch_00900"), ("missing_at_provider", "ch_00901")}


def test_a_method_and_a_customer_that_we_keep_as_well_are_no_orphans(desk):
    with transaction(company_id=desk.customer.company_id) as session:
        session.add(
            ProviderCustomer(
                company_id=desk.customer.company_id,
                provider="stripe",
                provider_id=f"cus_{desk.mark}",
            )
        )
    make_method(desk.customer, f"pm_{desk.mark}")
    created = int(desk.day.timestamp())
    told = {"created": created, "metadata": {"company_id": str(desk.customer.company_id)}}
    desk.book.add("customers", f"cus_{desk.mark}", **told)
    method = {"created": created, "customer": f"cus_{desk.mark}"}
    desk.book.add("payment_methods", f"pm_{desk.mark}", **method)
    desk.reconcile()
    assert desk.breaks() == []


def test_the_day_is_begun_once_however_often_beat_rings(desk, monkeypatch):
    account = select(ReconciliationRun.id).where(ReconciliationRun.account == "")
    with transaction() as session:
        before = set(session.scalars(account))
        session.get_one(Tenant, desk.customer.tenant_id).is_platform = True
    monkeypatch.setattr(reconciling, "_is_connected", lambda provider: provider == "stripe")
    for _ in range(3):
        reconciling.sweep()
    with transaction() as session:
        begun = set(session.scalars(account)) - before
        assert len(begun) == 1
        for run_id in begun:
            row = session.get_one(ReconciliationRun, run_id)
            reconciling.reconciliations.end(
                session, row, RunStatus.FAILED, moment=reconciling.now()
            )
        session.get_one(Tenant, desk.customer.tenant_id).is_platform = False
