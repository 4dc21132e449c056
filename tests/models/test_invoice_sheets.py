"""Files of invoices: what is read exactly, and that refused are the broken lines and no others."""

from __future__ import annotations

import csv
import io
import random
from datetime import date
from decimal import Decimal

import pytest

from models.imports import Refused
from models.invoice_rows import parse
from models.invoice_sheets import (
    MOST_LINES,
    TEMPLATE_COLUMNS,
    SheetError,
    harmless,
    read,
    template,
)
from models.money import CURRENCIES, decimals

TODAY = date(2026, 11, 23)
COMPANY = "01a20a65-1c5e-74e4-8800-0000000000d0"
GOOD = {
    "number": "1",
    "company_id": COMPANY,
    "currency": "EUR",
    "issued_on": "2026-01-31",
    "status": "open",
    "unit_amount": "10.00",
}


def text_of(rows, *, delimiter=",", columns=None) -> str:
    columns = columns or list(dict.fromkeys(name for row in rows for name in row))
    told = io.StringIO()
    writer = csv.DictWriter(told, columns, restval="", delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return told.getvalue()


def wanted(rows):
    """Return what is right by number, and (line, column) of what is refused."""
    sheet = read(text_of(rows).encode() if isinstance(rows, list) else rows)
    right, wrong = {}, set()
    for group in sheet.groups:
        try:
            found = parse(sheet.columns, group, today=TODAY)
        except Refused as refusal:
            wrong |= {(each.line, each.field) for each in refusal.complaints}
        else:
            right[found.number] = found
    return right, wrong


# One cell that breaks a good line, of every kind that people send.
BROKEN = [
    ("unit_amount", "10.001"),
    ("unit_amount", "1,000.00"),
    ("unit_amount", "1.000,00"),
    ("unit_amount", "1 000"),
    ("unit_amount", "NaN"),
    ("unit_amount", "Infinity"),
    ("unit_amount", "1e3"),
    ("unit_amount", "-5.00"),
    ("unit_amount", "=1+1"),
    ("unit_amount", "+5"),
    ("unit_amount", "٣"),
    ("unit_amount", "0"),
    ("unit_amount", ""),
    ("unit_amount", "99999999999999"),
    ("quantity", "-1"),
    ("quantity", "1.00001"),
    ("discount_percent", "101"),
    ("tax_percent", "x"),
    ("currency", "XXX"),
    ("currency", "JPY JPY"),
    ("issued_on", "31.01.2026"),
    ("issued_on", "2026-02-30"),
    ("issued_on", "2027-01-01"),
    ("due_on", "2025-12-31"),
    ("status", "draft"),
    ("status", "overdue"),
    ("number", "=cmd"),
    ("number", "x" * 37),
    ("company_id", "7"),
    ("customer_id", "cus ABC"),
    ("total", "10.01"),
    ("amount_paid", "10.00"),
    ("description", "=HYPERLINK(1)"),
    ("memo", "bell\x07"),
]


def test_refused_are_the_broken_lines_and_no_others():
    for seed in range(60):
        rng = random.Random(seed)
        rows, broken = [], set()
        for number in range(rng.randint(1, 25)):
            row = {**GOOD, "number": f"{seed}-{number}"}
            if rng.random() < 0.4:
                name, value = rng.choice(BROKEN)
                # Each a number of its own: what has one together is one invoice.
                row[name] = f"{value}{number}" if name == "number" else value
                broken.add((number + 2, name))
            rows.append(row)
        rng.shuffle(rows)
        lines = {id(row): line for line, row in enumerate(rows, start=2)}
        broken = {
            (lines[id(row)], name)
            for row in rows
            for name in row
            if row[name] != {**GOOD, "number": row["number"]}.get(name)
            or (name == "number" and not row["number"].startswith(f"{seed}-"))
        }
        right, wrong = wanted(rows)
        assert wrong == broken, seed
        assert len(right) == len(rows) - len(broken), seed


def test_what_is_read_is_what_was_written():
    words = [
        'a "quoted" word',
        "two\nlines",
        "semi;colon",
        "comma, comma",
        "ünïcode €",
        "tab\there",
    ]
    for seed in range(60):
        rng = random.Random(seed)
        currency = rng.choice(sorted(CURRENCIES))
        places = decimals(currency)
        rows, total = [], Decimal(0)
        for _ in range(rng.randint(1, 6)):
            unit = Decimal(rng.randint(1, 10**9)).scaleb(-places)
            quantity = rng.randint(1, 99)
            total += unit * quantity
            rows.append(
                {
                    **GOOD,
                    "currency": currency,
                    "quantity": str(quantity),
                    "unit_amount": f"{unit:f}",
                    "description": rng.choice(words),
                    "memo": rng.choice(words) if not rows else "",
                }
            )
        rows[0]["total"] = f"{total:f}"
        delimiter = rng.choice(",;")
        end = rng.choice(["\r\n", "\n"])
        text = text_of(rows, delimiter=delimiter, columns=list(rows[0])).replace("\r\n", end)
        raw = text.encode(rng.choice(["utf-8", "utf-8-sig"]))
        [found] = wanted(raw)[0].values()
        assert found.amount == total
        assert [line.description for line in found.lines] == [row["description"] for row in rows]
        assert found.memo == rows[0]["memo"]
        assert [f"{line.unit_amount:f}" for line in found.lines] == [
            row["unit_amount"] for row in rows
        ]


def test_lines_of_an_invoice_need_not_stand_together_but_must_agree():
    one, other = {**GOOD, "number": "A1"}, {**GOOD, "number": "B"}
    right, wrong = wanted([one, other, {**one, "number": "a1", "unit_amount": "2.50"}])
    assert wrong == set()
    assert (right["A1"].amount, right["B"].amount) == (Decimal("12.50"), Decimal("10.00"))
    right, wrong = wanted([one, other, {**one, "status": "paid"}])
    assert (list(right), wrong) == (["B"], {(4, "status")})


def test_a_line_number_is_that_of_an_editor():
    first = {**GOOD, "memo": "three\nlines\nlong"}
    _, wrong = wanted([first, {**GOOD, "number": "2", "status": "?"}])
    assert wrong == {(5, "status")}


def test_a_line_of_another_length_is_refused_alone():
    right, wrong = wanted(text_of([GOOD]).encode() + b"2,too,short\r\n")
    assert (list(right), wrong) == (["1"], {(3, "line")})


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "lacks columns"),
        (text_of([GOOD]).splitlines()[0].encode(), "no lines"),
        (text_of([{**GOOD, "colour": "red"}]).encode(), "colour"),
        (text_of([GOOD]).replace("currency", "number", 1).encode(), "twice"),
        (text_of([{k: v for k, v in GOOD.items() if k != "company_id"}]).encode(), "customer_id"),
        (text_of([GOOD]).encode() + "ü".encode("latin-1"), "Line 3 is not UTF-8"),
        (text_of([GOOD]).encode() + b'"open', "line 3, and never closed"),
        (text_of([GOOD]).encode() + b'"a"b,', "line 3 is no CSV"),
        (text_of([GOOD]).encode() + b"\0", "NUL"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(raw, told):
    with pytest.raises(SheetError, match=told):
        read(raw)


def test_a_file_of_too_many_lines_is_too_large():
    head, line = text_of([GOOD]).splitlines()
    raw = "\n".join([head, *[line] * (MOST_LINES + 1)]).encode()
    with pytest.raises(SheetError, match="more than") as refused:
        read(raw)
    assert refused.value.is_too_large


def test_the_template_is_right():
    sheet = read(template().encode())
    assert sheet.columns == list(TEMPLATE_COLUMNS)
    found = [parse(sheet.columns, group, today=TODAY) for group in sheet.groups]
    assert [f"{each.amount}" for each in found] == ["172.09", "120.00"]


@pytest.mark.parametrize("value", ["=1", "+1", "-1", "@a", "\t=1", " =1", "\r=1"])
def test_nothing_that_is_exported_begins_a_formula(value):
    assert harmless(value) == f"'{value}"
    assert harmless("a=1") == "a=1"
