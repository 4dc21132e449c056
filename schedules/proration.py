"""What part of an amount a part of a period is, by the second.

Only what is used up to a moment is rounded; every part is a difference of two such sums. So the
parts of a period, however many and wherever it is cut, always sum to the whole.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from schedules.periods import Period

_CENT = Decimal("0.01")  # as rows keep amounts, whatever the currency's decimals


def used(amount: Decimal, period: Period, at: datetime, *, places: int) -> Decimal:
    """Return how much of `amount`, which is for the whole period, is used up at `at`.

    Args:
        amount: exact in the currency's decimals, also below zero.
        places: the decimals of the currency: 0 or 2.
    """
    if at <= period.start:
        return amount - amount
    if at >= period.end:
        return amount
    elapsed_s = int((at - period.start).total_seconds())
    share = Fraction(amount) * Fraction(elapsed_s, period.seconds)
    # Half to even, as everywhere: Fraction rounds so.
    rounded = round(share * 10**places)
    return Decimal(rounded).scaleb(-places).quantize(_CENT)


def unused(amount: Decimal, period: Period, at: datetime, *, places: int) -> Decimal:
    """Return how much of `amount` is left at `at`: with what is used it is the whole."""
    return amount - used(amount, period, at, places=places)


def share(
    amount: Decimal, period: Period, start: datetime, end: datetime, *, places: int
) -> Decimal:
    """Return what the part from `start` to `end` is of `amount`."""
    return used(amount, period, end, places=places) - used(amount, period, start, places=places)
