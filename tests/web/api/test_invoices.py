from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import uuid4

import orjson
import pytest
from sqlalchemy import select

from models.ledger import LedgerEntry
from tests.web.api.shop import INVOICES, bill, refuses
from worker.channels import stream_of


def line(quantity=1, unit_amount="1.00", description="Seats"):
    return {"description": description, "quantity": quantity, "unit_amount": unit_amount}


def issue(owner, *lines, **more):
    return owner.post(INVOICES, {"lines": list(lines), **more})


def test_an_invoice_is_the_exact_sum_of_its_lines(owner):
    answer = issue(
        owner,
        line(3, Decimal("33.35"), "Seats"),
        line("0.125", "10.04", "Hours"),
        line("0.125", "10.12", "More hours"),
        memo="Thank you.",
        due_on="2026-12-31",
    )
    assert answer.status == 201, answer
    invoice = answer.body
    # 1.255 and 1.265 are rounded half-even: both to the even cent.
    assert [one["amount"] for one in invoice["lines"]] == [
        Decimal("100.05"), Decimal("1.26"), Decimal("1.26"),
    ]  # fmt: skip
    assert invoice["amount"] == invoice["amount_due"] == Decimal("102.57")
    assert (invoice["status"], invoice["currency"]) == ("open", "INR")
    assert (invoice["memo"], invoice["due_on"]) == ("Thank you.", "2026-12-31")
    assert owner.get(answer.headers["Location"]).body == invoice


def test_an_invoice_stands_in_the_ledger_at_once(system, owner):
    bill(owner, "10.00")
    with system.session(owner.company_id) as session:
        entries = session.scalars(select(LedgerEntry)).all()
    assert {(e.account, e.amount) for e in entries} == {("receivable", 10), ("revenue", -10)}


def test_a_new_invoice_is_told_to_the_companys_browsers(system, owner):
    invoice_id = bill(owner, "10.00")
    stream = stream_of(owner.company_id)
    system.wait_until(lambda: system.redis.xlen(stream))
    [(_, entry)] = system.redis.xrange(stream)
    message = orjson.loads(entry["message"])
    assert message["type"] == "invoice.created"
    assert message["data"]["invoice_id"] == invoice_id
    assert message["data"]["amount"] == "10.00"


def test_numbers_follow_each_other_without_gaps(owner):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: issue(owner, line()), range(16)))
    refuses(issue(owner), 422, "lines")
    answers.append(issue(owner, line()))
    numbers = sorted(answer.body["number"] for answer in answers)
    assert numbers == [f"INV-{number:06d}" for number in range(1, 18)]


def test_the_same_key_issues_one_invoice(owner):
    body = {"lines": [line()]}
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: owner.post(INVOICES, body, key="once"), range(20)))
    assert {(answer.status, answer.text) for answer in answers} == {(201, answers[0].text)}
    assert len(owner.get(INVOICES).body["data"]) == 1


def test_the_companys_currency_is_used_unless_another_is_named(system):
    owner = system.member(company_id=system.company(currency="EUR"))
    assert issue(owner, line()).body["currency"] == "EUR"
    assert issue(owner, line(), currency="usd").body["currency"] == "USD"


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("lines.0.quantity", line(0)),
        ("lines.0.quantity", line(-1)),
        ("lines.0.quantity", line("1.00001")),
        ("lines.0.quantity", line("100000000000")),
        ("lines.0.quantity", line(quantity=True)),
        ("lines.0.unit_amount", line(1, "0")),
        ("lines.0.unit_amount", line(1, "1.001")),
        ("lines.0.unit_amount", line(1, "10000000000000")),
        ("lines.0", line(2, "9999999999999.99")),
        ("lines", line("0.0001", "1.00")),
        ("lines.0.description", line(description="")),
        ("lines.0.description", line(description="x" * 501)),
        ("lines.0.colour", {**line(), "colour": "red"}),
    ],
)
def test_a_line_that_makes_no_sense_is_refused_by_name(owner, field, wrong):
    refuses(issue(owner, wrong), 422, field)


def test_lines_that_add_up_to_more_than_a_row_can_hold_are_refused(owner):
    largest = line(1, "9999999999999.99")
    refuses(issue(owner, largest, line(1, "0.01")), 422, "lines")
    assert issue(owner, largest).body["amount"] == Decimal("9999999999999.99")


@pytest.mark.parametrize(
    ("field", "value"),
    [("currency", "XXX"), ("currency", 1), ("due_on", "tomorrow"), ("due_on", 86400),
     ("memo", "x" * 2001), ("colour", "red"), ("lines", [line()] * 201), ("lines", "none")],
)  # fmt: skip
def test_an_invoice_that_makes_no_sense_is_refused_by_name(owner, field, value):
    refuses(owner.post(INVOICES, {"lines": [line()], field: value}), 422, field)


def test_a_currency_without_decimals_rounds_each_line_to_whole_units(owner):
    refuses(issue(owner, line(1, "1.5"), currency="JPY"), 422, "lines.0.unit_amount")
    answer = issue(owner, line("2.5", 1), line("3.5", 1), currency="JPY")
    assert [one["amount"] for one in answer.body["lines"]] == [2, 4]
    assert answer.body["amount"] == 6


def test_invoices_are_listed_and_found_by_what_they_are(owner):
    rupees, yen = bill(owner), bill(owner, "5", currency="JPY")

    def ids(**query):
        return [invoice["id"] for invoice in owner.get(INVOICES, **query).body["data"]]

    between = owner.get(f"{INVOICES}/{yen}").body["created_at"]
    assert ids() == [yen, rupees]
    assert ids(currency="INR") == [rupees]
    assert ids(status="open") == [yen, rupees]
    assert ids(status="paid") == []
    assert ids(created_from=between) == [yen]
    assert ids(created_to=between) == [rupees]
    first = owner.get(INVOICES, limit=1).body
    second = owner.get(INVOICES, limit=1, cursor=first["next_cursor"]).body
    assert [page["data"][0]["id"] for page in (first, second)] == [yen, rupees]
    assert second["next_cursor"] is None


def test_an_invoice_that_is_not_there_is_not_found(owner):
    refuses(owner.get(f"{INVOICES}/{uuid4()}"), 404)
    refuses(owner.get(f"{INVOICES}/no-id"), 404)
