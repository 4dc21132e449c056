"""Documents as PDF: of what was issued, in the company's language, the same bytes each time."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest
from pymupdf_fonts import fontbuffers

from models.credit_notes import credit_due
from models.invoices import Invoice, Line, Tax
from models.money import Money
from models.tenants import Company, Language, Tenant
from tests.models.test_issuing import BECAUSE, drafted, held, issued
from tests.worker.pdf_text import texts_of
from worker import pdf
from worker.database import transaction
from worker.pdf import page as page_module
from worker.pdf.formats import formats_of
from worker.pdf.page import page
from worker.pdf.words import WORDS

TAXED = Line(
    description="Seats",
    quantity=Decimal("2.5"),
    unit_amount=Decimal("50000.00"),
    discount_percent=Decimal(10),
    taxes=(Tax("CGST", Decimal(9)), Tax("SGST", Decimal("9.5"))),
    period=(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
)
USAGE = Line(
    description="Calls", quantity=Decimal(1000), unit_amount=Decimal("0.0025"), kind="usage"
)


def document(customer, invoice_id) -> bytes:
    with transaction(company_id=customer.company_id) as session:
        return pdf.of_invoice(session, session.get_one(Invoice, invoice_id))


def rename(customer, *, tenant: str = "A tenant", **columns) -> None:
    with transaction() as session:
        company = session.get_one(Company, customer.company_id)
        for name, value in columns.items():
            setattr(company, name, value)
        session.get_one(Tenant, customer.tenant_id).name = tenant


def billed(**changed):
    return {"language": "en", "address": None, "time_zone": "UTC"} | changed


def sample() -> bytes:
    """A page that needs no database, with letters that must be joined."""
    made_at = datetime(2026, 11, 23, tzinfo=UTC)
    with page(identity=UUID(int=5), made_at=made_at, title="INV-1", language="hi") as paper:
        paper.begin(foot="Acme", page="पृष्ठ")
        paper.columns(("विवरण", "राशि"), [("नमूना श्री", "₹1,23,456.00")], (50, 50))
        return bytes(paper.output())


def test_the_same_invoice_has_the_same_bytes_whatever_has_changed_since(customer):
    invoice_id = issued(customer, TAXED, USAGE, due_on=date(2026, 12, 31), memo="Thank you")
    first = document(customer, invoice_id)
    rename(customer, tenant="Another", name="Another", language="hi", address={"city": "Pune"})
    with held(customer, invoice_id) as (session, invoice):
        money = Money(invoice.amount, "INR")
        note = credit_due(session, invoice, money, reason="a mistake", because=BECAUSE)
        credited = pdf.of_credit_note(session, note)
        assert credited == pdf.of_credit_note(session, note)
    assert document(customer, invoice_id) == first
    assert "Pune" in texts_of(credited)
    assert "Pune" not in texts_of(first)


def test_another_process_makes_the_same_bytes():
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tests.worker import test_pdf as t; print(t.sha256(t.sample()).hexdigest())",
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert told.stdout.strip() == sha256(sample()).hexdigest()


def test_an_invoice_shows_what_was_billed_as_the_company_reads_it(customer):
    address = {
        "line1": "12, MG Road",
        "postal_code": "560001",
        "city": "Bengaluru",
        "country": "IN",
    }
    rename(customer, tenant="Acme Cloud", name="Namoona", address=address, tax_id="29ABC")
    invoice_id = issued(customer, TAXED, USAGE, due_on=date(2026, 12, 31), memo="Thank\nyou")
    texts = texts_of(document(customer, invoice_id))
    for expected in (
        *("Invoice", "Acme Cloud", "Namoona", "12, MG Road", "560001 Bengaluru", "IN"),
        *("Tax no. 29ABC", "INV-000001", "31 December 2026", "Thank", "you"),
        # So many, at so much, less the discount, at these rates.
        *("2.5", "50,000.00", "-12,500.00", "9 % + 9.5 %", "1,12,500.00"),
        *("1,000", "0.0025", "2.50"),
        *("Subtotal", "₹1,25,002.50", "Discount", "-₹12,500.00"),
        *("CGST 9 % of ₹1,12,500.00", "₹10,125.00", "SGST 9.5 % of ₹1,12,500.00", "₹10,687.50"),
        *("Total", "₹1,33,315.00", "Please pay by 31 December 2026.", "Page 1 / 1"),
    ):
        assert expected in texts, (expected, texts)
    assert "Seats (1 November 2026 \N{EN DASH} 30 November 2026)" in " ".join(texts)


def test_a_plain_invoice_has_no_columns_for_what_it_lacks(customer):
    plain = Line(description="Seats", quantity=Decimal(1), unit_amount=Decimal("1.50"))
    texts = texts_of(document(customer, issued(customer, plain, currency="USD")))
    assert "Discount" not in texts
    assert "Subtotal" not in texts
    assert "US$1.50" in texts


def test_a_credit_note_shows_what_of_each_tax_it_gives_back(customer):
    rename(customer, language="de", address={"country": "DE"})
    invoice_id = issued(customer, TAXED, currency="EUR")
    with held(customer, invoice_id) as (session, invoice):
        money = Money(Decimal("13331.25"), "EUR")
        note = credit_due(session, invoice, money, reason="Ausfall", because=BECAUSE)
        texts = texts_of(pdf.of_credit_note(session, note))
    for expected in (
        *("Gutschrift", "CN-000001", "Zur Rechnung", "INV-000001", "Ausfall", "11.250,00"),
        *("CGST 9 %", "1.012,50 €", "SGST 9,5 %", "1.068,75 €", "Gutgeschrieben", "13.331,25 €"),
    ):
        assert expected in texts, (expected, texts)


def test_a_long_invoice_goes_on_over_pages_and_names_its_columns_on_each(customer):
    several = [
        Line(description=f"Module {number}", quantity=Decimal(1), unit_amount=Decimal(1))
        for number in range(90)
    ]
    made = document(customer, issued(customer, *several))
    number = len(re.findall(rb"/Type /Page\b", made))
    texts = texts_of(made)
    assert number > 2
    assert texts.count("Description") == number
    assert f"Page {number} / {number}" in texts
    assert all(f"Module {number}" in texts for number in range(90))


def test_what_our_font_lacks_is_written_by_the_one_that_is_named(tmp_path):
    made_at = datetime(2026, 11, 23, tzinfo=UTC)
    other = tmp_path / "symbols.ttf"
    other.write_bytes(fontbuffers["symbol2"]())
    given = {"identity": UUID(int=1), "made_at": made_at, "title": "", "language": "en"}
    documents = []
    for fallback in ("", str(other), str(other)):
        with page(**given, fallback=fallback) as paper:
            paper.begin(foot="", page="")
            paper.paragraph("Tea \u2603 & Co.")
            documents.append(bytes(paper.output()))
    written = ["".join(texts_of(each)) for each in documents]
    assert "Tea ? & Co." in written[0]
    assert "?" not in written[1]
    assert len(documents[1]) > len(documents[0]) + 1000, "it brings its own letters"
    assert documents[1] == documents[2]


def test_that_letters_are_lacking_is_logged_once_and_not_whose(caplog):
    page_module._tell_once.cache_clear()
    given = {"identity": UUID(int=1), "made_at": datetime(2026, 11, 23, tzinfo=UTC), "title": ""}
    with page(**given, language="en") as paper:
        paper.begin(foot="", page="")
        for _ in "12":
            paper.paragraph("\u682a\u5f0f\u4f1a\u793e")
    [told] = [each.getMessage() for each in caplog.records if each.name == page_module.__name__]
    assert "PDF_FALLBACK_FONT" in told
    assert "\u682a" not in told


def test_a_draft_has_no_document(customer):
    with pytest.raises(ValueError, match="not issued"):
        document(customer, drafted(customer))


@pytest.mark.parametrize("language", Language)
def test_each_language_has_letters_for_all_of_its_words(language):
    made_at = datetime(2026, 11, 23, tzinfo=UTC)
    day = formats_of(billed(language=str(language))).day(made_at)
    with page(identity=UUID(int=1), made_at=made_at, title="", language=language) as paper:
        paper.begin(foot="", page="")
        for word in (*WORDS[language].values(), day):
            assert paper.known(word) == " ".join(word.split())
        # What the font has no picture of is marked, and breaks nothing.
        assert paper.known("株式 Łódź\x00\n₹ ") == "?? Łódź? ₹"


@pytest.mark.parametrize(
    ("language", "country", "amount", "currency", "shown"),
    [
        ("en", "IN", "-1234567.50", "INR", "-₹12,34,567.50"),
        ("en", "", "1234567.50", "INR", "₹1,234,567.50"),
        ("hi", "US", "1234567.50", "INR", "₹12,34,567.50"),
        ("de", "DE", "1234.50", "EUR", "1.234,50 €"),
        ("de", "CH", "1234.50", "CHF", "CHF 1’234.50"),  # noqa: RUF001  as the Swiss write it
        ("fr", "FR", "1234.50", "EUR", "1 234,50 €"),
        ("en", "GB", "1234", "JPY", "JP¥1,234"),
        # The CLDR would round these away, but they are charged.
        ("en", "PK", "10.50", "PKR", "Rs10.50"),
        ("en", "XX", "1.50", "GBP", "£1.50"),
        ("tlh", "", "1.50", "GBP", "£1.50"),
    ],
)
def test_amounts_are_written_as_they_are_read_there(language, country, amount, currency, shown):
    address = {"country": country} if country else None
    formats = formats_of(billed(language=language, address=address))
    written = formats.money(Decimal(amount), currency)
    assert re.sub(r"\s", " ", written) == shown


def test_the_companys_zone_decides_which_day_it_is():
    evening = datetime(2026, 11, 30, 20, tzinfo=UTC)
    assert formats_of(billed(time_zone="Asia/Kolkata")).day(evening) == "1 December 2026"
    assert formats_of(billed(time_zone="Nowhere")).day(evening) == "30 November 2026"
