"""Payments and invoices by what people have at hand, and by more than one status."""

from __future__ import annotations

import pytest

from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus
from models.transactions import Status
from tests.factories import make_company, make_invoice, make_payment
from tests.queries import queries
from tests.web.visitor import problem_of
from worker.database import transaction

PAYMENTS, INVOICES = "/api/v1/payments", "/api/v1/invoices"


def found(who, path: str, *search: str, **more: object) -> list[str]:
    query = {**more, **({"search": search[0]} if search else {})}
    answer = who.send("GET", path, query_string=query)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json["data"]]


@pytest.fixture
def shop(person):
    """Two invoices with a payment each, as (invoice, payment); the neighbour's have the same."""
    made = []
    for customer in (person, make_company(tenant_id=person.tenant_id)):
        for word in ("first", "second"):
            invoice_id = make_invoice(customer.company_id)
            owner = "our" if customer is person else "their"
            payment_id = make_payment(
                customer,
                invoice_id,
                status=Status.SUCCEEDED,
                provider_transaction_id=f"pi_3_{owner}{word}{new_id().hex}",
                payment_processor_id=f"ch_3_{word}{invoice_id.hex}",
            )
            made.append((str(invoice_id), str(payment_id)))
    return made


def provider_id(who, payment_id: str) -> str:
    return who.get(f"{PAYMENTS}/{payment_id}").json["provider_transaction_id"]


def test_a_payment_is_found_by_its_id_and_how_that_begins(owner, shop):
    payment = shop[0][1]
    for search in (payment, payment.upper(), payment.replace("-", ""), payment[:30]):
        assert found(owner, PAYMENTS, search) == [payment], search
    # What was made within a minute begins alike: ours come, newest first, and nobody else's.
    assert found(owner, PAYMENTS, payment[:8]) == [shop[1][1], payment]


def test_a_payment_is_found_by_its_invoice(owner, shop):
    invoice, payment = shop[1]
    number = owner.get(f"{INVOICES}/{invoice}").json["number"]
    for search in (invoice, number, number.lower(), number[4:], number[4:].lstrip("0")):
        assert found(owner, PAYMENTS, search) == [payment], search


def test_a_payment_is_found_by_the_providers_ids_and_how_they_begin(owner, shop):
    payment = shop[0][1]
    intent = provider_id(owner, payment)
    for search in (intent, intent[:20], "pi_3_ourfirst", f"ch_3_first{shop[0][0][:8]}"):
        assert found(owner, PAYMENTS, search) == [payment], search
    assert found(owner, PAYMENTS, "pi_3_ourf") == [payment]
    for search in ("pi_3_their", intent.upper(), "ourfirst", "pi_3", "pi_3_our_", "______________"):
        assert found(owner, PAYMENTS, search) == [], search


def test_an_invoice_is_found_by_its_number_and_its_id(owner, shop):
    first, second = shop[0][0], shop[1][0]
    for search in ("INV-000002", "inv-000002", "2", "000002", second):
        assert found(owner, INVOICES, search) == [second], search
    assert found(owner, INVOICES, "INV-0000") == [second, first]
    assert found(owner, INVOICES, "INV-1000") == []


def test_what_is_searched_can_be_narrowed_and_comes_by_pages(owner, person, shop):
    failed = make_payment(person, make_invoice(person.company_id), status=Status.FAILED)
    begins = str(failed)[:8]
    if not shop[0][1].startswith(begins):
        begins = "pi_3_our"
    assert found(owner, PAYMENTS, begins, status="succeeded") == [shop[1][1], shop[0][1]]
    query = {"search": begins, "status": "succeeded", "limit": 1}
    page = owner.send("GET", PAYMENTS, query_string=query).json
    assert [each["id"] for each in page["data"]] == [shop[1][1]]
    query["cursor"] = page["next_cursor"]
    page = owner.send("GET", PAYMENTS, query_string=query).json
    assert [each["id"] for each in page["data"]] == [shop[0][1]]
    assert page["next_cursor"] is None


def test_several_statuses_are_asked_for_at_once(owner, person):
    ids = {}
    for status in (Status.FAILED, Status.SUCCEEDED, Status.CANCELED):
        invoice_id = make_invoice(person.company_id)
        ids[status] = str(make_payment(person, invoice_id, status=status))
    paid = make_invoice(person.company_id)
    with transaction(company_id=person.company_id) as session:
        session.get_one(Invoice, paid).status = InvoiceStatus.PAID
    wanted = [Status.FAILED.value, Status.CANCELED.value]
    assert found(owner, PAYMENTS, status=wanted) == [ids[Status.CANCELED], ids[Status.FAILED]]
    assert found(owner, INVOICES, status="paid") == [str(paid)]
    assert len(found(owner, INVOICES, status=["paid", "open"])) == 4


def test_several_statuses_come_by_pages_newest_first_and_each_once(owner, person):
    made = [
        str(make_payment(person, make_invoice(person.company_id), status=status))
        # The last page's rows are all of one status.
        for status in (Status.FAILED, Status.FAILED, Status.FAILED, Status.SUCCEEDED)
    ]
    query = {"status": ["failed", "succeeded", "failed", "refunded"], "limit": 2}
    seen = []
    while not seen or query["cursor"]:
        page = owner.send("GET", PAYMENTS, query_string=query).json
        seen.append([each["id"] for each in page["data"]])
        query["cursor"] = page["next_cursor"]
        query["limit"] = 1
    assert seen == [[made[3], made[2]], [made[1]], [made[0]]]


@pytest.mark.parametrize("path", [PAYMENTS, INVOICES])
@pytest.mark.parametrize(
    "query",
    [
        "search=",
        "search=a%00b",
        "search=a%0Ab",
        "search=a%7F",
        "search=a&search=b",
        f"search={'a' * 101}",
        "status=paid&status=nonsense",
        "status=",
    ],
)
def test_what_cannot_be_looked_for_is_refused(owner, path, query):
    told = problem_of(owner.get(f"{path}?{query}"), 422, "invalid")
    if "search=a&" not in query and "status" not in query:
        assert "must be an id, a number or how it begins" in told["errors"][0]["detail"]


@pytest.mark.parametrize("path", [PAYMENTS, INVOICES])
def test_what_nothing_is_called_finds_nothing(owner, shop, path):
    names = ["Müller", "acme corp", "john@x.y", "'; --", "\\", " ", "a" * 100, "\U0001f600"]
    wild = ["%", "_", "%%%%%%%%", "________", "INV-0000%", "INV-000__1", "pi_3_our%"]
    digits = ["\u0661", "\uff11", "INV-\uff10\uff10\uff10\uff10\uff10\uff11"]
    for text in (*names, *wild, *digits):
        assert found(owner, path, text) == [], text


def test_spaces_around_what_is_looked_for_are_none_of_it(owner, shop):
    assert found(owner, INVOICES, " INV-000002 ") == [shop[1][0]]


@pytest.mark.parametrize("path", [PAYMENTS, INVOICES])
def test_a_search_asks_the_database_once(owner, shop, path):
    with queries() as sent:
        owner.get(f"{path}?search={shop[0][1]}")
    assert len([each for each in sent if "user_sessions" not in each]) == 1
