"""What people look at all day is found by an index, however much others have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, event, insert, text

from models.alerts import Alert, Severity
from models.base import across_companies
from models.clock import now
from models.disputes import Dispute, DisputeStatus
from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus
from models.ledger import Account, LedgerEntry
from models.tenants import Company, Role, User
from models.transactions import Dunning, Provider, Status, Transaction
from tests.factories import Customer, make_company
from worker.database import engine, transaction
from worker.passwords import hash_password

EACH = 60
OTHERS = 24
BECAUSE = "a test of all companies"


@dataclass
class Crowd:
    """A company among many, of two tenants, and an operator of its tenant."""

    ours: Customer
    staff: Customer
    payment: dict[str, Any]


def rows_of(company_id) -> dict[type, list[dict[str, Any]]]:
    """As much for each company: invoices, payments, postings, disputes and alerts."""
    invoices, payments, postings, disputes, alerts = [], [], [], [], []
    for number in range(EACH):
        invoice_id, payment_id, money = new_id(), new_id(), Decimal("1.00")
        is_failed = number % 10 == 0
        at = now() - timedelta(days=number)
        own = {"company_id": company_id, "created_at": at}
        changing = {**own, "updated_at": at, "version": 1, "amount": money, "currency": "INR"}
        invoices.append(
            {
                **changing,
                "id": invoice_id,
                "number": f"INV-{number:06d}",
                "status": InvoiceStatus.OPEN if is_failed else InvoiceStatus.PAID,
                "amount_paid": 0,
            }
        )
        payments.append(
            {
                **changing,
                "id": payment_id,
                "invoice_id": invoice_id,
                "status": Status.FAILED if is_failed else Status.SUCCEEDED,
                "payment_method": Provider.STRIPE,
                "provider_transaction_id": f"pi_{payment_id.hex}",
                "payment_processor_id": f"ch_{payment_id.hex}",
                "next_retry_at": now() if is_failed else None,
                "dunning": Dunning.SCHEDULED if is_failed else Dunning.NONE,
            }
        )
        postings += postings_of(payment_id, money, own)
        disputes.append(
            {
                **changing,
                "id": new_id(),
                "transaction_id": payment_id,
                "provider": "stripe",
                "provider_dispute_id": f"du_{payment_id.hex}",
                "reason": "fraudulent",
                "status": DisputeStatus.NEEDS_RESPONSE if is_failed else DisputeStatus.WON,
            }
        )
        alerts.append(
            {
                **own,
                "id": new_id(),
                "updated_at": at,
                "kind": "test",
                "severity": Severity.WARNING,
                "message": "",
                "resolved_at": None if is_failed else at,
            }
        )
    return {
        Invoice: invoices,
        Transaction: payments,
        LedgerEntry: postings,
        Dispute: disputes,
        Alert: alerts,
    }


def postings_of(payment_id, money: Decimal, own: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            **own,
            "id": new_id(),
            "posting": f"payment:{payment_id}",
            "account": account,
            "amount": amount,
            "currency": "INR",
            "transaction_id": payment_id,
        }
        for account, amount in ((Account.CLEARING, money), (Account.RECEIVABLE, -money))
    ]


@pytest.fixture(scope="module")
def crowd(migrated) -> Iterator[Crowd]:
    secret = hash_password("correct horse battery staple")
    ours = make_company(password_hash=secret)
    staff = make_company(role=Role.OPERATOR, tenant_id=ours.tenant_id, password_hash=secret)
    theirs = make_company()
    customers = [ours, staff] + [
        make_company(tenant_id=(ours, theirs)[at % 6 > 0].tenant_id) for at in range(OTHERS)
    ]
    made = [rows_of(customer.company_id) for customer in customers]
    kinds = list(made[0])
    with transaction() as session:
        session.get_one(User, staff.user_id).company_id = None
        for kind in kinds:
            for rows in made:
                session.execute(across_companies(insert(kind), because=BECAUSE), rows[kind])
    with engine().begin() as connection:
        names = ", ".join(kind.__tablename__ for kind in (*kinds, Company))
        connection.execute(text(f"ANALYZE TABLE {names}")).all()
    yield Crowd(ours, staff, made[0][Transaction][0])
    ids = [customer.company_id for customer in customers]
    with transaction() as session:
        for kind in reversed(kinds):
            doomed = delete(kind).where(kind.company_id.in_(ids))
            session.execute(across_companies(doomed, because=BECAUSE))


@contextmanager
def explained() -> Iterator[list[tuple[str, Any]]]:
    """The plan of every SELECT that this process sends meanwhile: its text, and a row a table."""
    sent: list[tuple[str, Any]] = []
    plans: list[tuple[str, Any]] = []

    def note(_connection, _cursor, statement, parameters, *_rest):
        sent.append((statement, parameters))

    event.listen(engine(), "before_cursor_execute", note)
    yield plans
    event.remove(engine(), "before_cursor_execute", note)
    with engine().connect() as connection:
        for statement, parameters in sent:
            if statement.startswith("SELECT") and "user_sessions" not in statement:
                plan = connection.exec_driver_sql(f"ANALYZE {statement}", parameters)
                plans.append((statement, plan.mappings().all()))


def rows_read(step) -> float:
    return float((step["r_rows"] or "0").split()[0])


def check(plans) -> None:
    """Every table is entered by an index, and none is read from end to end."""
    assert plans
    for statement, plan in plans:
        for step in plan:
            if re.match("<(derived|union|subquery)", step["table"] or "<union"):
                continue
            told = f"{statement}\n{dict(step)}"
            assert step["key"] is not None, told
            assert step["type"] not in {"ALL", "index"}, told


@pytest.fixture
def owner(visitor, crowd):
    return visitor.sign_in(crowd.ours.email)


@pytest.fixture
def operator(visitor, crowd):
    return visitor.sign_in(crowd.staff.email)


def test_an_overview_of_a_company_is_read_by_indexes(owner):
    with explained() as plans:
        assert owner.get("/api/v1/overview").status_code == 200
    assert len(plans) == 8
    check(plans)
    for _, plan in plans:
        assert sum(map(rows_read, plan)) <= EACH


def test_an_overview_of_a_tenant_is_read_by_indexes(operator):
    with explained() as plans:
        answer = operator.get("/api/v1/overview")
    assert answer.json["retries"]["number"] == (2 + OTHERS // 6) * EACH // 10
    check(plans)


@pytest.mark.parametrize(
    "query",
    ["", "?status=failed", "?status=failed&status=succeeded", "?created_from=2026-01-01T00:00:00Z"],
)
@pytest.mark.parametrize("path", ["/api/v1/payments", "/api/v1/invoices"])
def test_a_list_is_read_by_an_index(owner, path, query):
    if "invoices" in path:
        query = query.replace("failed", "open").replace("succeeded", "paid")
    with explained() as plans:
        assert owner.get(f"{path}{query}").json["data"]
    check(plans)


@pytest.mark.parametrize("name", ["id", "invoice_id", "provider_transaction_id", "number"])
def test_a_search_is_read_by_indexes(owner, crowd, name):
    search = {**crowd.payment, "number": "INV-000000"}[name]
    with explained() as plans:
        found = owner.get(f"/api/v1/payments?search={search}").json["data"]
    assert [each["id"] for each in found] == [str(crowd.payment["id"])]
    check(plans)


def test_an_invoice_is_searched_by_indexes(owner):
    with explained() as plans:
        assert len(owner.get("/api/v1/invoices?search=INV-00002").json["data"]) == 10
    check(plans)


@pytest.mark.parametrize("path", ["/api/v1/payments", "/api/v1/invoices"])
def test_for_what_nothing_is_called_no_table_is_read(owner, path):
    with explained() as plans:
        assert owner.get(f"{path}?search=acme%20corp").json["data"] == []
    assert [step["table"] for _, plan in plans for step in plan] == [None]


def test_companies_are_searched_by_an_index(operator):
    with explained() as plans:
        assert operator.get("/api/v1/companies?search=A%20comp").json["data"]
    check(plans)
