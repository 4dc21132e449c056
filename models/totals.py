"""What invoices come to: lines with discounts and taxes, exact, and rounded at each step.

Each figure is rounded half-even to the currency's decimals where it arises, a line's taxes one by
one; what stands below a column is the sum of what stands in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from enum import StrEnum
from uuid import UUID

from models.money import LARGEST, InvalidAmount, decimals

# A tax by its name and its rate, both as text.
Rate = tuple[str, str]

ZERO = Decimal("0.00")
_HUNDRED = Decimal(100)


class LineKind(StrEnum):
    """What a line is for."""

    ITEM = "item"
    PLAN = "plan"
    SEAT = "seat"
    USAGE = "usage"
    PRORATION = "proration"
    # Given to the company for its next invoice, or used of what it was given before.
    CREDIT = "credit"


@dataclass(frozen=True, slots=True)
class Tax:
    """A rate that a line is taxed at, of what is left of it after its discount."""

    name: str
    percent: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that is to be billed: so many of something at so much each, less a discount.

    Attributes:
        unit_amount: up to six decimals; below zero for a proration and a credit only.
        discount_percent: of quantity times unit amount; or give `discount_amount`.
        period: what it is billed for, from the first moment to that after the last.
    """

    description: str
    quantity: Decimal
    unit_amount: Decimal
    discount_percent: Decimal = Decimal(0)
    discount_amount: Decimal = Decimal(0)
    taxes: tuple[Tax, ...] = ()
    kind: LineKind | str = LineKind.ITEM
    module_id: UUID | None = None
    period: tuple[datetime, datetime] | None = None


@dataclass(frozen=True, slots=True)
class Priced:
    """What a line comes to: `total` is amount less discount plus taxes."""

    amount: Decimal
    discount_amount: Decimal
    taxes: tuple[tuple[Tax, Decimal], ...]

    @property
    def tax_amount(self) -> Decimal:
        """Return the sum of its taxes."""
        return sum((amount for _, amount in self.taxes), ZERO)

    @property
    def total(self) -> Decimal:
        """Return what is to be paid for it."""
        return self.amount - self.discount_amount + self.tax_amount


@dataclass(frozen=True, slots=True)
class Totals:
    """What several lines come to: `amount` is subtotal less discount plus taxes."""

    subtotal: Decimal
    discount_amount: Decimal
    tax_amount: Decimal

    @property
    def amount(self) -> Decimal:
        """Return what is to be paid."""
        return self.subtotal - self.discount_amount + self.tax_amount


def rounded(amount: Decimal, currency: str) -> Decimal:
    """Return an amount rounded half-even to the currency's decimals, with two places."""
    with localcontext() as context:
        # Of 15 by 15 digits: more than the usual 28.
        context.prec = 40
        places = Decimal(1).scaleb(-decimals(currency))
        # Plus nothing: a minus before zero means nothing in money.
        return amount.quantize(places, ROUND_HALF_EVEN).quantize(Decimal("0.01")) + 0


def line_amount(quantity: Decimal, unit_amount: Decimal, currency: str) -> Decimal:
    """Return what a line costs, rounded half-even to the currency's decimals, with two places."""
    with localcontext() as context:
        context.prec = 40
        return rounded(quantity * unit_amount, currency)


def part(amount: Decimal, share: Decimal, whole: Decimal, currency: str) -> Decimal:
    """Return `share / whole` of an amount, rounded; all of it for a share that is the whole."""
    with localcontext() as context:
        context.prec = 40
        return rounded(amount * share / whole, currency)


def credited_taxes(
    taxes: Mapping[Rate, Decimal],
    before: Mapping[Rate, Decimal],
    credited: Decimal,
    whole: Decimal,
    currency: str,
) -> dict[Rate, Decimal]:
    """Return what of each of an invoice's taxes a credit note gives back.

    All notes together give back the same share of the taxes as of the whole; so what rounding has
    left over is in the last, and together they are exactly the taxes.

    Args:
        before: what earlier notes gave back.
        credited: what all notes have credited, with this one.
    """
    return {
        rate: part(amount, credited, whole, currency) - before.get(rate, ZERO)
        for rate, amount in taxes.items()
    }


def price(line: Line, currency: str) -> Priced:
    """Return what a line comes to.

    Raises:
        InvalidAmount: it makes no sense, or comes to more than a row can hold.
    """
    _check(line)
    amount = line_amount(line.quantity, line.unit_amount, currency)
    discount = line.discount_amount or part(amount, line.discount_percent, _HUNDRED, currency)
    if discount != rounded(discount, currency):
        raise InvalidAmount(f"has a discount finer than {currency} is")
    if line.discount_amount > max(amount, ZERO):
        raise InvalidAmount("has a discount that is more than itself")
    net = amount - discount
    taxes = tuple((tax, part(net, tax.percent, _HUNDRED, currency)) for tax in line.taxes)
    priced = Priced(amount, rounded(discount, currency), taxes)
    if max(abs(amount), abs(priced.total)) > LARGEST:
        raise InvalidAmount(f"comes to more than {LARGEST}")
    return priced


def _check(line: Line) -> None:
    if line.quantity < 0:
        raise InvalidAmount("has a quantity below zero")
    if line.quantity != round(line.quantity, 4) or line.unit_amount != round(line.unit_amount, 6):
        raise InvalidAmount("has more decimals than 4 in its quantity or 6 in its unit amount")
    if line.unit_amount < 0 and line.kind not in (LineKind.PRORATION, LineKind.CREDIT):
        raise InvalidAmount("is below zero, and neither a proration nor a credit")
    percents = (line.discount_percent, *(tax.percent for tax in line.taxes))
    if not all(0 <= percent <= _HUNDRED for percent in percents):
        raise InvalidAmount("has a percentage that is not from 0 to 100")
    if line.discount_amount < 0 or (line.discount_amount and line.discount_percent):
        raise InvalidAmount("has a discount below zero, or two of them")


def add_up(lines: Iterable[Priced]) -> Totals:
    """Return what lines come to together.

    Raises:
        InvalidAmount: less than nothing, or more than a row can hold.
    """
    subtotal, discount_amount, tax_amount = ZERO, ZERO, ZERO
    for line in lines:
        subtotal += line.amount
        discount_amount += line.discount_amount
        tax_amount += line.tax_amount
    totals = Totals(subtotal, discount_amount, tax_amount)
    if totals.amount < 0:
        raise InvalidAmount("add up to less than nothing")
    if max(totals.amount, abs(subtotal)) > LARGEST:
        raise InvalidAmount(f"must add up to at most {LARGEST}")
    return totals
