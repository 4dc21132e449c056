"""Bank transfers that an operator records, gives back and takes back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from models import invariants
from models.clock import now
from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus
from models.ledger import Account, LedgerEntry
from models.outbox import Owed
from models.tenants import Company
from models.timeline import history
from models.transactions import Dunning, Status, Transaction
from tests.factories import make_company, make_invoice, make_payment
from tests.tasks.dunning_shop import opened
from tests.tasks.provider_events import deliver, events_of
from tests.web.visitor import problem_of
from worker.database import transaction

TRANSFER = {
    "amount": "100.00",
    "currency": "INR",
    "reference": "UTR 1",
    "received_on": "2026-11-20",
}
PAYMENTS = "/api/v1/payments"


@pytest.fixture
def invoice_id(ours):
    return make_invoice(ours.company_id)


@pytest.fixture
def send(operator, ours):
    """Post as an operator who acts for our company."""

    def post(path, body, **headers):
        return operator.post(path, body, X_Company_Id=str(ours.company_id), **headers)

    return post


@pytest.fixture
def record(send):
    def post(invoice_id, *, key=None, **changed):
        path = f"/api/v1/invoices/{invoice_id}/bank-transfers"
        return send(path, TRANSFER | changed, **({"Idempotency_Key": key} if key else {}))

    return post


@pytest.fixture
def recorded(record, invoice_id):
    answer = record(invoice_id)
    assert answer.status_code == 201, answer.text
    return answer.json["transaction_id"]


def invoice_of(ours, invoice_id) -> Invoice:
    with transaction(company_id=ours.company_id) as session:
        return session.get_one(Invoice, invoice_id)


def balances(ours):
    with transaction(company_id=ours.company_id) as session:
        totals = dict.fromkeys(Account, 0)
        for entry in session.scalars(select(LedgerEntry)):
            totals[entry.account] += entry.amount
        return {str(account): total for account, total in totals.items() if total}


def broken(*ids):
    with transaction() as session:
        found = invariants.check(session, limit=10_000, within=timedelta(hours=1))
    return [str(one) for one in found if any(str(identity) in one.detail for identity in ids)]


def test_a_transfer_pays_the_invoice_at_once(record, ours, staff, invoice_id):
    answer = record(invoice_id)
    assert answer.status_code == 201, answer.text
    told = answer.json
    assert (told["status"], told["invoice_status"], told["amount_due"]) == ("succeeded", "paid", 0)
    assert (told["reference"], told["received_on"]) == ("UTR 1", "2026-11-20")
    invoice = invoice_of(ours, invoice_id)
    assert (invoice.status, invoice.amount_paid) == (InvoiceStatus.PAID, 100)
    assert balances(ours) == {"bank": 100, "revenue": -100}
    with transaction(company_id=ours.company_id) as session:
        payment = session.scalars(select(Transaction)).one()
        lines = [line for line in history(session, [payment.id]) if line.became]
        told = select(Owed).where(Owed.company_id == ours.company_id)
        [owed] = session.scalars(told.where(Owed.task == "events.publish"))
    assert [(line.became, line.user_id) for line in lines] == [("succeeded", staff.user_id)]
    assert (owed.task, [one["type"] for one in owed.arguments["events"]]) == (
        "events.publish",
        ["payment.succeeded", "invoice.paid"],
    )
    assert broken(payment.id, invoice_id) == []


def test_the_company_has_a_receipt_for_each_transfer(record, ours, invoice_id):
    with transaction() as session:
        session.get_one(Company, ours.company_id).time_zone = "Pacific/Kiritimati"
    record(invoice_id, amount="30")
    record(invoice_id, amount="70", reference="2")
    with transaction(company_id=ours.company_id) as session:
        query = select(Owed).where(
            Owed.company_id == ours.company_id, Owed.task == "notifications.notify"
        )
        owed = [row.arguments for row in session.scalars(query.order_by(Owed.id))]
    assert [one["template"] for one in owed] == ["payment_succeeded"] * 2
    assert [one["told"]["amount"] for one in owed] == ["30.00", "70.00"]
    # The day that it came on, where the company is.
    assert owed[0]["told"]["paid_at"] == "2026-11-20T12:00:00+14:00"


def test_an_invoice_is_paid_by_several_transfers_and_never_too_much(record, ours, invoice_id):
    assert record(invoice_id, amount="30").json["invoice_status"] == "open"
    problem = problem_of(record(invoice_id, amount="70.01", reference="2"), 422, "invalid")
    assert "70.00 INR that is due" in problem["detail"]
    assert record(invoice_id, amount=70, reference="2").json["invoice_status"] == "paid"
    problem_of(record(invoice_id, amount=1, reference="3"), 409, "conflict")
    assert balances(ours) == {"bank": 100, "revenue": -100}


def test_a_reference_is_recorded_once_a_company(record, ours, recorded, operator, staff):
    another = make_invoice(ours.company_id)
    problem = problem_of(record(another), 409, "conflict")
    assert problem["transaction_id"] == recorded
    assert invoice_of(ours, another).amount_paid == 0
    problem_of(record(another, reference=" utr   1 "), 409, "conflict")
    neighbour = make_company(tenant_id=staff.tenant_id)
    path = f"/api/v1/invoices/{make_invoice(neighbour.company_id)}/bank-transfers"
    answer = operator.post(path, TRANSFER, X_Company_Id=str(neighbour.company_id))
    assert answer.status_code == 201


def test_the_same_transfer_recorded_at_once_by_many_counts_once(record, ours):
    invoices = [make_invoice(ours.company_id) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(record, invoices))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert balances(ours)["bank"] == 100


def test_the_same_key_records_once(record, ours, invoice_id):
    first, second = (record(invoice_id, key="once") for _ in range(2))
    assert (first.status_code, first.data) == (second.status_code, second.data)
    assert balances(ours)["bank"] == 100


def test_a_transfer_that_makes_no_sense_is_refused_by_name(record, invoice_id):
    for field, value in (
        ("amount", "0"),
        ("amount", "1.001"),
        ("currency", "EUR"),
        ("currency", "XXX"),
        ("reference", " "),
        ("reference", "x" * 141),
        ("reference", "line\nline"),
        ("received_on", "20.11.2026"),
        ("received_on", "9999-12-31"),
        ("received_on", "0001-01-01"),
        ("received_on", "2016-11-20"),
    ):
        problem = problem_of(record(invoice_id, **{field: value}), 422, "invalid")
        assert [error["field"] for error in problem["errors"]] == [field], value


def test_nothing_is_recorded_beside_a_payment_that_is_under_way(record, ours, invoice_id):
    other = make_payment(ours, invoice_id, status=Status.PROCESSING)
    problem = problem_of(record(invoice_id), 409, "conflict")
    assert problem["transaction_id"] == str(other)


@pytest.mark.parametrize(("amount", "left"), [("100.00", "cleared"), ("99.00", "scheduled")])
def test_what_pays_the_invoice_ends_the_ladder(record, ours, invoice_id, amount, left):
    declined = make_payment(
        ours,
        invoice_id,
        status=Status.FAILED,
        dunning=Dunning.SCHEDULED,
        next_retry_at=now() + timedelta(days=1),
    )
    assert record(invoice_id, amount=amount).status_code == 201
    with transaction(company_id=ours.company_id) as session:
        payment = session.get_one(Transaction, declined)
    assert payment.dunning == left
    assert (payment.next_retry_at is None) == (left == "cleared")


def test_what_was_declined_before_cannot_be_paid_as_well(record, ours, sandbox, monkeypatch):
    """The customer may still have the page of a declined card open."""
    with opened(sandbox, monkeypatch, ours) as shop:
        declined = shop.pay(shop.card("pm_card_chargeCustomerFail"))
        payment = shop.payment(declined)
        assert payment.status == Status.FAILED
        assert record(payment.invoice_id).json["invoice_status"] == "paid"
        shop.work()
        assert shop.payment(declined).status == Status.CANCELED
    intent = sandbox.client().v1.payment_intents.retrieve(payment.provider_transaction_id)
    assert intent.status == "canceled"
    assert broken(declined, payment.invoice_id) == []


def test_a_transfer_in_part_leaves_no_intent_for_more_and_the_ladder_standing(
    record, ours, sandbox, monkeypatch
):
    """What is still due is charged by the ladder; nobody can pay the whole in an old tab."""
    with opened(sandbox, monkeypatch, ours) as shop:
        card = shop.card()
        shop.decline_next("insufficient_funds")
        declined = shop.pay(card)
        payment = shop.payment(declined)
        assert record(payment.invoice_id, amount="60.00").json["invoice_status"] == "open"
        shop.work()
        intent = sandbox.client().v1.payment_intents.retrieve(payment.provider_transaction_id)
        assert intent.status == "canceled"
        deliver(shop, events_of(shop, "payment_intent.canceled"))
        payment = shop.payment(declined)
        assert (payment.status, payment.dunning) == (Status.FAILED, Dunning.SCHEDULED)
        shop.climb_when_due(declined)
        payment = shop.payment(declined)
        assert (payment.status, payment.amount_captured) == (Status.SUCCEEDED, 40)
        assert shop.charges(declined) == 1
    assert broken(declined, payment.invoice_id) == []


def test_a_transfer_in_part_closes_nothing_that_asks_for_less(record, ours, sandbox, monkeypatch):
    with opened(sandbox, monkeypatch, ours) as shop:
        card = shop.card("pm_sandbox_decline_insufficient_funds")
        declined = shop.pay(card, amount="40.00", invoice_id=make_invoice(ours.company_id))
        assert record(shop.payment(declined).invoice_id, amount="60.00").status_code == 201
        assert shop.owed("payments.cancel") == []


def test_what_waits_for_the_customer_is_given_up_before_a_transfer_is_recorded(
    record, ours, invoice_id
):
    waiting = make_payment(ours, invoice_id, status=Status.REQUIRES_ACTION)
    problem = problem_of(record(invoice_id, amount="60.00"), 409, "conflict")
    assert f"POST {PAYMENTS}/{waiting}/cancel" in problem["detail"]


def test_a_mistaken_record_is_undone_and_the_invoice_due_again(
    send, record, ours, staff, invoice_id, recorded
):
    answer = send(f"{PAYMENTS}/{recorded}/reverse", {"reason": "of another customer"})
    assert answer.status_code == 201, answer.text
    told = answer.json
    assert (told["status"], told["invoice_status"], told["amount_due"]) == ("refunded", "open", 100)
    invoice = invoice_of(ours, invoice_id)
    assert (invoice.status, invoice.amount_paid, invoice.paid_at) == ("open", 0, None)
    assert balances(ours) == {"receivable": 100, "revenue": -100}
    with transaction(company_id=ours.company_id) as session:
        undone = [
            line for line in history(session, [invoice_id]) if line.became == InvoiceStatus.OPEN
        ]
    assert [line.user_id for line in undone] == [staff.user_id]
    assert broken(recorded, invoice_id) == []
    # Where it belongs it can be recorded, also in the same place.
    assert record(invoice_id).status_code == 201
    assert broken(recorded, invoice_id) == []
    problem_of(send(f"{PAYMENTS}/{recorded}/reverse", {"reason": "again"}), 409, "conflict")


def test_one_of_two_transfers_is_undone(send, record, ours, invoice_id):
    first = record(invoice_id, amount=60).json["transaction_id"]
    record(invoice_id, amount=40, reference="2")
    told = send(f"{PAYMENTS}/{first}/reverse", {"reason": "a typing mistake"}).json
    assert (told["invoice_status"], told["amount_due"]) == ("open", 60)
    assert balances(ours) == {"bank": 40, "receivable": 60, "revenue": -100}


def test_only_a_transfer_of_which_nothing_went_back_is_undone(send, ours, recorded):
    by_card = make_payment(
        ours, make_invoice(ours.company_id), status=Status.SUCCEEDED, amount_captured=100
    )
    problem_of(send(f"{PAYMENTS}/{by_card}/reverse", {"reason": "no"}), 409, "conflict")
    assert send(f"{PAYMENTS}/{recorded}/refund", {"amount": 1}).status_code == 201
    problem_of(send(f"{PAYMENTS}/{recorded}/reverse", {"reason": "no"}), 409, "conflict")
    problem_of(send(f"{PAYMENTS}/{new_id()}/reverse", {"reason": "no"}), 404, "not-found")
    problem_of(send(f"{PAYMENTS}/{recorded}/reverse", {"reason": " "}), 422, "invalid")


def test_what_an_operator_sends_back_is_a_refund_without_a_provider(send, ours, recorded):
    answer = send(f"{PAYMENTS}/{recorded}/refund", {"amount": 40, "notes": "sent by hand"})
    assert (answer.status_code, answer.json["status"]) == (201, "succeeded")
    problem_of(send(f"{PAYMENTS}/{recorded}/refund", {"amount": 61}), 422, "invalid")
    assert balances(ours) == {"bank": 60, "revenue": -60}
    with transaction(company_id=ours.company_id) as session:
        tasks = session.scalars(select(Owed.task).where(Owed.company_id == ours.company_id))
        assert set(tasks) == {"events.publish", "notifications.notify", "analytics.record"}
        payment = session.scalars(select(Transaction)).one()
    assert (payment.status, payment.amount_refunded) == ("partially_refunded", 40)
    assert broken(recorded, payment.invoice_id) == []


def test_another_companys_invoice_and_payment_are_not_found(send, staff):
    neighbour = make_company(tenant_id=staff.tenant_id)
    invoice_id = make_invoice(neighbour.company_id)
    payment_id = make_payment(
        neighbour,
        make_invoice(neighbour.company_id),
        status=Status.SUCCEEDED,
        payment_method="bank_transfer",
        amount_captured=100,
    )
    for path, body in (
        (f"/api/v1/invoices/{invoice_id}/bank-transfers", TRANSFER),
        (f"{PAYMENTS}/{payment_id}/reverse", {"reason": "no"}),
        (f"{PAYMENTS}/{payment_id}/refund", {"amount": 1}),
    ):
        problem_of(send(path, body), 404, "not-found")


def test_only_an_operator_records_refunds_and_undoes(visitor, person):
    company_id = person.company_id
    invoice_id = make_invoice(company_id)
    payment_id = make_payment(
        person,
        invoice_id,
        status=Status.SUCCEEDED,
        payment_method="bank_transfer",
        amount_captured=100,
    )
    owner = visitor.sign_in(person.email)
    for path, body in (
        (f"/api/v1/invoices/{invoice_id}/bank-transfers", TRANSFER),
        (f"{PAYMENTS}/{payment_id}/reverse", {"reason": "no"}),
        (f"{PAYMENTS}/{payment_id}/refund", {"amount": 1}),
    ):
        problem_of(owner.post(path, body), 403, "forbidden")
