"""Lines of invoices on the wire: what of them is asked for, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema

from models.invoices import InvoiceLine, Line, LineKind, Tax
from models.money import InvalidAmount, amount_of
from models.totals import price
from web.problems import invalid
from web.routes import Input
from web.schemas import ONE_LINE, WRITTEN, Amount, Exact, Moment

MAX_QUANTITY = Decimal("99999999999.9999")
MOST_LINES = 200
MOST_TAXES = 10
_STEP = Decimal("0.0001")
_CENT = Decimal("0.01")


def _quantity(value: Decimal) -> Decimal:
    if not value.is_finite() or not 0 < value <= MAX_QUANTITY:
        raise ValueError(f"must be above zero and at most {MAX_QUANTITY}")
    if value != value.quantize(_STEP):
        raise ValueError("has more than 4 decimals")
    return value


def _percent(value: Decimal) -> Decimal:
    if not 0 <= value <= 100:  # noqa: PLR2004  percent
        raise ValueError("must be from 0 to 100")
    if value != value.quantize(_STEP):
        raise ValueError("has more than 4 decimals")
    return value.normalize() + 0


def _not_negative(value: Decimal) -> Decimal:
    if value < 0:
        raise ValueError("must not be below zero")
    return value


Quantity = Annotated[
    Exact,
    AfterValidator(_quantity),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0.0001, "maximum": float(MAX_QUANTITY)},
                {"type": "string", "pattern": r"^[0-9]{1,11}(\.[0-9]{1,4})?$"},
            ],
            "description": "As a number or a string; exact, with up to 4 decimals.",
        }
    ),
]
Percent = Annotated[
    Exact,
    AfterValidator(_percent),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 100},
                {"type": "string", "pattern": r"^[0-9]{1,2}(\.[0-9]{1,4})?$"},
            ],
            "description": "As a number or a string; exact, with up to 4 decimals.",
        }
    ),
]
Discount = Annotated[
    Exact,
    AfterValidator(_not_negative),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 9999999999999.99},
                {"type": "string", "pattern": r"^[0-9]{1,13}(\.[0-9]{1,2})?$"},
            ],
            "description": "In the currency's main unit, as a number or a string; exact.",
        }
    ),
]


class NewTax(Input):
    """A rate that a line is taxed at, of what is left of it after its discount."""

    name: str = Field(min_length=1, max_length=50, pattern=ONE_LINE, examples=["CGST"])
    percent: Percent


class NewLine(Input):
    """One line: so many of something at so much each, less one discount, plus taxes."""

    description: str = Field(min_length=1, max_length=500, pattern=WRITTEN)
    quantity: Quantity
    unit_amount: Exact
    discount_percent: Percent = Decimal(0)
    discount_amount: Discount = Decimal(0)
    taxes: list[NewTax] = Field([], max_length=MOST_TAXES)


class TaxAnswer(BaseModel):
    """What a line is taxed, at one rate."""

    name: str
    percent: Amount
    amount: Amount


class LineAnswer(BaseModel):
    """One line of an invoice: `total` is amount less discount plus taxes."""

    description: str
    kind: LineKind
    quantity: Amount
    unit_amount: Amount
    amount: Amount
    discount_amount: Amount
    taxes: list[TaxAnswer]
    tax_amount: Amount
    total: Amount
    period_start: Moment | None
    period_end: Moment | None
    module_id: UUID | None


def lines_of_body(body: Sequence[NewLine], currency: str) -> list[Line]:
    """Return the lines that are asked for; a 422 names the one that makes no sense."""
    return [_line(position, line, currency) for position, line in enumerate(body)]


def _line(position: int, line: NewLine, currency: str) -> Line:
    try:
        unit_amount = amount_of(line.unit_amount, currency)
    except InvalidAmount as error:
        raise invalid(f"lines.{position}.unit_amount", str(error)) from None
    wanted = Line(
        description=line.description,
        quantity=line.quantity,
        unit_amount=unit_amount,
        discount_percent=line.discount_percent,
        discount_amount=line.discount_amount,
        taxes=tuple(Tax(tax.name, tax.percent) for tax in line.taxes),
    )
    try:
        price(wanted, currency)
    except InvalidAmount as error:
        raise invalid(f"lines.{position}", str(error)) from None
    return wanted


def shown_line(line: InvoiceLine) -> dict[str, Any]:
    """Return a line as it is answered."""
    return {
        "description": line.description,
        "kind": line.kind,
        "quantity": line.quantity,
        "unit_amount": _short(line.unit_amount),
        "amount": line.amount,
        "discount_amount": line.discount_amount,
        "taxes": shown_taxes(line.taxes),
        "tax_amount": line.tax_amount,
        "total": line.total,
        "period_start": line.period_start,
        "period_end": line.period_end,
        "module_id": line.module_id,
    }


def shown_taxes(taxes: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """Return a row's taxes as they are answered."""
    return [
        {
            "name": tax["name"],
            "percent": Decimal(tax["percent"]),
            "amount": Decimal(tax["amount"]),
        }
        for tax in taxes
    ]


def _short(unit_amount: Decimal) -> Decimal:
    """Return it with two decimals, unless it needs more of the six that its row has."""
    in_cents = unit_amount.quantize(_CENT)
    return in_cents if in_cents == unit_amount else unit_amount.normalize()
