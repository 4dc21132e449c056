"""Sums of several currencies in one: what was converted, by which rates, and what was not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.fx import NoConversion, Quote, Rates, StaleRate
from models.money import Money
from models.tenants import Company, Tenant


@dataclass(frozen=True)
class Missing:
    """A currency that is in no total, and why."""

    currency: str
    reason: str
    message: str
    as_of: datetime | None


@dataclass
class Totals:
    """Sums in one currency, by name; what is missing in them is told beside them."""

    currency: str
    amounts: dict[str, Decimal]
    quotes: dict[str, Quote] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)


def total(
    rates: Rates, to: str, sums: Mapping[str, Mapping[str, Decimal]], *, names: tuple[str, ...]
) -> Totals:
    """Return the sums of all currencies in `to`: each converted by itself, and rounded once.

    What is nothing needs no rate.

    Args:
        sums: by currency and name; every name of `names` is in each.
    """
    found = Totals(to, dict.fromkeys(names, Decimal(0)))
    for currency, amounts in sorted(sums.items()):
        if not any(amounts[name] for name in names):
            continue
        try:
            found.quotes[currency] = rates.quote(currency, to)
        except NoConversion as error:
            as_of = error.as_of if isinstance(error, StaleRate) else None
            found.missing.append(Missing(currency, error.reason, str(error), as_of))
            continue
        for name in names:
            converted = rates.convert(Money(amounts[name], currency), to)
            found.amounts[name] += converted.money.amount
    return found


def reporting_currency(
    session: Session, *, tenant_id: UUID, company_id: UUID | None, default: str
) -> str:
    """Return what totals are told in: the company's, else the tenant's choice, else `default`."""
    if company_id is not None:
        company = select(Company.currency).where(
            Company.id == company_id, Company.tenant_id == tenant_id
        )
        return session.scalar(company) or default
    return session.scalar(select(Tenant.currency).where(Tenant.id == tenant_id)) or default
