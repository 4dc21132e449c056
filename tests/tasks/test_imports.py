"""Invoices of a file: taken over once, exactly, and told apart from what is ours."""

from __future__ import annotations

import os
import time
import tracemalloc
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from models import clock, invoices
from models.bank_transfers import record
from models.base import across_companies
from models.credit_notes import credit_due
from models.imports import Import, ImportedInvoice, ImportFile, ImportPage
from models.invoices import Invoice
from models.methods import ProviderCustomer
from models.outbox import Owed
from models.timeline import Cause
from models.tracking import RECORD
from tasks import imports as importing
from tests.bell import ring
from tests.factories import make_company, make_invoice
from tests.tasks.import_desk import Desk, csv_of
from worker.database import PUBLISH, transaction

LONG = bool(os.environ.get("PAYBEAT_LONG"))
MANY = 10_000 if LONG else 150


class Killed(BaseException):
    """The process is gone: nothing after this line is run."""


@pytest.fixture
def desk(database):
    return Desk()


def test_an_open_invoice_of_a_file_is_here_under_its_own_number(desk):
    done = desk.import_csv(csv_of(desk, number="2024-1", unit_amount="12.50", quantity="2"))
    assert (done.status, done.seen, done.made, done.refused) == ("done", 1, 1, 0)
    [invoice] = desk.invoices()
    assert (invoice.number, invoice.status, f"{invoice.due}") == ("2024-1", "open", "25.00 EUR")
    assert desk.broken() == []


def test_the_ledger_opens_with_what_was_billed_and_paid_elsewhere(desk):
    statuses = (
        {"number": "1", "status": "open"},
        {"number": "2", "status": "paid", "paid_on": "2026-02-03"},
        {"number": "3", "status": "void"},
        {"number": "4", "status": "uncollectible"},
        {"number": "5", "status": "open", "amount_paid": "4.00"},
    )
    done = desk.import_csv(csv_of(desk, *statuses))
    assert (done.made, done.refused) == (5, 0)
    # Ten are owed and given up, sixteen are due; nothing was earned or taken here.
    assert desk.ledger() == {"receivable": "16.00", "bad_debt": "10.00", "opening": "-26.00"}
    found = {each.number: each for each in desk.invoices()}
    assert [str(found[n].status) for n in "12345"] == [
        *("open", "paid", "void", "uncollectible", "open"),
    ]
    assert found["2"].paid_at.date().isoformat() == "2026-02-03"
    assert desk.broken() == []


def test_our_own_numbers_have_no_gap_beside_imported_ones(desk):
    make_invoice(desk.company_id)
    done = desk.import_csv(csv_of(desk, {"number": "INV-000002"}, {"number": "77"}))
    assert done.made == 2
    make_invoice(desk.company_id)
    assert [each.number for each in desk.invoices()] == [
        *("INV-000001", "IMP-INV-000002", "77", "INV-000002"),
    ]
    assert desk.broken() == []


def test_the_same_file_again_imports_nothing_and_a_changed_line_is_refused(desk):
    rows = [{"number": f"{n}"} for n in range(3)]
    assert desk.import_csv(csv_of(desk, *rows)).made == 3
    before = desk.rows()
    again = desk.import_csv(csv_of(desk, *rows))
    assert (again.seen, again.skipped, again.made) == (3, 3, 0)
    rows[1]["unit_amount"] = "11.00"
    changed = desk.import_csv(csv_of(desk, *rows))
    assert (changed.skipped, changed.refused) == (2, 1)
    [refusal] = desk.refusals(changed.id)
    assert (refusal.line, refusal.subject, refusal.field) == (3, "1", "number")
    assert "differs in amount, lines" in refusal.reason
    assert desk.rows() == before


def test_an_imported_invoice_is_paid_credited_given_up_and_void_as_any(desk):
    desk.import_csv(csv_of(desk, *({"number": f"{n}"} for n in range(4))))
    paid, credited, given_up, void = (each.id for each in desk.invoices())
    because = Cause(why="a test")
    with transaction(company_id=desk.company_id) as session:
        invoices.void(session, locked(session, void), because=because)
        invoices.write_off(session, locked(session, given_up), because=because)
        due = locked(session, credited)
        credit_due(session, due, due.due, reason="a mistake", because=because)
    pay_by_transfer(desk, paid)
    found = {each.id: str(each.status) for each in desk.invoices()}
    assert found == {paid: "paid", credited: "paid", given_up: "uncollectible", void: "void"}
    assert desk.broken() == []


def locked(session, invoice_id: UUID) -> Invoice:
    invoice = invoices.lock(session, invoice_id)
    assert invoice is not None
    return invoice


def pay_by_transfer(desk: Desk, invoice_id: UUID) -> None:
    with transaction(company_id=desk.company_id) as session:
        invoice = locked(session, invoice_id)
        record(
            session,
            invoice,
            invoice.due,
            reference=str(invoice_id),
            received_on=clock.now().date(),
            because=Cause(why="a test"),
        )


@pytest.mark.parametrize("refuses_all", [False, True])
def test_a_dry_run_changes_nothing_and_tells_what_would_be(desk, refuses_all):
    text = csv_of(desk, {"number": "1"}, {"number": "2", "currency": "XXX"}, {"number": "3"})
    before = desk.rows()
    tried = desk.import_csv(text, is_dry_run=True, refuses_all=refuses_all)
    assert (tried.status, tried.made, tried.refused) == ("done", 2, 1)
    assert desk.rows() == before
    done = desk.import_csv(text)
    assert (done.made, done.refused) == (2, 1)
    told = [
        [(r.line, r.field, r.value, r.reason) for r in desk.refusals(each.id)]
        for each in (tried, done)
    ]
    assert told[0] == told[1]


def test_where_any_is_refused_none_may_be_imported(desk):
    rows = [{"number": f"{n}"} for n in range(60)]
    before = desk.rows()
    refused = desk.import_csv(csv_of(desk, *rows, {"number": "x", "status": "?"}), refuses_all=True)
    assert (refused.status, refused.seen, refused.refused) == ("refused", 61, 1)
    assert (refused.made, refused.updated, refused.skipped) == (0, 0, 60), "nothing was made"
    assert desk.rows() == before
    done = desk.import_csv(csv_of(desk, *rows), refuses_all=True)
    assert (done.status, done.phase, done.seen, done.made) == ("done", "writing", 60, 60)
    assert len(desk.invoices()) == 60


def test_a_file_of_which_everything_is_refused_ends_with_a_report(desk):
    rows = [{"number": f"{n}", "unit_amount": "NaN"} for n in range(120)]
    done = desk.import_csv(csv_of(desk, *rows))
    assert (done.status, done.seen, done.refused) == ("done", 120, 120)
    assert [each.line for each in desk.refusals(done.id)] == list(range(2, 122))


def test_every_line_of_a_refused_invoice_is_in_the_report(desk):
    rows = [{"number": "1"}, {"number": "1", "unit_amount": "x"}, {"number": "1"}]
    done = desk.import_csv(csv_of(desk, *rows))
    assert (done.seen, done.refused, done.refusals) == (1, 1, 3)
    assert sorted(each.line for each in desk.refusals(done.id)) == [2, 3, 4]


def test_companies_of_other_tenants_are_not_there(desk):
    other = make_company()
    with transaction(company_id=other.company_id) as session:
        theirs = f"cus_{other.company_id.hex}"
        session.add(
            ProviderCustomer(company_id=other.company_id, provider="stripe", provider_id=theirs)
        )
    with transaction(company_id=desk.company_id) as session:
        ours = f"cus_{desk.company_id.hex}"
        session.add(
            ProviderCustomer(company_id=desk.company_id, provider="stripe", provider_id=ours)
        )
    rows = (
        {"number": "1", "company_id": str(other.company_id)},
        {"number": "2", "company_id": "", "customer_id": theirs},
        {"number": "3", "company_id": "", "customer_id": ours},
        {"number": "4", "customer_id": ours},
    )
    done = desk.import_csv(csv_of(desk, *rows))
    assert (done.made, done.refused) == (2, 2)
    assert [each.field for each in desk.refusals(done.id)] == ["company_id", "customer_id"]
    assert desk.invoices(other.company_id) == []


def test_nobody_hears_of_an_imported_invoice_unless_that_is_asked(desk):
    def heard(number: str, status: str = "open", **asked: bool) -> set[str]:
        desk.import_csv(csv_of(desk, number=number, status=status), **asked)
        with transaction() as session:
            is_theirs = Owed.company_id == desk.company_id
            owed = select(Owed.task).where(is_theirs, Owed.task != RECORD)
            return set(session.scalars(owed))

    assert heard("0", announces=True, status="void") == set()
    assert heard("0a", announces=True, status="paid") == set()
    assert heard("1") == set()
    assert heard("2", announces=True, is_dry_run=True) == set()
    assert heard("3", announces=True) == {PUBLISH, "notifications.notify"}


@pytest.mark.parametrize("point", ["imports.taken", "imports.invoices.committed"])
def test_killed_at_any_point_it_goes_on_and_makes_no_twin(desk, monkeypatch, point):
    import_id = desk.begin(
        "invoices_csv", desk.file(csv_of(desk, *({"number": f"{n}"} for n in range(101))))
    )
    kills = 0

    def die(name: str) -> None:
        nonlocal kills
        if name == point and kills < 2:
            kills += 1
            raise Killed

    monkeypatch.setattr(importing.crash, "point", die)
    for _ in range(8):
        if not (due := desk.owed(import_id)):
            break
        try:
            ring(due[0].task, due[0].id)
        except Killed:
            continue
    assert kills == 2
    done = desk.found(import_id)
    assert (done.status, done.seen, done.made, done.pages) == ("done", 101, 101, 3)
    assert len(desk.invoices()) == 101


def test_a_message_that_comes_twice_does_nothing(desk):
    import_id = desk.begin("invoices_csv", desk.file(csv_of(desk, number="1")))
    [owed] = desk.owed(import_id)
    for _ in range(2):
        ring(owed.task, owed.id)
    assert desk.found(import_id).seen == 1


def test_two_imports_of_a_kind_never_run_at_once(desk):
    file_id = desk.file(csv_of(desk, number="1"))
    first = desk.begin("invoices_csv", file_id)
    with pytest.raises(IntegrityError):
        desk.begin("invoices_csv", file_id)
    desk.work(first)
    desk.work(desk.begin("invoices_csv", file_id))
    assert len(desk.invoices()) == 1


def test_what_was_left_behind_goes_on_and_old_files_are_forgotten(desk):
    file_id = desk.file(csv_of(desk, number="1"))
    import_id = desk.begin("invoices_csv", file_id)
    [owed] = desk.owed(import_id)
    with transaction() as session:
        session.delete(session.get_one(Owed, owed.id))
        long_ago = clock.now() - timedelta(days=31)
        session.execute(update(Import).where(Import.id == import_id).values(updated_at=long_ago))
        old = update(ImportFile).where(ImportFile.id == file_id)
        session.execute(old.values(created_at=long_ago))
    importing.sweep()
    desk.work(import_id)
    assert desk.found(import_id).made == 1
    importing.sweep()
    with transaction() as session:
        pages = select(func.count(ImportPage.id)).where(ImportPage.file_id == file_id)
        assert session.scalar(pages) == 0
        assert session.get_one(ImportFile, file_id).pages == 0


def test_a_long_file_is_imported_in_bounded_steps(desk):
    rows = ({"number": f"{n}", "description": "Seats " * 10} for n in range(MANY))
    text = csv_of(desk, *rows)
    if LONG:
        tracemalloc.start()
    file_id = desk.file(text)
    began = time.perf_counter()
    import_id = desk.begin("invoices_csv", file_id)
    slowest_s = 0.0
    while due := desk.owed(import_id):
        page_began = time.perf_counter()
        ring(due[0].task, due[0].id)
        slowest_s = max(slowest_s, time.perf_counter() - page_began)
    took_s = time.perf_counter() - began
    done = desk.found(import_id)
    assert (done.made, done.pages) == (MANY, MANY // 50)
    if LONG:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(f"{MANY}: {took_s:.0f} s, a page {slowest_s:.1f} s, {peak / 1e6:.0f} MB")  # noqa: T201
        assert peak < 20 * len(text)
    with transaction() as session:
        kept = select(func.sum(ImportedInvoice.paid_before), func.count()).where(
            ImportedInvoice.import_id == import_id
        )
        found = session.execute(across_companies(kept, because="a test counts")).one()
        assert tuple(found) == (Decimal("0.00"), MANY)
