"""The lines of a subscription's invoices: in advance, in arrears, and of changes in between.

Rows keep them as JSON, with every figure as text, until they are billed. A change is prorated by
what lines come to after their discount, so that its parts sum to the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from models.money import decimals
from models.prices import Charge, Price, PriceKind
from models.totals import Line, LineKind, Tax, price
from schedules.periods import Period
from schedules.proration import unused

KINDS = {PriceKind.FLAT: LineKind.PLAN, PriceKind.PER_SEAT: LineKind.SEAT}
_NONE = Decimal(0)


def in_advance(
    prices: Iterable[Price],
    *,
    plan: str,
    seats: int,
    period: Period,
    taxes: tuple[Tax, ...],
    discount_percent: Decimal,
) -> list[Line]:
    """Return what is asked for a period when it begins.

    Args:
        plan: its name, for people.
    """
    return [
        Line(
            description=_described(f"{plan}: {each.module}", charge, each.kind),
            quantity=Decimal(charge.quantity),
            unit_amount=charge.unit_amount,
            discount_percent=discount_percent,
            taxes=taxes,
            kind=KINDS[each.kind],
            module_id=each.module_id,
            period=(period.start, period.end),
        )
        for each in prices
        if each.kind is not PriceKind.USAGE
        for charge in each.charges(seats)
        if charge.unit_amount
    ]


def in_arrears(
    asked: Price,
    charges: Iterable[Charge],
    *,
    told: str = "",
    period: Period,
    taxes: tuple[Tax, ...],
    discount_percent: Decimal,
) -> list[Line]:
    """Return what is asked for the use of a module in a time that is over.

    Args:
        told: why it is asked for, if not simply as it was used then.
    """
    return [
        Line(
            description=_described(asked.module, charge, PriceKind.USAGE)[: 500 - len(told)] + told,
            quantity=Decimal(charge.quantity),
            unit_amount=charge.unit_amount,
            discount_percent=discount_percent,
            taxes=taxes,
            kind=LineKind.USAGE,
            module_id=asked.module_id,
            period=(period.start, period.end),
        )
        for charge in charges
    ]


def _described(name: str, charge: Charge, kind: PriceKind) -> str:
    what = {PriceKind.FLAT: "", PriceKind.PER_SEAT: ", seats", PriceKind.USAGE: ", use"}[kind]
    tier = f", tier {charge.tier}" if charge.tier else ""
    once = ", once" if charge.is_flat else ""
    return f"{name}{what}{tier}{once}"[:500]


def of_change(
    before: Sequence[Line], after: Sequence[Line], period: Period, at: datetime, currency: str
) -> list[Line]:
    """Return what a change at `at` comes to: what is left of the old lines back, the new's asked.

    Args:
        before: what was asked for the whole period; empty for what was never paid.
        after: what would have been asked for the whole period; empty where it ends.
    """
    old = [(line, -net) for line, net in _without(before, after, currency)]
    new = _without(after, before, currency)
    places = decimals(currency)
    found = []
    for line, net in old + new:
        amount = unused(net, period, at, places=places)
        if amount:
            what = "Unused time" if net < 0 else "Remaining time"
            found.append(_prorated(line, amount, f"{what}: {line.description}", period, at))
    return found


def _prorated(line: Line, amount: Decimal, told: str, period: Period, at: datetime) -> Line:
    return replace(
        line,
        description=told[:500],
        quantity=Decimal(1),
        unit_amount=amount,
        discount_percent=_NONE,
        kind=LineKind.PRORATION,
        period=(max(at, period.start), period.end),
    )


def _without(
    lines: Iterable[Line], others: Iterable[Line], currency: str
) -> list[tuple[Line, Decimal]]:
    """Return the lines that the others lack, each with what it comes to before taxes."""
    left = Counter(_mark(line, net) for line, net in _nets(others, currency))
    found = []
    for line, net in _nets(lines, currency):
        if left[_mark(line, net)]:
            left[_mark(line, net)] -= 1
        else:
            found.append((line, net))
    return found


def _mark(line: Line, net: Decimal) -> tuple[object, ...]:
    return (line.module_id, line.kind, net, line.taxes)


def _nets(lines: Iterable[Line], currency: str) -> list[tuple[Line, Decimal]]:
    priced = [(line, price(line, currency)) for line in lines]
    return [(line, each.amount - each.discount_amount) for line, each in priced]


def as_json(line: Line) -> dict[str, Any]:
    """Return a line as rows keep it."""
    return {
        "description": line.description,
        "quantity": str(line.quantity),
        "unit_amount": str(line.unit_amount),
        "discount_percent": str(line.discount_percent),
        "taxes": [{"name": tax.name, "percent": str(tax.percent)} for tax in line.taxes],
        "kind": str(line.kind),
        "module_id": str(line.module_id) if line.module_id else None,
        "period": [moment.isoformat() for moment in line.period] if line.period else None,
    }


def line_of(kept: Mapping[str, Any]) -> Line:
    """Return what `as_json` has kept."""
    period = [datetime.fromisoformat(moment) for moment in kept["period"] or ()]
    return Line(
        description=kept["description"],
        quantity=Decimal(kept["quantity"]),
        unit_amount=Decimal(kept["unit_amount"]),
        discount_percent=Decimal(kept["discount_percent"]),
        taxes=tuple(Tax(each["name"], Decimal(each["percent"])) for each in kept["taxes"]),
        kind=LineKind(kept["kind"]),
        module_id=UUID(kept["module_id"]) if kept["module_id"] else None,
        period=(period[0], period[1]) if period else None,
    )
