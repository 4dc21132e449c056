"""Safe breaks are mended by what webhooks use, and nothing else is touched; nobody is charged."""

from __future__ import annotations

import itertools
import os
from uuid import UUID

import pytest
from sqlalchemy import select

from models.alerts import Alert
from models.base import across_companies
from models.breaks import BreakStatus, ReconciliationBreak, Resolution
from models.clock import now
from models.disputes import Dispute
from models.mail import Mail
from models.methods import ProviderCustomer
from models.outbox import Owed
from models.reconciliations import ReconciliationRun
from models.refunds import Refund
from models.transactions import Status, Transaction
from tests.bell import ring
from tests.factories import make_company
from tests.tasks.reconciling_desk import Book, Desk, a_day, serving
from worker.database import transaction
from worker.gateways import gateway_for
from worker.gateways.books import book_of
from worker.settings import settings

DAYS = itertools.count(os.getpid() % 97 * 20 + 2000)
OURS = "a test looks"


def forget() -> None:
    settings.cache_clear()
    book_of.cache_clear()
    gateway_for.cache_clear()


@pytest.fixture
def desk(database, customer, monkeypatch):
    book = Book()
    with serving(book) as address:
        monkeypatch.setenv("STRIPE_API_BASE", address)
        forget()
        yield Desk(book, customer, a_day(next(DAYS)))
        assert {method for method, _ in book.requests} == {"GET"}
    monkeypatch.undo()
    forget()


def behind(desk: Desk, n: int = 1, **intent: object) -> tuple[str, object]:
    """A payment that was made there, and whose webhook was missed."""
    intent_id = f"pi_{desk.mark}{n}"
    desk.theirs(n, payment_intent=intent_id)
    told = {"amount": 1000, "amount_received": 1000, "currency": "inr", "status": "succeeded"}
    more = {"latest_charge": f"ch_{desk.mark}{n:>05}", "metadata": {}, "object": "payment_intent"}
    desk.book.add("payment_intents", intent_id, **(told | more | intent))
    pending = {"payment_processor_id": None, "provider_transaction_id": intent_id}
    [payment_id] = desk.ours(n, status=Status.PROCESSING, **pending)
    return intent_id, payment_id


def mend_all(desk: Desk, run_id: object) -> None:
    """Do what the end of a run owes, as a worker does."""
    mend_owed("repairs.begin", run_id=str(run_id))
    for each in desk.breaks():
        mend_owed("repairs.mend", break_id=str(each.id))


def mend_owed(task: str, **arguments: str) -> None:
    with transaction() as session:
        found = [
            owed.id
            for owed in session.scalars(select(Owed).where(Owed.task == task))
            if owed.arguments == arguments
        ]
    for owed_id in found:
        with transaction() as session:
            session.get_one(Owed, owed_id).due_at = now()
        ring(task, owed_id)


def mended(desk: Desk) -> dict[str, ReconciliationBreak]:
    run = desk.reconcile()
    mend_all(desk, run.id)
    return {each.kind.value: each for each in desk.breaks()}


def one(kind, *conditions):
    with transaction() as session:
        query = across_companies(select(kind).where(*conditions), because=OURS)
        return session.scalars(query).one_or_none()


def test_a_payment_whose_webhook_was_missed_is_settled(desk):
    _, payment_id = behind(desk)
    found = mended(desk)["status"]
    payment = one(Transaction, Transaction.id == payment_id)
    assert payment.status == Status.SUCCEEDED
    assert payment.payment_processor_id == f"ch_{desk.mark}00001"
    assert (found.status, found.resolution) == (BreakStatus.REPAIRED, Resolution.REPAIRED)
    again = desk.reconcile()
    assert (again.opened, again.closed) == (0, 1)
    [closed] = desk.breaks()
    assert (closed.status, closed.resolution) == (BreakStatus.RESOLVED, Resolution.AGREED)


def test_what_the_intent_does_not_confirm_stays_open_and_says_why(desk):
    _, payment_id = behind(desk, status="processing", amount_received=0)
    found = mended(desk)["status"]
    assert one(Transaction, Transaction.id == payment_id).status == Status.PROCESSING
    assert found.status == BreakStatus.OPEN
    assert "processing" in found.repair_error


def test_a_refund_that_was_made_in_the_dashboard_is_adopted(desk):
    intent = f"pi_{desk.mark}"
    desk.theirs(1, payment_intent=intent)
    [payment_id] = desk.ours(1, provider_transaction_id=intent)
    settled(desk, payment_id)
    desk.their_refund("x", payment_intent=intent, charge=f"ch_{desk.mark}00001")
    assert mended(desk)["refund_missing_locally"].status == BreakStatus.REPAIRED
    kept = one(Refund, Refund.provider_refund_id == f"re_{desk.mark}x")
    assert (kept.transaction_id, kept.status, str(kept.amount)) == (payment_id, "succeeded", "4.00")


def test_a_dispute_that_was_not_heard_of_is_kept(desk):
    intent = f"pi_{desk.mark}"
    desk.theirs(1, payment_intent=intent)
    [payment_id] = desk.ours(1, provider_transaction_id=intent)
    desk.their_dispute("x", payment_intent=intent, charge=f"ch_{desk.mark}00001", reason="general")
    assert mended(desk)["dispute"].status == BreakStatus.REPAIRED
    kept = one(Dispute, Dispute.provider_dispute_id == f"du_{desk.mark}x")
    assert (kept.transaction_id, kept.status) == (payment_id, "needs_response")


def test_a_customer_with_our_companys_id_is_linked(desk):
    created = int(desk.day.timestamp())
    told = {"created": created, "metadata": {"company_id": str(desk.customer.company_id)}}
    desk.book.add("customers", f"cus_{desk.mark}", **told)
    assert mended(desk)["orphan_customer"].status == BreakStatus.REPAIRED
    kept = one(ProviderCustomer, ProviderCustomer.provider_id == f"cus_{desk.mark}")
    assert kept.company_id == desk.customer.company_id


def test_a_second_customer_of_a_company_is_left_to_a_person(desk):
    test_a_customer_with_our_companys_id_is_linked(desk)
    created = int(desk.day.timestamp())
    told = {"created": created, "metadata": {"company_id": str(desk.customer.company_id)}}
    desk.book.add("customers", f"cus_{desk.mark}second", **told)
    run = desk.reconcile()
    mend_all(desk, run.id)
    [left] = [each for each in desk.breaks() if each.status == BreakStatus.OPEN]
    assert left.object_id == f"cus_{desk.mark}second"
    assert "another customer" in left.repair_error


def test_what_is_not_safe_is_not_tried(desk):
    """Money that is not there, is there twice or is another sum is for a person."""
    desk.ours(1)
    desk.theirs(2, amount=2000)
    desk.ours(2)
    [third] = desk.both(3)
    other = make_company()
    desk.theirs(4, metadata={"company_id": str(other.company_id)})
    desk.ours(4)
    desk.theirs(5, metadata={"transaction_id": str(third)})
    desk.theirs(6, status="failed", balance_transaction=None)
    desk.ours(6)
    desk.theirs(7)
    run = desk.reconcile()
    kinds = {each.kind.value for each in desk.breaks()}
    assert kinds == {
        *("missing_at_provider", "amount", "wrong_company", "duplicate_charge", "status"),
        "missing_locally",
    }
    asked = len(desk.book.requests)
    mend_all(desk, run.id)
    assert len(desk.book.requests) == asked
    assert {each.status for each in desk.breaks()} == {BreakStatus.OPEN}
    assert {each.repair_error for each in desk.breaks()} == {None}


def alerts_of(desk: Desk) -> list[Alert]:
    with transaction() as session:
        wanted = select(Alert).where(Alert.kind == "reconciliation_breaks").order_by(Alert.id)
        return [
            each
            for each in session.scalars(wanted)
            if session.get_one(ReconciliationRun, UUID(each.detail["run_id"])).account
            == desk.account
        ]


def told(desk: Desk) -> list[Alert]:
    """The alerts after a run and all that its end owes."""
    run = desk.reconcile()
    mend_all(desk, run.id)
    mend_owed("repairs.tell", run_id=str(run.id))
    return alerts_of(desk)


def limit(monkeypatch, **limits: object) -> None:
    for name, value in limits.items():
        monkeypatch.setenv(f"RECONCILIATION_{name.upper()}", str(value))
    settings.cache_clear()


@pytest.mark.parametrize(("breaks", "amount", "is_told"), [(2, 999, 1), (9, 20, 1), (9, 21, 0)])
def test_people_are_told_above_a_threshold(desk, monkeypatch, breaks, amount, is_told):
    """Lack of ten here and a surplus of ten there do not make up for one another."""
    limit(monkeypatch, alert_breaks=breaks, alert_amount=amount)
    desk.ours(1)
    desk.theirs(2)
    assert len(told(desk)) == is_told
    assert len(told(desk)) == is_told


def test_what_is_mended_is_not_told(desk, monkeypatch):
    limit(monkeypatch, alert_breaks=1)
    behind(desk)
    assert told(desk) == []


def test_what_could_not_be_mended_is_told(desk, monkeypatch):
    limit(monkeypatch, alert_breaks=1)
    behind(desk, status="processing", amount_received=0)
    [raised] = told(desk)
    assert raised.detail["count"] == 1


def test_an_alert_is_over_when_less_waits(desk, monkeypatch):
    limit(monkeypatch, alert_breaks=1)
    desk.theirs(1)
    [raised] = told(desk)
    assert (raised.severity, raised.resolved_at) == ("critical", None)
    desk.ours(1)
    [over] = told(desk)
    assert over.resolved_at is not None


def test_the_people_of_the_named_company_get_one_letter(desk, monkeypatch):
    monkeypatch.setenv("MAIL_PROVIDER", "smtp")
    limit(monkeypatch, alert_breaks=1, mail_company=desk.customer.company_id)
    desk.theirs(1)
    told(desk)
    told(desk)
    with transaction() as session:
        wanted = select(Owed).where(
            Owed.task == "notifications.notify", Owed.company_id == desk.customer.company_id
        )
        [letter] = session.scalars(wanted)
    assert letter.arguments["template"] == "reconciliation_breaks"
    assert letter.arguments["told"]["sums"] == "10.00 INR"
    ring("notifications.notify", letter.id)
    with transaction(company_id=desk.customer.company_id) as session:
        to = {mail.recipient for mail in session.scalars(select(Mail))}
    assert desk.customer.email in to


def settled(desk: Desk, payment_id) -> None:
    """Have a payment in the ledger, as one that was charged here is."""
    with transaction(company_id=desk.customer.company_id) as session:
        payment = session.get_one(Transaction, payment_id)
        payment.amount_captured = payment.amount
