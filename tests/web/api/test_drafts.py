"""Drafts until they are issued, and what ends an invoice by hand: void, given up, credited."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select

from models.invoices import draft
from models.outbox import Owed
from models.tenants import Role
from models.transactions import Dunning, Status, Transaction
from tests.factories import make_company, make_invoice, make_payment
from tests.models.test_issuing import booked, broken, line, read
from tests.web.visitor import problem_of
from worker.database import transaction

INVOICES = "/api/v1/invoices"
NOTES = "/api/v1/credit-notes"
SEATS = {"description": "Seats", "quantity": 2, "unit_amount": "50.00"}
GST = [{"name": "CGST", "percent": "9"}, {"name": "SGST", "percent": 9}]


@pytest.fixture
def ask(operator, ours):
    """Ask as an operator who acts for our company."""

    def send(method, path, body=None):
        headers = {"X-Company-Id": str(ours.company_id)}
        return operator.send(method, path, json=body, headers=headers)

    return send


@pytest.fixture
def owner(visitor, staff, password_hash):
    """Signed in for a company of the same tenant, which is theirs."""
    theirs = make_company(tenant_id=staff.tenant_id, password_hash=password_hash)
    return theirs, visitor.sign_in(theirs.email)


def owed(company_id, task):
    with transaction(company_id=company_id) as session:
        query = select(Owed).where(Owed.company_id == company_id, Owed.task == task)
        return [each.arguments for each in session.scalars(query.order_by(Owed.id))]


def told_kinds(company_id):
    return [e["type"] for each in owed(company_id, "events.publish") for e in each["events"]]


def test_an_invoice_is_issued_with_discounts_and_taxes_a_line(ask, ours):
    lines = [
        {**SEATS, "discount_percent": "12.5", "taxes": GST},
        {**SEATS, "discount_amount": "0.50"},
    ]
    answer = ask("POST", INVOICES, {"lines": lines, "due_on": "2026-12-31"})
    assert answer.status_code == 201, answer.text
    made = answer.json
    assert (made["subtotal"], made["discount_amount"], made["tax_amount"]) == (
        200,
        13,
        Decimal("15.76"),
    )
    assert (made["amount"], made["amount_due"], made["amount_credited"]) == (
        Decimal("202.76"),
        Decimal("202.76"),
        0,
    )
    first, second = made["lines"]
    assert first["taxes"] == [
        {"name": "CGST", "percent": 9, "amount": Decimal("7.88")},
        {"name": "SGST", "percent": 9, "amount": Decimal("7.88")},
    ]
    assert (first["total"], second["total"], second["kind"]) == (
        Decimal("103.26"),
        Decimal("99.50"),
        "item",
    )
    assert (made["number"], made["billed_to"]["name"]) == ("INV-000001", "A company")
    assert ask("GET", f"{INVOICES}/{made['id']}").json == made
    assert told_kinds(ours.company_id) == ["invoice.created"]
    [notice] = owed(ours.company_id, "notifications.notify")
    assert (notice["template"], notice["subject_id"]) == ("invoice_issued", made["id"])
    assert notice["told"] == {
        "invoice_number": "INV-000001",
        "amount": "202.76",
        "currency": "INR",
        "due_on": "2026-12-31",
    }
    assert broken(made["id"]) == []


def test_a_draft_is_changed_until_it_is_finalized(ask, ours):
    made = ask("POST", INVOICES, {"lines": [SEATS], "draft": True, "memo": "Hello"}).json
    path = f"{INVOICES}/{made['id']}"
    assert (made["status"], made["number"], made["billed_to"]) == ("draft", None, None)
    assert [each["id"] for each in ask("GET", f"{INVOICES}?status=draft").json["data"]] == [
        made["id"]
    ]
    problem_of(ask("GET", f"{path}/pdf"), 409, "conflict")
    problem_of(ask("PATCH", path, {"lines": []}), 422, "invalid")
    problem_of(ask("PATCH", path, {"currency": "EUR"}), 422, "invalid")
    changed = ask("PATCH", path, {"lines": [SEATS, SEATS], "due_on": "2026-12-31"}).json
    assert (changed["amount"], changed["memo"], changed["due_on"]) == (200, "Hello", "2026-12-31")
    assert ask("PATCH", path, {"memo": None}).json["memo"] is None
    final = ask("POST", f"{path}/finalize").json
    assert (final["status"], final["number"], final["amount"]) == ("open", "INV-000001", 200)
    for method, tail in (("PATCH", ""), ("DELETE", ""), ("POST", "/finalize")):
        body = {"memo": "no"} if method == "PATCH" else None
        problem_of(ask(method, f"{path}{tail}", body), 409, "conflict")
    assert told_kinds(ours.company_id)[-1] == "invoice.created"
    assert broken(made["id"]) == []


def test_a_deleted_draft_leaves_no_gap(ask):
    made = ask("POST", INVOICES, {"lines": [SEATS], "draft": True}).json
    path = f"{INVOICES}/{made['id']}"
    assert ask("DELETE", path).json == {"id": made["id"], "deleted": True}
    problem_of(ask("GET", path), 404, "not-found")
    problem_of(ask("DELETE", path), 404, "not-found")
    assert ask("POST", INVOICES, {"lines": [SEATS]}).json["number"] == "INV-000001"


WRONG = (
    ("lines.0.discount_percent", {"discount_percent": 101}),
    ("lines.0.discount_percent", {"discount_percent": "1.00001"}),
    ("lines.0.discount_amount", {"discount_amount": -1}),
    ("lines.0", {"discount_amount": "100.01"}),
    ("lines.0", {"discount_amount": 1, "discount_percent": 1}),
    ("lines.0.taxes.0.percent", {"taxes": [{"name": "VAT", "percent": -1}]}),
    ("lines.0.taxes.0.name", {"taxes": [{"name": "", "percent": 1}]}),
    ("lines.0.taxes", {"taxes": GST * 6}),
)


def test_a_discount_or_tax_that_makes_no_sense_is_refused_by_name(ask):
    for field, wrong in WRONG:
        problem = problem_of(ask("POST", INVOICES, {"lines": [SEATS | wrong]}), 422, "invalid")
        assert [each["field"] for each in problem["errors"]] == [field]


def test_lines_that_taxes_make_too_large_together_are_refused(ask):
    largest = {"description": "x", "quantity": 1, "unit_amount": "9999999999999.99"}
    problem = problem_of(ask("POST", INVOICES, {"lines": [largest, SEATS]}), 422, "invalid")
    assert problem["errors"][0]["field"] == "lines"


def test_only_an_operator_changes_what_a_subscription_bills(owner, ours):
    theirs, visitor = owner
    with transaction(company_id=theirs.company_id) as session:
        invoice_id = draft(
            session,
            theirs.company_id,
            currency="INR",
            lines=[line()],
            subscription_id=ours.user_id,
        ).id
    problem_of(visitor.send("DELETE", f"{INVOICES}/{invoice_id}"), 403, "forbidden")


ENDS = (
    ("void", None),
    ("mark-uncollectible", None),
    ("credit-notes", {"amount": 1, "reason": "please"}),
)


def test_who_owes_an_invoice_does_not_end_it(owner):
    theirs, visitor = owner
    invoice_id = make_invoice(theirs.company_id)
    for act, body in ENDS:
        problem_of(visitor.post(f"{INVOICES}/{invoice_id}/{act}", body), 403, "forbidden")
    assert read(theirs, invoice_id).status == "open"


def declined(ours, invoice_id):
    return make_payment(
        ours,
        invoice_id,
        status=Status.FAILED,
        dunning=Dunning.SCHEDULED,
        next_retry_at=read(ours, invoice_id).created_at,
        provider_transaction_id=f"pi_{invoice_id.hex}",
    )


def test_a_void_invoice_is_tried_no_more_and_cannot_be_paid(ask, ours):
    invoice_id = make_invoice(ours.company_id)
    payment_id = declined(ours, invoice_id)
    answer = ask("POST", f"{INVOICES}/{invoice_id}/void")
    assert (answer.status_code, answer.json["status"]) == (200, "void"), answer.text
    assert booked(ours, invoice_id) == {}
    with transaction(company_id=ours.company_id) as session:
        payment = session.get_one(Transaction, payment_id)
        assert (payment.dunning, payment.next_retry_at) == (Dunning.CLEARED, None)
    # What an old tab could still pay is closed at the provider.
    [closing] = owed(ours.company_id, "payments.cancel")
    assert closing["transaction_id"] == str(payment_id)
    assert told_kinds(ours.company_id)[-1] == "invoice.updated"
    problem_of(ask("POST", f"{INVOICES}/{invoice_id}/void"), 409, "conflict")
    assert broken(invoice_id) == []


def test_an_invoice_that_is_being_paid_is_not_ended(ask, ours):
    invoice_id = make_invoice(ours.company_id)
    make_payment(ours, invoice_id, status=Status.PROCESSING)
    for act, body in ENDS:
        problem_of(ask("POST", f"{INVOICES}/{invoice_id}/{act}", body), 409, "conflict")
    assert read(ours, invoice_id).status == "open"


def test_an_invoice_of_which_nothing_was_to_be_paid_can_be_void(ask, ours):
    free = ask("POST", INVOICES, {"lines": [{**SEATS, "discount_percent": 100}]}).json
    path = f"{INVOICES}/{free['id']}"
    assert free["status"] == "paid"
    problem_of(ask("POST", f"{path}/mark-uncollectible"), 409, "conflict")
    assert ask("POST", f"{path}/void").json["status"] == "void"
    assert broken(UUID(free["id"])) == []


def test_what_was_paid_in_part_is_not_made_void(ask, ours):
    invoice_id = make_invoice(ours.company_id)
    transfer = {
        "amount": 40,
        "currency": "INR",
        "reference": "UTR 1",
        "received_on": "2026-11-20",
    }
    assert ask("POST", f"{INVOICES}/{invoice_id}/bank-transfers", transfer).status_code == 201
    problem_of(ask("POST", f"{INVOICES}/{invoice_id}/void"), 409, "conflict")
    given_up = ask("POST", f"{INVOICES}/{invoice_id}/mark-uncollectible").json
    assert (given_up["status"], given_up["amount_due"]) == ("uncollectible", 60)
    problem_of(ask("POST", f"{INVOICES}/{invoice_id}/mark-uncollectible"), 409, "conflict")
    rest = transfer | {"amount": 60, "reference": "UTR 2"}
    told = ask("POST", f"{INVOICES}/{invoice_id}/bank-transfers", rest).json
    assert told["invoice_status"] == "paid"
    assert booked(ours, invoice_id) == {"bank": 100, "revenue": -100}
    assert broken(invoice_id) == []


def test_an_invoice_that_is_not_there_is_not_ended(ask, ours):
    other = make_invoice(make_company().company_id)
    for act, body in (("void", None), ("finalize", None), ("credit-notes", {"amount": 1})):
        path = f"{INVOICES}/{other}/{act}"
        problem_of(ask("POST", path, body and body | {"reason": "no"}), 404, "not-found")
    problem_of(ask("GET", f"{INVOICES}/{other}/pdf"), 404, "not-found")
    problem_of(ask("GET", f"{NOTES}/{ours.company_id}"), 404, "not-found")
    problem_of(ask("GET", f"{NOTES}/{ours.company_id}/pdf"), 404, "not-found")


def test_what_is_due_is_credited_by_hand_in_parts(ask, ours):
    made = ask("POST", INVOICES, {"lines": [{**SEATS, "taxes": GST}]}).json
    path = f"{INVOICES}/{made['id']}"
    answer = ask("POST", f"{path}/credit-notes", {"amount": 59, "reason": "half was broken"})
    assert answer.status_code == 201, answer.text
    note = answer.json
    assert (note["number"], note["amount"], note["tax_amount"]) == ("CN-000001", 59, 9)
    assert note["lines"][0]["taxes"][0] == {"name": "CGST", "percent": 9, "amount": 4.5}
    assert ask("GET", answer.headers["Location"]).json == note
    problem_of(ask("POST", f"{path}/credit-notes", {"amount": 60, "reason": "x"}), 422, "invalid")
    problem_of(ask("POST", f"{path}/credit-notes", {"amount": 0, "reason": "x"}), 422, "invalid")
    declined_id = declined(ours, UUID(made["id"]))
    assert ask("POST", f"{path}/credit-notes", {"amount": 59, "reason": "rest"}).status_code == 201
    invoice = ask("GET", path).json
    assert (invoice["status"], invoice["amount_due"], invoice["amount_credited"]) == (
        "paid",
        0,
        118,
    )
    with transaction(company_id=ours.company_id) as session:
        assert session.get_one(Transaction, declined_id).dunning == Dunning.CLEARED
    problem_of(ask("POST", f"{path}/credit-notes", {"amount": 1, "reason": "x"}), 409, "conflict")
    assert [each["number"] for each in ask("GET", NOTES).json["data"]] == ["CN-000002", "CN-000001"]
    assert ask("GET", f"{NOTES}?invoice_id={ours.company_id}").json["data"] == []
    assert told_kinds(ours.company_id)[-1] == "invoice.paid"
    pdf = ask("GET", f"{NOTES}/{note['id']}/pdf")
    assert (pdf.content_type, pdf.data[:5]) == ("application/pdf", b"%PDF-")
    assert broken(made["id"]) == []


def test_a_pdf_has_the_same_bytes_whatever_becomes_of_the_invoice(ask, ours):
    made = ask("POST", INVOICES, {"lines": [SEATS]}).json
    path = f"{INVOICES}/{made['id']}"
    first = ask("GET", f"{path}/pdf")
    assert first.headers["Content-Disposition"] == 'inline; filename="INV-000001.pdf"'
    company = f"/api/v1/companies/{ours.company_id}"
    assert ask("PATCH", company, {"language": "de"}).status_code == 200
    assert ask("POST", f"{path}/void").status_code == 200
    assert ask("GET", f"{path}/pdf").data == first.data
    again = ask("POST", INVOICES, {"lines": [SEATS]}).json
    assert b"/Lang (de)" in ask("GET", f"{INVOICES}/{again['id']}/pdf").data


def test_what_documents_say_of_a_company_is_changed_by_its_own_people(owner, ours, sign_in_as):
    theirs, visitor = owner
    path = f"/api/v1/companies/{theirs.company_id}"
    address = {"line1": "12, MG Road", "city": "Bengaluru", "country": "IN"}
    change = {"address": address, "tax_id": "29ABC", "language": "hi", "time_zone": "Asia/Kolkata"}
    answer = visitor.send("PATCH", path, json=change)
    assert answer.status_code == 200, answer.text
    told = answer.json
    assert {name: told[name] for name in ("tax_id", "language", "time_zone")} == {
        "tax_id": "29ABC",
        "language": "hi",
        "time_zone": "Asia/Kolkata",
    }
    assert told["address"] == address
    assert visitor.send("PATCH", path, json={"tax_id": None}).json["address"] == told["address"]
    for wrong in (
        {"language": "tlh"},
        {"time_zone": "Mars/Olympus"},
        {"address": {"country": "in"}},
        {"name": "Other"},
    ):
        problem_of(visitor.send("PATCH", path, json=wrong), 422, "invalid")
    elsewhere = f"/api/v1/companies/{ours.company_id}"
    problem_of(visitor.send("PATCH", elsewhere, json={"tax_id": "x"}), 404, "not-found")
    member = sign_in_as(Role.MEMBER)
    problem_of(member.send("PATCH", path, json={"tax_id": "x"}), 403, "forbidden")
