"""What a plan asks for a module: flat, for each seat, or by use in tiers. Pure.

A price that a subscription was sold at is kept with it, as JSON: amounts as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Any
from uuid import UUID


class PriceKind(StrEnum):
    """What is paid for."""

    FLAT = "flat"
    PER_SEAT = "per_seat"
    USAGE = "usage"  # in arrears


class TiersMode(StrEnum):
    """Which price a unit has among several tiers.

    Graduated: each unit that of the tier it falls into. Volume: all that of the tier of the last.
    """

    GRADUATED = "graduated"
    VOLUME = "volume"


class InvalidTiers(ValueError):
    """Tiers that leave a quantity without a price or give it two; says why to a person."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Up to and with `up_to` units, None for all that are more; `flat_amount` once beside."""

    up_to: int | None
    unit_amount: Decimal
    flat_amount: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Charge:
    """So many units at so much each; `tier` counts from 1, 0 where there are none."""

    quantity: int
    unit_amount: Decimal
    tier: int = 0
    is_flat: bool = False


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one module costs in one currency; `included` units are free."""

    module_id: UUID
    module: str  # its name, for people
    kind: PriceKind
    unit_amount: Decimal = Decimal(0)
    tiers: tuple[Tier, ...] = ()
    mode: TiersMode = TiersMode.GRADUATED
    included: int = 0

    def charges(self, quantity: int, *, before: int = 0) -> list[Charge]:
        """Return what `quantity` units come to; nothing for none that is charged.

        Args:
            before: the units of the same period that are charged already: what is included and
                the tiers go on from there.
        """
        if self.kind is PriceKind.FLAT:
            return [Charge(1, self.unit_amount)]
        below = max(0, before - self.included)
        return self.charged(self.charged_units(quantity, before=before), below=below)

    def charged_units(self, quantity: int, *, before: int = 0) -> int:
        """Return how many of `quantity` units are not included, after `before` others."""
        below = max(0, before - self.included)
        return max(0, before + quantity - self.included) - below

    def charged(self, quantity: int, *, below: int) -> list[Charge]:
        """Return what units come to of which none is included.

        Args:
            below: how many of the same period are charged already: the tiers go on from there.
        """
        if not quantity:
            return []
        if not self.tiers:
            return [Charge(quantity, self.unit_amount)]
        by_mode = _graduated if self.mode is TiersMode.GRADUATED else _volume
        return by_mode(self.tiers, quantity, below)

    def as_json(self) -> dict[str, Any]:
        """Return it as rows keep it."""
        return {
            "module_id": str(self.module_id),
            "module": self.module,
            "kind": str(self.kind),
            "unit_amount": str(self.unit_amount),
            "tiers": [tier_as_json(tier) for tier in self.tiers],
            "mode": str(self.mode),
            "included": self.included,
        }


def price_of(kept: Mapping[str, Any]) -> Price:
    """Return what `Price.as_json` has kept."""
    return Price(
        module_id=UUID(kept["module_id"]),
        module=kept["module"],
        kind=PriceKind(kept["kind"]),
        unit_amount=Decimal(kept["unit_amount"]),
        tiers=tiers_of(kept["tiers"]),
        mode=TiersMode(kept["mode"]),
        included=kept["included"],
    )


def tiers_of(kept: Sequence[Mapping[str, Any]] | None) -> tuple[Tier, ...]:
    """Return tiers from JSON."""
    return tuple(
        Tier(each["up_to"], Decimal(each["unit_amount"]), Decimal(each["flat_amount"]))
        for each in kept or ()
    )


def tier_as_json(tier: Tier) -> dict[str, Any]:
    """Return a tier as rows keep it."""
    return {
        "up_to": tier.up_to,
        "unit_amount": str(tier.unit_amount),
        "flat_amount": str(tier.flat_amount),
    }


def check_tiers(tiers: Sequence[Tier]) -> None:
    """Refuse tiers of which not each ends above the one before, the last nowhere.

    Raises:
        InvalidTiers: says why.
    """
    if tiers and tiers[-1].up_to is not None:
        raise InvalidTiers("must end with a tier that has no up_to")
    ends = [0, *(tier.up_to for tier in tiers[:-1])]
    if None in ends or any(end <= before for before, end in pairwise(ends)):  # type: ignore[operator]
        raise InvalidTiers("must each end above the one before")


def _graduated(tiers: Sequence[Tier], quantity: int, below: int) -> list[Charge]:
    found: list[Charge] = []
    begins, until = 0, below + quantity
    for number, tier in enumerate(tiers, 1):
        end = until if tier.up_to is None else min(until, tier.up_to)
        start = max(begins, below)
        if end > start:
            found += _in_tier(tier, end - start, number, is_begun=below > begins)
        begins = end
    return found


def _volume(tiers: Sequence[Tier], quantity: int, below: int) -> list[Charge]:
    number = _reached(tiers, below + quantity)
    is_begun = below > 0 and _reached(tiers, below) == number
    return _in_tier(tiers[number - 1], quantity, number, is_begun=is_begun)


def _reached(tiers: Sequence[Tier], quantity: int) -> int:
    for number, tier in enumerate(tiers, 1):
        if tier.up_to is None or quantity <= tier.up_to:
            return number
    raise InvalidTiers(f"no tier reaches {quantity}")


def _in_tier(tier: Tier, quantity: int, number: int, *, is_begun: bool) -> list[Charge]:
    charges = [Charge(quantity, tier.unit_amount, number)]
    if tier.flat_amount and not is_begun:
        charges.append(Charge(1, tier.flat_amount, number, is_flat=True))
    return charges
