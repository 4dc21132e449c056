"""Invoices and credit notes as PDF, in the company's language.

They are made from the rows of what was issued and from nothing that may change later: neither what
was paid since, nor what the company is called now. The same rows give the same bytes, as long as
the libraries and the font are the same, which the lock files hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from models.credit_notes import CreditNote
from models.invoices import Invoice, InvoiceLine, lines_of
from worker.pdf.formats import Formats, formats_of
from worker.pdf.words import words_of
from worker.settings import settings

if TYPE_CHECKING:
    from worker.pdf.page import Sides

Words = dict[str, str]
# A tax by its name and percentage: what was taxed, and the tax.
Taxed = dict[tuple[str, str], tuple[Decimal, Decimal]]


def of_invoice(session: Session, invoice: Invoice) -> bytes:
    """Return an issued invoice as PDF.

    Raises:
        ValueError: it is a draft.
    """
    # Half a second of a start, which few processes need.
    from worker.pdf.page import page

    billed_to, number, made_at = invoice.billed_to, invoice.number, invoice.issued_at
    if billed_to is None or number is None or made_at is None:
        raise ValueError(f"invoice {invoice.id} is not issued")
    words, formats = words_of(billed_to["language"]), formats_of(billed_to)
    lines = lines_of(session, [invoice.id])[invoice.id]
    with page(
        identity=invoice.id,
        made_at=made_at,
        title=number,
        language=billed_to["language"],
        fallback=settings().pdf_fallback_font,
    ) as paper:
        paper.begin(foot=f"{billed_to['issuer']} · {number}", page=words["page"])
        paper.heading(words["invoice"], billed_to["issuer"])
        paper.beside(_whom(words, billed_to), _facts_of_invoice(words, formats, invoice))
        paper.columns(*_table(words, formats, lines, invoice.currency))
        paper.sums(
            _sums(words, formats, invoice, lines),
            (words["total"], formats.money(invoice.amount, invoice.currency)),
        )
        if invoice.due_on and invoice.amount:
            paper.paragraph(words["pay_until"].format(formats.day(invoice.due_on)))
        if invoice.memo:
            paper.paragraph(invoice.memo)
        return bytes(paper.output())


def of_credit_note(session: Session, note: CreditNote) -> bytes:
    """Return a credit note as PDF."""
    from worker.pdf.page import page

    billed_to = note.billed_to
    words, formats = words_of(billed_to["language"]), formats_of(billed_to)
    invoice = session.get_one(Invoice, note.invoice_id)
    facts = [
        (words["number"], note.number),
        (words["issued_on"], formats.day(note.issued_at)),
        (words["for_invoice"], invoice.number or ""),
    ]
    taxes = [tax for line in note.lines for tax in line["taxes"]]
    with page(
        identity=note.id,
        made_at=note.issued_at,
        title=note.number,
        language=billed_to["language"],
        fallback=settings().pdf_fallback_font,
    ) as paper:
        paper.begin(foot=f"{billed_to['issuer']} · {note.number}", page=words["page"])
        paper.heading(words["credit_note"], billed_to["issuer"])
        paper.beside(_whom(words, billed_to), facts)
        paper.columns(
            (words["description"], words["amount"]),
            [
                (line["description"], formats.amount(Decimal(line["amount"]), note.currency))
                for line in note.lines
            ],
            (75, 25),
        )
        rows = [
            (
                f"{tax['name']} {formats.percent(Decimal(tax['percent']))}",
                formats.money(Decimal(tax["amount"]), note.currency),
            )
            for tax in taxes
        ]
        paper.sums(rows, (words["credited"], formats.money(note.amount, note.currency)))
        return bytes(paper.output())


def _whom(words: Words, billed_to: dict[str, Any]) -> list[str]:
    address = billed_to["address"] or {}
    place = " ".join(filter(None, (address.get("postal_code"), address.get("city"))))
    lines = [
        words["billed_to"],
        billed_to["name"],
        address.get("line1"),
        address.get("line2"),
        place,
        address.get("state"),
        address.get("country"),
        f"{words['tax_id']} {billed_to['tax_id']}" if billed_to["tax_id"] else None,
    ]
    return [line for line in lines if line]


def _facts_of_invoice(words: Words, formats: Formats, invoice: Invoice) -> list[Sides]:
    facts = [(words["number"], invoice.number or "")]
    if invoice.issued_at:
        facts.append((words["issued_on"], formats.day(invoice.issued_at)))
    if invoice.due_on:
        facts.append((words["due_on"], formats.day(invoice.due_on)))
    if invoice.period_start and invoice.period_end:
        facts.append((words["period"], formats.span(invoice.period_start, invoice.period_end)))
    return facts


def _table(
    words: Words, formats: Formats, lines: Sequence[InvoiceLine], currency: str
) -> tuple[list[str], list[list[str]], list[int]]:
    """Return the table's columns, rows and widths; no column of discounts where there is none."""
    has_discount = any(line.discount_amount for line in lines)
    names = ["description", "quantity", "unit_amount", "discount", "tax", "amount"]
    widths = [40, 12, 16, 14, 13, 18]
    if not has_discount:
        del names[3], widths[3]
        widths[0] += 14
    rows = []
    for line in lines:
        texts = [
            _described(formats, line),
            formats.number(line.quantity),
            formats.amount(line.unit_amount, currency),
            formats.amount(-line.discount_amount, currency) if line.discount_amount else "",
            " + ".join(formats.percent(Decimal(tax["percent"])) for tax in line.taxes),
            formats.amount(line.amount - line.discount_amount, currency),
        ]
        if not has_discount:
            del texts[3]
        rows.append(texts)
    return [words[name] for name in names], rows, widths


def _described(formats: Formats, line: InvoiceLine) -> str:
    if line.period_start is None or line.period_end is None:
        return line.description
    return f"{line.description} ({formats.span(line.period_start, line.period_end)})"


def _sums(
    words: Words, formats: Formats, invoice: Invoice, lines: Iterable[InvoiceLine]
) -> list[Sides]:
    currency = invoice.currency
    rows = []
    if invoice.discount_amount or invoice.tax_amount:
        rows.append((words["subtotal"], formats.money(invoice.subtotal, currency)))
    if invoice.discount_amount:
        rows.append((words["discount"], formats.money(-invoice.discount_amount, currency)))
    for (name, percent), (base, amount) in _taxed(lines).items():
        told = f"{name} {formats.percent(Decimal(percent))} {words['of']}"
        rows.append((f"{told} {formats.money(base, currency)}", formats.money(amount, currency)))
    return rows


def _taxed(lines: Iterable[InvoiceLine]) -> Taxed:
    found: Taxed = {}
    for line in lines:
        for tax in line.taxes:
            rate = (tax["name"], tax["percent"])
            base, amount = found.get(rate, (Decimal(0), Decimal(0)))
            net = line.amount - line.discount_amount
            found[rate] = (base + net, amount + Decimal(tax["amount"]))
    return found
