"""A company's figures are kept for an hour, and whoever looks after a write sees what it wrote."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, update

from models import ledger, locks
from models.alerts import Severity, raise_alert
from models.base import across_companies
from models.clock import now
from models.disputes import Dispute, DisputeStatus
from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus
from models.ledger import Account
from models.money import Money
from models.outbox import Owed
from models.refunds import Refund, RefundReason, RefundStatus
from models.tenants import Company
from models.timeline import Cause
from models.transactions import Dunning, Status, Transaction
from tests.bell import ring
from tests.factories import Customer, make_company, make_invoice, make_payment
from worker import figures
from worker.cache import shared
from worker.caching import caching
from worker.database import PUBLISH, transaction
from worker.events import announce

OVERVIEW = "/api/v1/overview"
BECAUSE = Cause(why="a test")


@pytest.fixture
def owner(visitor, person):
    """In this process: no worker has anything to do here."""
    return visitor.sign_in(person.email)


@pytest.fixture
def payment_id(person):
    """It waits for its next retry."""
    invoice_id, dunned = make_invoice(person.company_id), Dunning.SCHEDULED
    soon = now() + timedelta(days=1)
    return make_payment(person, invoice_id, dunning=dunned, next_retry_at=soon)


def due(owner) -> tuple[Decimal, int]:
    [sums] = owner.get(OVERVIEW).json["currencies"]
    return sums["due"]["amount"], sums["due"]["number"]


def write_behind(customer: Customer) -> None:
    """Write past all that makes figures stale: what is kept is then seen to be old."""
    with transaction() as session:
        session.execute(
            across_companies(
                update(Invoice).where(Invoice.company_id == customer.company_id).values(amount=7),
                because="a test writes what nothing hears of",
            )
        )


def create_invoice(owner, _person, _payment_id):
    line = {"description": "A seat", "quantity": 1, "unit_amount": "5.00"}
    assert owner.post("/api/v1/invoices", {"lines": [line]}).status_code == 201


def process_payment(_owner, person, payment_id):
    with transaction(company_id=person.company_id) as session:
        payment = locks.lock_existing(session, Transaction, payment_id)
        payment.move_to(Status.PROCESSING, because=BECAUSE)
        payment.move_to(Status.SUCCEEDED, because=BECAUSE)


def refund_payment(owner, person, payment_id):
    process_payment(owner, person, payment_id)
    with transaction(company_id=person.company_id) as session:
        refund = Refund(
            company_id=person.company_id,
            transaction_id=payment_id,
            amount=Decimal(40),
            reason=RefundReason.REFUND,
            status=RefundStatus.PENDING,
        )
        session.add(refund)
        payment = locks.lock_existing(session, Transaction, payment_id)
        payment.move_to(Status.PARTIALLY_REFUNDED, because=BECAUSE)


def dispute_payment(_owner, person, payment_id):
    with transaction(company_id=person.company_id) as session:
        session.add(
            Dispute(
                company_id=person.company_id,
                transaction_id=payment_id,
                provider="stripe",
                provider_dispute_id=f"du_{new_id().hex}",
                amount=Decimal(1),
                currency="INR",
                reason="fraudulent",
                status=DisputeStatus.NEEDS_RESPONSE,
            )
        )


def alert(_owner, person, _payment_id):
    with transaction() as session:
        raise_alert(
            session,
            "test",
            severity=Severity.INFO,
            message="Look.",
            company_id=person.company_id,
        )


def put_off_invoice(_owner, person, payment_id):
    with transaction(company_id=person.company_id) as session:
        payment = session.get_one(Transaction, payment_id)
        invoice = locks.lock_existing(session, Invoice, payment.invoice_id)
        invoice.due_on = now().date() - timedelta(days=2)


def post(_owner, person, payment_id):
    with transaction(company_id=person.company_id) as session:
        ledger.post(
            session,
            f"test:{payment_id}",
            company_id=person.company_id,
            debit=Account.CLEARING,
            credit=Account.RECEIVABLE,
            money=Money(Decimal(3), "INR"),
            transaction_id=payment_id,
        )


def rename(_owner, person, _payment_id):
    with transaction() as session:
        session.get_one(Company, person.company_id).name = "Another name"


# Each writes rows of a kind that no other does: who forgets one of figures.SUMMED is found.
WRITES = [
    create_invoice,
    put_off_invoice,
    process_payment,
    refund_payment,
    post,
    dispute_payment,
    alert,
    rename,
]


@pytest.mark.parametrize("write", WRITES)
def test_whoever_looks_after_a_write_sees_what_it_wrote(owner, person, payment_id, write):
    owner.get(OVERVIEW)
    write_behind(person)
    assert due(owner) == (100, 1)
    write(owner, person, payment_id)
    shown = owner.get(OVERVIEW).json
    caching().outdate([figures.figures_of(person.company_id, "*")])
    summed_up = owner.get(OVERVIEW).json
    assert shown | {"at": None} == summed_up | {"at": None}
    assert due(owner)[0] in (7, 12)


@pytest.mark.parametrize("write", WRITES)
def test_without_the_call_they_would_see_what_was_before(
    owner, person, payment_id, write, monkeypatch
):
    before = owner.get(OVERVIEW).json
    monkeypatch.setattr("worker.database.caching.forget_stale", lambda _: None)
    write(owner, person, payment_id)
    assert owner.get(OVERVIEW).json == before


def test_figures_are_kept_for_an_hour(owner, person):
    answer = owner.get(OVERVIEW).json
    key = figures.figures_of(person.company_id, "overview", answer["at"][:10])
    assert 3000 < shared().do(lambda r: r.ttl(key)) <= 3600


def test_who_hears_of_it_sees_it_though_redis_was_away_at_the_commit(owner, person, monkeypatch):
    invoice_id = make_invoice(person.company_id)
    owner.get(OVERVIEW)
    with monkeypatch.context() as away:
        # As if the process had ended right after the commit.
        away.setattr("worker.database.caching.forget_stale", lambda _: None)
        with transaction(company_id=person.company_id) as session:
            invoice = locks.lock_existing(session, Invoice, invoice_id)
            invoice.move_to(InvoiceStatus.VOID, because=BECAUSE)
            announce(session, "invoice.updated", invoice, invoice_id=invoice.id)
        assert due(owner) == (100, 1)
        with transaction() as session:
            owed = session.scalars(
                select(Owed).where(Owed.task == PUBLISH, Owed.company_id == person.company_id)
            ).all()
        for row in owed:
            ring(PUBLISH, row.id)
    assert owner.get(OVERVIEW).json["currencies"] == []


def test_figures_are_one_companys(owner, person, payment_id):
    """A write of one company leaves the figures of the others as they are kept."""
    other = make_company()
    others_payment_id = make_payment(other, make_invoice(other.company_id))
    owner.get(OVERVIEW)
    write_behind(person)
    process_payment(None, other, others_payment_id)
    assert due(owner) == (100, 1)
