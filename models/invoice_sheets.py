"""A file of invoices as text: its header, and its lines grouped by invoice. Pure.

RFC 4180, in UTF-8 with or without a byte order mark, with commas or semicolons. What is wrong with
the file as a whole is a `SheetError`; what is wrong with a line is found by `models.invoice_rows`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

MOST_BYTES = 5 * 1024 * 1024
MOST_LINES = 20_000
MOST_PER_INVOICE = 500
LONGEST_CELL = 2_000
# What a task reads at once: few enough that it ends in a second or so.
PAGE_GROUPS = 50
PAGE_LINES = 500

REQUIRED = ("number", "currency", "issued_on", "status", "unit_amount")
# One of these two is needed as well.
COMPANY = ("company_id", "customer_id")
OPTIONAL = (
    *("description", "quantity", "discount_percent", "tax_name", "tax_percent"),
    *("due_on", "paid_on", "amount_paid", "total", "memo"),
)
COLUMNS = (*REQUIRED, *COMPANY, *OPTIONAL)
TEMPLATE_COLUMNS = (
    *("number", "company_id", "customer_id", "currency", "issued_on", "due_on", "status"),
    *("paid_on", "amount_paid", "description", "quantity", "unit_amount", "discount_percent"),
    *("tax_name", "tax_percent", "total", "memo"),
)

Cells = list[str]
# A line's number, as editors count, and its cells; None for one that has too few or too many.
Row = tuple[int, Cells | None]
Group = list[Row]


class SheetError(ValueError):
    """A file that cannot be read as a whole; the message says why to a person."""

    def __init__(self, message: str, *, is_too_large: bool = False) -> None:
        self.is_too_large = is_too_large
        super().__init__(message)


@dataclass(frozen=True)
class Sheet:
    """A file: its columns in order, and its invoices' lines in the order of their first."""

    columns: list[str]
    groups: list[Group]
    lines: int

    def pages(self) -> Iterator[list[Group]]:
        """Yield the groups in pages that a task can read at once."""
        page: list[Group] = []
        lines = 0
        for group in self.groups:
            if page and (len(page) == PAGE_GROUPS or lines + len(group) > PAGE_LINES):
                yield page
                page, lines = [], 0
            page.append(group)
            lines += len(group)
        if page:
            yield page


def read(raw: bytes) -> Sheet:
    """Return what a file holds.

    Raises:
        SheetError: it is too large, no UTF-8, no CSV, or its header is not what it must be.
    """
    if len(raw) > MOST_BYTES:
        raise SheetError(f"The file is larger than {MOST_BYTES:,} bytes.", is_too_large=True)
    text = _decoded(raw)
    delimiter = _delimiter(text)
    records = _records(text, delimiter)
    _, header = next(records, (0, []))
    columns = _columns(header)
    groups: dict[str, Group] = {}
    lines = 0
    for line, cells in records:
        lines += 1
        if lines > MOST_LINES:
            raise SheetError(f"The file has more than {MOST_LINES:,} lines.", is_too_large=True)
        while len(cells) > len(columns) and not cells[-1].strip():
            cells.pop()
        is_whole = len(cells) == len(columns)
        number = cells[columns.index("number")].strip().upper() if is_whole else ""
        # What has no number is no part of another line's invoice.
        group = groups.setdefault(number or f"\0{line}", [])
        group.append((line, cells if is_whole else None))
    if not lines:
        raise SheetError("The file has a header and no lines.")
    return Sheet(columns, list(groups.values()), lines)


def _decoded(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SheetError(
            f"Line {line} is not UTF-8: save the file as UTF-8 (in Excel: CSV UTF-8)."
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SheetError(f"Line {line} holds a NUL, which no text has.")
    return text


def _delimiter(text: str) -> str:
    """Return what the header's names are parted by: they hold neither themselves."""
    first = text.lstrip("\r\n").split("\n", 1)[0]
    return ";" if first.count(";") > first.count(",") else ","


def _records(text: str, delimiter: str) -> Iterator[tuple[int, Cells]]:
    """Yield each record with the number of its first line; empty ones are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise SheetError(_said(error, begins)) from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield begins, cells
        begins = reader.line_num + 1


def _said(error: csv.Error, line: int) -> str:
    if "unexpected end" in str(error) or "field larger" in str(error):
        return f"A quote is opened in the record that begins in line {line}, and never closed."
    return (
        f"The record that begins in line {line} is no CSV: a quote within a quoted value is "
        "written twice, and nothing follows the closing one but a separator."
    )


def _columns(header: Cells) -> list[str]:
    columns = [name.strip().lower() for name in header]
    while columns and not columns[-1]:
        columns.pop()
    if unknown := [name for name in columns if name not in COLUMNS]:
        shown = ", ".join(name[:40] or "an empty name" for name in unknown[:5])
        raise SheetError(
            f"The header has columns that are not known: {shown}. Known are {', '.join(COLUMNS)}."
        )
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise SheetError(f"The header has columns twice: {', '.join(twice)}.")
    if missing := [name for name in REQUIRED if name not in columns]:
        raise SheetError(f"The header lacks columns: {', '.join(missing)}.")
    if not any(name in columns for name in COMPANY):
        raise SheetError("The header lacks company_id and customer_id: one of them is needed.")
    return columns


# What begins so is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def harmless(value: str) -> str:
    """Return a value that no spreadsheet takes for a formula."""
    return f"'{value}" if value.lstrip(" ").startswith(_FORMULA) else value


def written(rows: Iterator[list[str]] | list[list[str]]) -> str:
    """Return rows as CSV that any spreadsheet may open."""
    told = io.StringIO()
    csv.writer(told, lineterminator="\r\n").writerows(
        [harmless(value) for value in row] for row in rows
    )
    return told.getvalue()


def template() -> str:
    """Return a file that shows what one looks like: two invoices, the first of two lines."""
    first = ["2024-0117", "", "cus_ABC", "EUR", "2026-01-31", "2026-02-14", "open", "", ""]
    paid = ["2024-0118", "", "cus_ABC", "EUR", "2026-01-31", "", "paid", "2026-02-02", "120.00"]
    return written(
        [
            list(TEMPLATE_COLUMNS),
            [*first, "Seats, January", "12", "9.50", "10", "VAT", "19", "172.09", ""],
            [*first, "Set-up", "1", "50.00", "", "", "", "", ""],
            [*paid, "Support", "1", "120.00", "", "", "", "120.00", "Thank you."],
        ]
    )
