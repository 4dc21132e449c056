"""What a tenant's companies were billed and have paid, by currency: one query, the largest first.

A row a company and currency, as sums over currencies mean nothing. What is largest is told by what
each sum is worth in one currency; without a rate it is worth nothing, and comes last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, literal_column, or_, select
from sqlalchemy.orm import Session

from models.base import across_companies
from models.invoices import Invoice, InvoiceStatus
from models.tenants import Company

# A draft is no bill yet, and a void one none any more.
BILLED = (InvoiceStatus.OPEN, InvoiceStatus.PAID, InvoiceStatus.UNCOLLECTIBLE)
# Decimals of a rate that sorts: as fine as the smallest of them needs.
PLACES = 18


@dataclass(frozen=True)
class Billing:
    """One company's bills of one currency; of a company without any, nothing in its own."""

    company_id: UUID
    name: str
    billed_in: str
    invoice_count: int
    total_billed: Decimal
    total_paid: Decimal
    worth: Decimal


@dataclass(frozen=True)
class Place:
    """After which row a page begins."""

    worth: Decimal
    company_id: UUID
    billed_in: str


def billings(
    session: Session,
    tenant_id: UUID,
    *,
    rates: Mapping[str, Decimal],
    after: Place | None,
    limit: int,
) -> Sequence[Billing]:
    """Return so many rows of all of the tenant's companies, the largest first: one query.

    Args:
        rates: what one unit of each currency is in the one that they are compared in.
        after: the last row of the page before, told by the same rates.
    """
    query = _by_company(tenant_id, rates).limit(limit)
    if after is not None:
        query = query.having(_follows(after))
    because = "an operator sees all of the tenant's companies"
    rows = session.execute(across_companies(query, because=because))
    return [Billing(**row) for row in rows.mappings()]


def _by_company(tenant_id: UUID, rates: Mapping[str, Decimal]) -> Select[Any]:
    billed = func.coalesce(func.sum(Invoice.amount), 0)
    paid = func.sum(case((Invoice.status == InvoiceStatus.PAID, Invoice.amount), else_=0))
    rounded = {currency: round(rate, PLACES) for currency, rate in rates.items()}
    rate = case(rounded, value=Invoice.currency, else_=0) if rounded else literal(0)
    worth = (billed * rate).label("worth")
    billed_in = func.coalesce(Invoice.currency, Company.currency).label("billed_in")
    return (
        select(
            Company.id.label("company_id"),
            Company.name,
            billed_in,
            func.count(Invoice.id).label("invoice_count"),
            billed.label("total_billed"),
            func.coalesce(paid, 0).label("total_paid"),
            worth,
        )
        .outerjoin(Invoice, and_(Invoice.company_id == Company.id, Invoice.status.in_(BILLED)))
        .where(Company.tenant_id == tenant_id)
        .group_by(Company.id, Invoice.currency)
        .order_by(literal_column("worth").desc(), Company.id, literal_column("billed_in"))
    )


def _follows(after: Place) -> ColumnElement[bool]:
    worth: ColumnElement[Decimal] = literal_column("worth")
    billed_in: ColumnElement[str] = literal_column("billed_in")
    company_id: ColumnElement[UUID] = literal_column("company_id", Company.id.type)
    return or_(
        worth < after.worth,
        and_(worth == after.worth, company_id > after.company_id),
        and_(worth == after.worth, company_id == after.company_id, billed_in > after.billed_in),
    )
