"""The lines of one invoice in a file, read exactly or refused with every reason. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from models.imports import Complaint, Refused
from models.invoice_sheets import LONGEST_CELL, MOST_PER_INVOICE, Row
from models.invoices import InvoiceStatus
from models.money import CURRENCIES, LARGEST, InvalidAmount, decimals
from models.totals import ZERO, Line, Tax, add_up, price

LONGEST_NUMBER = 36
LONGEST_TEXT = {"description": 500, "tax_name": 100, "memo": 2000}
FIRST_DAY = date(1990, 1, 1)
STATUSES = {
    str(each): each
    for each in (
        InvoiceStatus.OPEN,
        InvoiceStatus.PAID,
        InvoiceStatus.VOID,
        InvoiceStatus.UNCOLLECTIBLE,
    )
}
# What an invoice has once; its other lines repeat it or leave it empty.
ONCE = (
    *("number", "company_id", "customer_id", "currency", "issued_on", "due_on", "status"),
    *("paid_on", "amount_paid", "total", "memo"),
)
_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/#-]*")
_CUSTOMER = re.compile(r"[A-Za-z0-9_-]{1,100}")
_DIGITS = re.compile(r"\d+(\.\d+)?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
# Tabs and line ends are written; what else controls a terminal is not.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MOST_DIGITS = 13


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An invoice as a file tells it, right as far as the file alone can tell."""

    number: str
    company_id: UUID | None
    customer_id: str
    currency: str
    status: InvoiceStatus
    issued_on: date
    due_on: date | None
    paid_on: date | None
    amount: Decimal
    amount_paid: Decimal
    memo: str | None
    lines: tuple[Line, ...]
    first_line: int

    def content(self) -> dict[str, Any]:
        """Return what two files must agree about, as JSON keeps it."""
        return {
            "currency": self.currency,
            "status": str(self.status),
            "issued_on": self.issued_on.isoformat(),
            "due_on": self.due_on.isoformat() if self.due_on else None,
            "paid_on": self.paid_on.isoformat() if self.paid_on else None,
            "amount": f"{self.amount:.2f}",
            "amount_paid": f"{self.amount_paid:.2f}",
            "memo": self.memo,
            "lines": [
                [
                    line.description,
                    f"{line.quantity.normalize():f}",
                    f"{line.unit_amount.normalize():f}",
                    f"{line.discount_percent.normalize():f}",
                    *([tax.name, f"{tax.percent.normalize():f}"] for tax in line.taxes),
                ]
                for line in self.lines
            ],
        }


class _Bad(ValueError):
    """A cell that cannot be what its column holds; the message is a sentence."""


@dataclass
class _Reading:
    """The lines of one invoice while they are read, and what is wrong with them."""

    columns: Sequence[str]
    today: date
    complaints: list[Complaint] = field(default_factory=list)

    def refuse(self, line: int, name: str, value: str, reason: str) -> None:
        self.complaints.append(Complaint(name, value, reason, line))

    def value(self, line: int, cells: dict[str, str], name: str, take: Callable[[str], Any]) -> Any:
        """Return what a cell holds; None if it is empty or was refused."""
        text = cells.get(name, "").strip()
        if not text:
            return None
        try:
            return take(text)
        except _Bad as error:
            self.refuse(line, name, text, str(error))
            return None


def parse(columns: Sequence[str], rows: Sequence[Row], *, today: date) -> Wanted:
    """Return the invoice that these lines are.

    Raises:
        Refused: with every complaint about any of the lines.
    """
    reading = _Reading(columns, today)
    lines = [
        (number, dict(zip(columns, cells, strict=True)))
        for number, cells in rows
        if cells is not None
    ]
    for number, cells in rows:
        if cells is None:
            told = f"The line does not have {len(columns)} values, as the header has."
            reading.refuse(number, "line", "", told)
    if len(rows) > MOST_PER_INVOICE:
        told = f"An invoice has at most {MOST_PER_INVOICE} lines; this one has {len(rows)}."
        reading.refuse(rows[0][0], "number", lines[0][1]["number"], told)
    if reading.complaints:
        raise Refused(*reading.complaints)
    wanted = _read(reading, lines)
    if reading.complaints or wanted is None:
        raise Refused(*reading.complaints)
    return wanted


def _read(reading: _Reading, lines: list[tuple[int, dict[str, str]]]) -> Wanted | None:
    first, once = _once(reading, lines)
    head = {name: reading.value(first, once, name, take) for name, take in _HEAD.items()}
    for name in ("number", "currency", "issued_on", "status"):
        if not once.get(name, "").strip():
            reading.refuse(first, name, "", f"The invoice has no {name}.")
    if not (once.get("company_id", "").strip() or once.get("customer_id", "").strip()):
        reading.refuse(first, "company_id", "", "Neither company_id nor customer_id is given.")
    currency = head["currency"]
    if currency is None:
        # How fine amounts may be is not known.
        return None
    money = _money(currency)
    items = [_line(reading, number, cells, money, head["number"]) for number, cells in lines]
    total = reading.value(first, once, "total", money)
    paid = reading.value(first, once, "amount_paid", money)
    _check_days(reading, first, head)
    kept = [line for line in items if line is not None]
    if reading.complaints or len(kept) < len(items):
        return None
    amount = _amount(reading, first, kept, currency)
    if total is not None and total != amount:
        told = f"The lines come to {amount:.2f}, exactly; the total says {total:.2f}."
        reading.refuse(first, "total", f"{total}", told)
    paid = _paid(reading, first, head["status"], amount, paid)
    return Wanted(
        number=head["number"],
        company_id=head["company_id"],
        customer_id=head["customer_id"] or "",
        currency=currency,
        status=head["status"],
        issued_on=head["issued_on"],
        due_on=head["due_on"],
        paid_on=head["paid_on"] if paid else None,
        amount=amount,
        amount_paid=paid,
        memo=head["memo"],
        lines=tuple(kept),
        first_line=first,
    )


def _once(reading: _Reading, lines: list[tuple[int, dict[str, str]]]) -> tuple[int, dict[str, str]]:
    """Return the first line's number and what the invoice has once, from whichever line tells."""
    first = lines[0][0]
    found: dict[str, str] = {}
    for number, cells in lines:
        for name in ONCE:
            told = cells.get(name, "").strip()
            if not told:
                continue
            known = found.setdefault(name, told)
            if known != told and not (name == "number" and known.upper() == told.upper()):
                reason = f"Another line of this invoice has another {name}: {known[:60]}."
                reading.refuse(number, name, told, reason)
    return first, found


def _line(
    reading: _Reading,
    number: int,
    cells: dict[str, str],
    money: Callable[[str], Decimal],
    invoice: str | None,
) -> Line | None:
    before = len(reading.complaints)
    unit_amount = reading.value(number, cells, "unit_amount", money)
    if not cells["unit_amount"].strip():
        reading.refuse(number, "unit_amount", "", "The line has no unit_amount.")
    quantity = reading.value(number, cells, "quantity", _quantity)
    discount = reading.value(number, cells, "discount_percent", _percent)
    tax_name = reading.value(number, cells, "tax_name", _text("tax_name"))
    tax_percent = reading.value(number, cells, "tax_percent", _percent)
    description = reading.value(number, cells, "description", _text("description"))
    if tax_name and not cells.get("tax_percent", "").strip():
        reading.refuse(number, "tax_percent", "", "The line has a tax_name and no tax_percent.")
    if len(reading.complaints) > before:
        return None
    taxes = (Tax(tax_name or "Tax", tax_percent),) if tax_percent is not None else ()
    return Line(
        description=description or f"Invoice {invoice}",
        quantity=Decimal(1) if quantity is None else quantity,
        unit_amount=unit_amount,
        discount_percent=discount or Decimal(0),
        taxes=taxes,
    )


def _amount(reading: _Reading, first: int, lines: list[Line], currency: str) -> Decimal:
    """Return what the lines come to; zero, which is complained about, if that is no amount."""
    try:
        amount = add_up(price(line, currency) for line in lines).amount
    except InvalidAmount as error:
        reading.refuse(first, "unit_amount", "", f"What the lines come to {error}.")
        return ZERO
    if amount <= 0:
        reading.refuse(first, "unit_amount", "", "The lines come to nothing.")
    return amount


def _paid(
    reading: _Reading,
    first: int,
    status: InvoiceStatus,
    amount: Decimal,
    paid: Decimal | None,
) -> Decimal:
    if status == InvoiceStatus.PAID:
        if paid is not None and paid != amount:
            told = f"A paid invoice is paid whole: its lines come to {amount:.2f}."
            reading.refuse(first, "amount_paid", f"{paid}", told)
        return amount
    if paid and status == InvoiceStatus.VOID:
        reading.refuse(first, "amount_paid", f"{paid}", "Of a void invoice nothing was paid.")
    elif paid and paid >= amount:
        told = f"It is paid with this, as its lines come to {amount:.2f}: then its status is paid."
        reading.refuse(first, "amount_paid", f"{paid}", told)
    return paid or ZERO


def _check_days(reading: _Reading, first: int, head: dict[str, Any]) -> None:
    issued, due, paid = head["issued_on"], head["due_on"], head["paid_on"]
    # Wherever the company is, its today is within a day of ours.
    latest = reading.today + timedelta(days=1)
    for name, day in (("issued_on", issued), ("paid_on", paid)):
        if day is not None and day > latest:
            reading.refuse(first, name, day.isoformat(), "The day is yet to come.")
    if issued is not None and due is not None and due < issued:
        reading.refuse(first, "due_on", due.isoformat(), "It is due before it was issued.")


def _number(text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise _Bad("A number is of letters, digits, spaces and . _ / # -, beginning with either.")
    if len(text) > LONGEST_NUMBER:
        raise _Bad(f"A number has at most {LONGEST_NUMBER} characters.")
    return text


def _company(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _Bad("A company_id is a UUID, as Paybeat tells it.") from None


def _customer(text: str) -> str:
    if not _CUSTOMER.fullmatch(text):
        raise _Bad("A customer_id is the provider's, such as cus_ABC.")
    return text


def _currency(text: str) -> str:
    if not text.isascii() or text.upper() not in CURRENCIES:
        raise _Bad("It is not a currency that can be charged; three letters, such as EUR.")
    return text.upper()


def _status(text: str) -> InvoiceStatus:
    found = STATUSES.get(text.lower())
    if found is None:
        raise _Bad(f"A status is one of {', '.join(STATUSES)}.")
    return found


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        raise _Bad("There is no such day.") from None
    if day is None:
        raise _Bad("A day is written as 2026-12-31.")
    if day < FIRST_DAY:
        raise _Bad(f"The day is before {FIRST_DAY}.")
    return day


def _text(name: str) -> Callable[[str], str]:
    def take(text: str) -> str:
        if text.startswith(("=", "@")):
            raise _Bad("It looks like a formula, not like text.")
        if _CONTROL.search(text):
            raise _Bad("It holds control characters.")
        if len(text) > LONGEST_TEXT[name]:
            raise _Bad(f"It is longer than {LONGEST_TEXT[name]} characters.")
        return text

    return take


def _decimal(text: str) -> Decimal:
    """Read digits with a point; tell what people write instead."""
    if text.startswith(("=", "@", "+")):
        raise _Bad("It is a formula or has a sign; write digits alone, such as 1234.50.")
    if text.startswith(("-", "(")):
        raise _Bad("It is below zero, which makes no sense here.")
    if not text.isascii() or not _DIGITS.fullmatch(text):
        if re.fullmatch(r"[\d.,' ]+", text):
            raise _Bad("Write 1234.50: a point before the decimals and nothing between thousands.")
        raise _Bad("It is not a number; write digits with a point, such as 1234.50.")
    if len(text.partition(".")[0].lstrip("0")) > _MOST_DIGITS or len(text) > LONGEST_CELL:
        raise _Bad(f"It is more than {LARGEST}.")
    return Decimal(text)


def _money(currency: str) -> Callable[[str], Decimal]:
    places = decimals(currency)

    def take(text: str) -> Decimal:
        amount = _decimal(text)
        if amount != round(amount, places):
            raise _Bad(f"It has more decimals than {currency}, which has {places}.")
        return amount

    return take


def _quantity(text: str) -> Decimal:
    quantity = _decimal(text)
    if quantity != round(quantity, 4):
        raise _Bad("A quantity has at most 4 decimals.")
    return quantity


def _percent(text: str) -> Decimal:
    percent = _decimal(text)
    if percent > 100:  # noqa: PLR2004  the whole
        raise _Bad("A percentage is from 0 to 100.")
    if percent != round(percent, 4):
        raise _Bad("A percentage has at most 4 decimals.")
    return percent


_HEAD: dict[str, Callable[[str], Any]] = {
    "number": _number,
    "company_id": _company,
    "customer_id": _customer,
    "currency": _currency,
    "issued_on": _day,
    "due_on": _day,
    "status": _status,
    "paid_on": _day,
    "memo": _text("memo"),
}
