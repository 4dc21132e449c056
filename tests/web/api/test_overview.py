"""One look at a company, or at all of a tenant's: sums, counts, and what comes next."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import update

from models import overview
from models.alerts import Severity, raise_alert, resolve
from models.clock import now
from models.disputes import Dispute, DisputeStatus
from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus
from models.ledger import Account, LedgerEntry, post
from models.money import Money
from models.transactions import Dunning, Status, Transaction
from tests.factories import Customer, make_company, make_invoice, make_payment
from tests.queries import queries
from worker.database import transaction

OVERVIEW = "/api/v1/overview"
D = Decimal


@pytest.fixture
def owner(visitor, person):
    """In this process: no worker has anything to do here."""
    return visitor.sign_in(person.email)


def set_invoice(customer: Customer, invoice_id: UUID, **columns: object) -> None:
    with transaction(company_id=customer.company_id) as session:
        for name, value in columns.items():
            setattr(session.get_one(Invoice, invoice_id), name, value)


def post_days_ago(customer: Customer, days: int, amount: str, *, refund: bool = False) -> None:
    """What a payment, or a refund of one, leaves in the ledger, as if it had been then."""
    debit, credit = (
        (Account.REFUNDS, Account.CLEARING) if refund else (Account.CLEARING, Account.RECEIVABLE)
    )
    posting = f"test:{new_id()}"
    then = datetime.combine(now().date() - timedelta(days=days), time(), UTC)
    with transaction(company_id=customer.company_id) as session:
        money = Money(Decimal(amount), "INR")
        post(
            session,
            posting,
            company_id=customer.company_id,
            debit=debit,
            credit=credit,
            money=money,
            transaction_id=new_id(),
        )
        session.flush()
        session.execute(
            update(LedgerEntry).where(LedgerEntry.posting == posting).values(created_at=then)
        )


def climb(customer: Customer, in_h: int) -> UUID:
    return make_payment(
        customer,
        make_invoice(customer.company_id),
        status=Status.FAILED,
        dunning=Dunning.SCHEDULED,
        next_retry_at=now() + timedelta(hours=in_h),
        retry_count=1,
    )


def of(answer, currency="INR"):
    assert answer.status_code == 200, answer.text
    return next(each for each in answer.json["currencies"] if each["currency"] == currency)


@pytest.fixture
def busy(person):
    """Somebody else, of the same tenant, with a bit of everything."""
    other = make_company(tenant_id=person.tenant_id)
    for customer in (other, make_company()):
        invoice_id = make_invoice(customer.company_id, "7.00")
        set_invoice(customer, invoice_id, due_on=date(2020, 1, 1))
        make_payment(customer, invoice_id, status=Status.NEEDS_REVIEW)
        climb(customer, 1)
        post_days_ago(customer, 0, "7.00")
        dispute(customer)
        with transaction(company_id=customer.company_id) as session:
            raise_alert(
                session,
                "test",
                severity=Severity.CRITICAL,
                message="Look.",
                company_id=customer.company_id,
            )
    return other


def dispute(customer: Customer, **columns: object) -> None:
    payment_id = make_payment(customer, make_invoice(customer.company_id), status=Status.SUCCEEDED)
    with transaction(company_id=customer.company_id) as session:
        session.add(
            Dispute(
                company_id=customer.company_id,
                transaction_id=payment_id,
                provider="stripe",
                provider_dispute_id=f"du_{new_id().hex}",
                amount=Decimal("1.00"),
                currency="INR",
                reason="fraudulent",
                **{"status": DisputeStatus.NEEDS_RESPONSE, **columns},
            )
        )


def test_what_is_due_and_overdue_is_summed_by_currency(owner, person, busy):
    yesterday, today = now().date() - timedelta(days=1), now().date()
    make_invoice(person.company_id, "100.10")
    set_invoice(person, make_invoice(person.company_id, "50.00"), due_on=today)
    late = make_invoice(person.company_id, "30.00")
    set_invoice(person, late, due_on=yesterday, amount_paid=Decimal("10.05"))
    set_invoice(person, make_invoice(person.company_id, "9.00"), status=InvoiceStatus.VOID)
    make_invoice(person.company_id, "500", currency="JPY")
    answer = owner.get(OVERVIEW)
    assert [each["currency"] for each in answer.json["currencies"]] == ["INR", "JPY"]
    assert of(answer)["due"] == {"amount": D("170.05"), "number": 3}
    assert of(answer)["overdue"] == {"amount": D("19.95"), "number": 1}
    assert of(answer, "JPY")["due"] == {"amount": 500, "number": 1}
    assert of(answer, "JPY")["overdue"] == {"amount": 0, "number": 0}


def test_what_was_paid_and_given_back_is_summed_by_day(owner, person, busy):
    for days, amount in ((0, "1.10"), (0, "2.20"), (6, "4.40"), (7, "8.80"), (29, "17.60")):
        post_days_ago(person, days, amount)
    post_days_ago(person, 30, "100.00")
    post_days_ago(person, 1, "0.70", refund=True)
    make_invoice(person.company_id, "1000.00")
    found = of(owner.get(OVERVIEW))
    assert found["paid"] == {"today": D("3.3"), "last_7_days": D("7.7"), "last_30_days": D("34.1")}
    assert found["refunded"] == {"today": 0, "last_7_days": D("0.7"), "last_30_days": D("0.7")}
    days = {each["day"]: each for each in found["days"]}
    assert len(days) == overview.DAYS
    today = now().date()
    assert days[str(today)]["paid"] == D("3.3")
    assert days[str(today - timedelta(days=29))]["paid"] == D("17.6")
    assert days[str(today - timedelta(days=1))]["refunded"] == D("0.7")


def test_payments_are_counted_where_they_stand_and_the_next_retries_named(owner, person, busy):
    for status in (Status.SUCCEEDED, Status.SUCCEEDED, Status.REQUIRES_ACTION):
        make_payment(person, make_invoice(person.company_id), status=status)
    climbing = [climb(person, in_h) for in_h in (72, 24, 1, 6, 5, 4)]
    answer = owner.get(OVERVIEW).json
    assert answer["payments"] == dict.fromkeys(map(str, Status), 0) | {
        "succeeded": 2,
        "requires_action": 1,
        "failed": 6,
    }
    assert answer["retries"]["number"] == 6
    soonest = [each["transaction_id"] for each in answer["retries"]["soonest"]]
    assert soonest == [str(climbing[at]) for at in (2, 5, 4, 3, 1)]
    assert answer["retries"]["soonest"][0]["invoice_number"].startswith("INV-")
    assert answer["retries"]["soonest"][0]["company_name"] == "A company"


def test_what_is_given_up_is_no_retry(owner, person):
    for columns in ({"dunning": Dunning.STOPPED}, {"status": Status.SUCCEEDED}):
        with transaction(company_id=person.company_id) as session:
            payment = session.get_one(Transaction, climb(person, 1))
            session.execute(
                update(Transaction).where(Transaction.id == payment.id).values(**columns)
            )
    assert owner.get(OVERVIEW).json["retries"] == {"number": 0, "soonest": []}


def test_disputes_and_alerts_that_need_somebody_are_counted(owner, person, busy):
    soon, later = now() + timedelta(days=1), now() + timedelta(days=9)
    dispute(person, evidence_due_at=later)
    dispute(person, evidence_due_at=soon, status=DisputeStatus.WARNING_NEEDS_RESPONSE)
    dispute(person, evidence_due_at=soon, status=DisputeStatus.UNDER_REVIEW)
    with transaction(company_id=person.company_id) as session:
        for severity in (Severity.CRITICAL, Severity.WARNING):
            raise_alert(
                session, "test", severity=severity, message="Look.", company_id=person.company_id
            )
        over = raise_alert(
            session, "test", severity=Severity.INFO, message="", company_id=person.company_id
        )
        session.flush()
        resolve(over, why="seen to")
    answer = owner.get(OVERVIEW).json
    told = answer["disputes_needing_response"]
    assert told["number"] == 2
    assert datetime.fromisoformat(told["first_due_at"]) == soon
    assert answer["open_alerts"] == {"number": 2, "critical": 1, "warning": 1, "info": 0}


def test_an_operator_without_a_company_sees_their_tenants_and_no_other(operator, ours, staff):
    make_invoice(ours.company_id, "40.00")
    second = make_company(tenant_id=staff.tenant_id)
    make_invoice(second.company_id, "2.00")
    retry = climb(second, 3)
    post_days_ago(ours, 0, "5.00")
    stranger = make_company()
    make_invoice(stranger.company_id, "1000.00")
    climb(stranger, 1)
    post_days_ago(stranger, 0, "1000.00")
    whole = operator.get(OVERVIEW)
    assert whole.json["company_id"] is None
    assert of(whole)["due"] == {"amount": 142, "number": 3}
    assert of(whole)["paid"]["today"] == 5
    [shown] = whole.json["retries"]["soonest"]
    assert (shown["transaction_id"], shown["company_id"]) == (str(retry), str(second.company_id))
    one = operator.get(OVERVIEW, X_Company_Id=str(ours.company_id))
    assert one.json["company_id"] == str(ours.company_id)
    assert of(one)["due"] == {"amount": 40, "number": 1}
    assert operator.get(OVERVIEW, X_Company_Id=str(stranger.company_id)).status_code == 404


@pytest.mark.parametrize("is_whole", [False, True])
def test_an_overview_asks_eight_times_however_much_there_is(operator, ours, is_whole):
    headers = {} if is_whole else {"X_Company_Id": str(ours.company_id)}
    operator.get(OVERVIEW, **headers)
    counts = []
    for _ in range(2):
        for in_h in range(8):
            climb(ours, in_h)
            post_days_ago(ours, in_h, "1.00")
            dispute(ours)
        for _ in range(2):
            with queries() as sent:
                operator.get(OVERVIEW, **headers)
            counts.append(len([each for each in sent if " FROM user_sessions" not in each]))
    # Whether the company is the tenant's, and in what it is told: the rest is kept.
    assert counts == [8, 8, 8, 8] if is_whole else [9, 2, 9, 2]
