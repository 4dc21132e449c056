"""The companies' billing summary: one query however large the book is, read by its indexes."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import text

from models import summary
from models.clock import now
from models.ids import new_id
from models.invoices import InvoiceStatus
from models.tables import METADATA
from models.tenants import Company, Role, Tenant, User
from tests.exchange import forget_rates, keep_rates
from tests.factories import make_company, make_invoice
from tests.models.test_schema import engine_beside
from tests.queries import queries
from tests.web.visitor import problem_of
from worker.database import transaction

SUMMARY = "/api/v1/companies/summary"
D = Decimal


@pytest.fixture
def operator(visitor, use, password_hash):
    """Signed in for a tenant of this test's own; the tenant's id beside."""
    forget_rates()
    found = make_company(role=Role.OPERATOR, password_hash=password_hash)
    with transaction() as session:
        session.get_one(User, found.user_id).company_id = None
        session.get_one(Company, found.company_id).name = "Nothing yet"
    yield visitor.sign_in(found.email), found.tenant_id
    forget_rates()


def named(tenant_id, name: str, *amounts: tuple[str, str, str]):
    """A company with invoices: amount, currency and status of each."""
    company = make_company(tenant_id=tenant_id)
    with transaction() as session:
        session.get_one(Company, company.company_id).name = name
    for amount, currency, status in amounts:
        invoice_id = make_invoice(company.company_id, amount, currency)
        with transaction(company_id=company.company_id) as session:
            session.connection().execute(
                text("UPDATE invoices SET status = :status WHERE id = :id"),
                {"status": InvoiceStatus(status), "id": invoice_id.bytes},
            )
    return company


def told(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("name", "currency", "invoice_count", "total_billed", "total_paid")
    return tuple(row[name] for name in names)


def test_companies_are_summed_by_currency_the_largest_first(operator):
    who, tenant_id = operator
    keep_rates({"EUR": "0.8", "INR": "80"})
    named(tenant_id, "Mixed", ("100", "INR", "paid"), ("50", "INR", "open"), ("9", "EUR", "paid"))
    named(tenant_id, "Large", ("5", "EUR", "uncollectible"), ("95", "EUR", "paid"))
    named(tenant_id, "Unsure", ("500", "INR", "draft"), ("700", "INR", "void"))
    named(None, "Elsewhere", ("1000", "EUR", "paid"))
    found = who.get(SUMMARY).json
    assert [told(each) for each in found["data"][:3]] == [
        ("Large", "EUR", 2, 100, 95),
        ("Mixed", "EUR", 1, 9, 9),
        ("Mixed", "INR", 2, 150, 100),
    ]
    assert sorted(told(each) for each in found["data"][3:]) == [
        ("Nothing yet", "INR", 0, 0, 0),
        ("Unsure", "INR", 0, 0, 0),
    ]
    assert found["currency"] == "INR"
    compared = found["data"][0]["compared"]
    assert (compared["total_billed"], compared["total_paid"]) == (10000, 9500)
    assert compared["rate"] == 100
    in_dollars = who.get(f"{SUMMARY}?currency=USD").json["data"][0]["compared"]
    assert (in_dollars["currency"], in_dollars["total_billed"]) == ("USD", 125)


def test_what_has_no_rate_comes_last_and_says_so(operator):
    who, tenant_id = operator
    keep_rates({"INR": "80"})
    named(tenant_id, "Pounds", ("9000", "GBP", "paid"))
    named(tenant_id, "Rupees", ("1", "INR", "paid"))
    data = who.get(SUMMARY).json["data"]
    assert data[0]["name"] == "Rupees"
    [pounds] = [each for each in data if each["name"] == "Pounds"]
    assert (pounds["total_billed"], pounds["compared"]["missing"]) == (9000, "no_rate")
    assert pounds["compared"]["total_billed"] is None


def test_pages_hold_every_row_once_also_when_rates_move_meanwhile(operator):
    who, tenant_id = operator
    keep_rates({"EUR": "0.8", "INR": "80"})
    for number in range(4):
        # Equal sums too: their order is told by the id.
        named(tenant_id, f"Company {number}", ("7", "INR", "paid"), ("0.07", "EUR", "paid"))
    path, rows = f"{SUMMARY}?limit=3", []
    answer = who.get(path).json
    # Of another time than those before, which is kept by the second.
    keep_rates({"EUR": "0.001", "INR": "80"}, as_of=now() + timedelta(seconds=5))
    while True:
        rows += [(each["name"], each["currency"]) for each in answer["data"]]
        if answer["next_cursor"] is None:
            break
        answer = who.get(f"{path}&cursor={answer['next_cursor']}").json
    expected = [(f"Company {n}", each) for n in range(4) for each in ("EUR", "INR")]
    assert sorted(rows) == sorted([*expected, ("Nothing yet", "INR")])


def test_a_summary_is_one_query_of_invoices_however_many_companies_there_are(operator):
    who, tenant_id = operator
    for number in range(6):
        named(tenant_id, f"Company {number}", ("7", "INR", "paid"))
    with queries() as sent:
        assert len(who.get(SUMMARY).json["data"]) == 7
    assert len([each for each in sent if "invoices" in each]) == 1


def test_it_is_for_operators_only(owner, operator):
    problem_of(owner.get(SUMMARY), 403, "forbidden")


@pytest.mark.parametrize(
    "written",
    [
        "none",
        "1E9 {id} INR INR {us}",
        "NaN {id} INR INR {us}",
        "1.00 {id} INR XXX {us}",
        "1.00 xyz INR INR {us}",
        "1.00 {id} INR INR 9",
        "1.00 {id} INR INR {us} more",
    ],
)
def test_a_cursor_that_was_not_given_is_refused(operator, written):
    who, _ = operator
    text = written.format(id="0" * 32, us="1790000000000000")
    cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    problem_of(who.get(f"{SUMMARY}?cursor={cursor}"), 422, "invalid")
    problem_of(who.get(f"{SUMMARY}?cursor=a"), 422, "invalid")


# The book of a large tenant. All of it takes most of a minute to make; a tenth shows the same plan.
COMPANIES = 10_000
INVOICES = 1_000_000 if os.environ.get("PAYBEAT_WHOLE_BOOK") else 100_000
FILL_COMPANIES = """
INSERT INTO companies (id, tenant_id, name, email, currency, last_invoice_number,
    last_credit_note_number, language, time_zone, created_at, updated_at)
SELECT UNHEX(CONCAT(:prefix, LPAD(HEX(seq), 24, '0'))), :tenant, CONCAT('Company ', seq),
    'billing@example.com', ELT(1 + seq % 3, 'INR', 'EUR', 'USD'), 0, 0, 'en', 'UTC',
    NOW(6), NOW(6)
FROM seq_1_to_{companies}
"""
FILL_INVOICES = """
INSERT INTO invoices (id, company_id, number, status, amount, amount_paid, currency, version,
    created_at, updated_at{more})
SELECT UNHEX(CONCAT(:prefix, LPAD(HEX(seq), 24, '0'))),
    UNHEX(CONCAT(:prefix, LPAD(HEX(1 + (seq - 1) DIV {each}), 24, '0'))),
    CONCAT('INV-', seq), ELT(1 + seq % 5, 'open', 'paid', 'paid', 'void', 'uncollectible'),
    (seq % 100000) / 100, 0, ELT(1 + seq % 7 DIV 5, 'INR', 'EUR'), 1, NOW(6), NOW(6){zeros}
FROM seq_1_to_{invoices}
"""


@pytest.fixture(scope="module")
def large(server_urls) -> Iterator[tuple[sqlalchemy.Engine, Any]]:
    """A database with that book, and the tenant that it is of."""
    engine = engine_beside(server_urls.database, "book")
    METADATA.create_all(engine)
    tenant_id = new_id()
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.insert(Tenant).values(id=tenant_id, name="Large", is_platform=False)
        )
        needed = [
            column["name"]
            for column in sqlalchemy.inspect(engine).get_columns("invoices")
            if not column["nullable"] and f" {column['name']}" not in FILL_INVOICES
        ]
        sizes = {"each": INVOICES // COMPANIES, "invoices": INVOICES}
        more = "".join(f", {name}" for name in needed if name != "id")
        fill = FILL_INVOICES.format(more=more, zeros=", 0" * more.count(","), **sizes)
        ids = {"prefix": "0" * 8, "tenant": tenant_id.bytes}
        connection.execute(text(FILL_COMPANIES.format(companies=COMPANIES)), ids)
        connection.execute(text(fill), {"prefix": "0" * 8})
    with engine.connect() as connection:
        connection.execute(text("ANALYZE TABLE invoices, companies")).all()
    yield engine, tenant_id
    engine.dispose()


def asked(engine: sqlalchemy.Engine, tenant_id, **page: Any) -> tuple[list[Any], list[Any]]:
    """What a page holds, and the statements that were sent for it with their values."""
    sent: list[Any] = []

    def note(_connection, _cursor, statement, parameters, *_rest):
        sent.append((statement, parameters))

    sqlalchemy.event.listen(engine, "before_cursor_execute", note)
    rates = {"INR": D(1), "EUR": D("105.1"), "USD": D(84)}
    with sqlalchemy.orm.Session(engine) as session:
        rows = summary.billings(
            session, tenant_id, rates=rates, **{"after": None, "limit": 51, **page}
        )
    sqlalchemy.event.remove(engine, "before_cursor_execute", note)
    return list(rows), sent


def test_a_large_tenant_is_summed_by_one_query_that_reads_its_indexes(large, record_property):
    engine, tenant_id = large
    started = time.perf_counter()
    rows, sent = asked(engine, tenant_id)
    took_s = time.perf_counter() - started
    record_property("told", f"a summary of {INVOICES:,} invoices took {took_s:.2f} s")
    assert len(rows) == 51
    assert [each.worth for each in rows] == sorted((e.worth for e in rows), reverse=True)
    [(statement, parameters)] = sent
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"ANALYZE {statement}", parameters).mappings().all()
    steps = {step["table"]: step for step in plan}
    assert steps.keys() == {"companies", "invoices"}
    assert steps["companies"]["key"] in {"idx_companies_tenant", "idx_companies_name"}
    # Of an invoice nothing is read but its line in an index; neither is any sorted before it has
    # become part of a sum.
    assert steps["invoices"]["key"] == "idx_invoices_billed"
    assert "Using index" in steps["invoices"]["Extra"]
    assert "filesort" not in steps["invoices"]["Extra"]
    assert "temporary" not in steps["invoices"]["Extra"]
    assert float(steps["companies"]["r_rows"]) == COMPANIES


def test_the_sums_of_a_large_tenant_are_those_of_its_invoices(large):
    engine, tenant_id = large
    with engine.connect() as connection:
        whole = connection.execute(
            text(
                "SELECT currency, COUNT(*), SUM(amount) FROM invoices"
                " WHERE status IN ('open', 'paid', 'uncollectible') GROUP BY currency"
            )
        ).all()
    rows, _ = asked(engine, tenant_id, limit=1_000_000)
    sums: dict[str, list[Any]] = {}
    for row in rows:
        if row.invoice_count:
            found = sums.setdefault(row.billed_in, [0, D(0)])
            found[0] += row.invoice_count
            found[1] += row.total_billed
    assert sums == {currency: [number, amount] for currency, number, amount in whole}
