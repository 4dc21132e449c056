"""What is due, what was paid, what fails and what waits for somebody: one look at a company."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy import Row
from sqlalchemy.orm import Session

from models import overview
from models.alerts import Severity
from models.clock import now
from models.overview import DAYS, Scope, Sum
from models.tenants import Permission
from models.transactions import Status
from web.auth import allowed, caller
from web.problems import Problem
from web.routes import Input, Routes, respond
from web.schemas import Amount, Currency, Moment
from web.totals import TotalsBase, shown_totals, totals_in, wanted_currency
from worker.caching import get_or_fetch
from worker.database import transaction
from worker.figures import LIFE_S, figures_of

routes = Routes("overview", __name__, url_prefix="/api/v1/overview")

READS = (Permission.PAYMENTS_READ, Permission.INVOICES_READ, Permission.DISPUTES_READ)
WEEK = 7


class SumAnswer(BaseModel):
    """So much, of so many invoices."""

    amount: Amount
    number: int


class MovedAnswer(BaseModel):
    """What moved today, in the last 7 days and in the last 30, today among them; days are UTC's."""

    today: Amount
    last_7_days: Amount
    last_30_days: Amount


class DayAnswer(BaseModel):
    """What moved on one day."""

    day: date
    paid: Amount
    refunded: Amount


class CurrencyAnswer(BaseModel):
    """What is due in one currency, and what was paid and given back."""

    currency: str
    due: SumAnswer
    overdue: SumAnswer
    paid: MovedAnswer
    refunded: MovedAnswer
    days: list[DayAnswer]


class RetryAnswer(BaseModel):
    """A payment that will be charged again by itself."""

    transaction_id: UUID
    invoice_id: UUID
    invoice_number: str
    company_id: UUID
    company_name: str
    amount: Amount
    currency: str
    retry_count: int
    next_retry_at: Moment


class RetriesAnswer(BaseModel):
    """How many payments climb the ladder, and the soonest five."""

    number: int
    soonest: list[RetryAnswer]


class ResponsesAnswer(BaseModel):
    """How many disputes need a response, and until when the first."""

    number: int
    first_due_at: Moment | None


class AlertCounts(BaseModel):
    """How many alerts are open."""

    number: int
    critical: int
    warning: int
    info: int


class TotalsAnswer(TotalsBase):
    """What all currencies come to in one, by the newest rates."""

    due: Amount
    overdue: Amount
    paid: MovedAnswer
    refunded: MovedAnswer


class OverviewQuery(Input):
    """What the totals are told in."""

    currency: Currency | None = Field(
        None, description="The company's by default; without a company the tenant's choice."
    )


class Figures(BaseModel):
    """What is summed up from a company's rows, and when that was.

    `company_id` is null where they are those of all of the tenant's companies.
    """

    at: Moment
    company_id: UUID | None
    currencies: list[CurrencyAnswer]
    payments: dict[Status, int]
    retries: RetriesAnswer
    disputes_needing_response: ResponsesAnswer
    open_alerts: AlertCounts


class OverviewAnswer(Figures):
    """One look."""

    totals: TotalsAnswer


@routes.get("", responses={200: OverviewAnswer})
@allowed()
def read_overview(query: OverviewQuery) -> Response:
    """Return sums by currency, their totals in one, and counts of what stands where.

    A currency without a rate, or with one that is too old, is in no total and is named as missing.

    An operator who names no company sees those of all of the tenant's companies.
    """
    who = caller()
    for permission in READS:
        if permission not in who.permissions:
            raise Problem("forbidden", f"This needs the permission {permission}.")
    moment = now()
    scope = Scope(who.tenant_id, who.company_in_sight)
    figures = _figures(scope, moment).model_dump()
    with transaction(company_id=scope.company_id) as session:
        totals = _totals(session, figures["currencies"], query.currency, moment)
    return respond({**figures, "totals": totals})


def _figures(scope: Scope, moment: datetime) -> Figures:
    """Return a company's figures as they were kept, or else summed up now.

    Those of all companies are summed up each time: a write would have to look for its tenant to
    make them stale, and in a tenant that is busy they always would be.
    """
    if scope.company_id is None:
        return _summed_up(scope, moment)
    # What is overdue and what was paid today are others from midnight on.
    key = figures_of(scope.company_id, "overview", moment.date().isoformat())
    found = get_or_fetch(key, life_s=LIFE_S, kind=Figures, fetch=lambda: _summed_up(scope, moment))
    return found or _summed_up(scope, moment)


def _summed_up(scope: Scope, moment: datetime) -> Figures:
    with transaction(company_id=scope.company_id) as session:
        currencies = overview.currencies(session, scope, moment=moment)
        number, soonest = overview.retries(session, scope)
        disputes = overview.disputes(session, scope)
        alerts = overview.alerts(session, scope)
        found: dict[str, Any] = {
            "at": moment,
            "company_id": scope.company_id,
            "currencies": [_currency(name, each, moment) for name, each in currencies.items()],
            "payments": overview.payments(session, scope),
            "retries": {"number": number, "soonest": [_retry(each) for each in soonest]},
            "disputes_needing_response": {
                "number": disputes.number,
                "first_due_at": disputes.first_at,
            },
            "open_alerts": {
                "number": sum(alerts.values()),
                **{str(severity): alerts[severity] for severity in Severity},
            },
        }
    return Figures.model_validate(found)


def _totals(
    session: Session, shown: Sequence[Mapping[str, Any]], named: str | None, moment: datetime
) -> dict[str, Any]:
    """Return what the sums that are shown by currency come to in one."""
    sums = {
        each["currency"]: {
            "due": Decimal(each["due"]["amount"]),
            "overdue": Decimal(each["overdue"]["amount"]),
            **{f"paid {span}": Decimal(amount) for span, amount in each["paid"].items()},
            **{f"refunded {span}": Decimal(amount) for span, amount in each["refunded"].items()},
        }
        for each in shown
    }
    to = wanted_currency(session, named)
    spans = tuple(MovedAnswer.model_fields)
    moved = [f"{name} {span}" for name in ("paid", "refunded") for span in spans]
    found = totals_in(session, to, sums, names=("due", "overdue", *moved), moment=moment)
    return {
        **shown_totals(found),
        "due": found.amounts["due"],
        "overdue": found.amounts["overdue"],
        "paid": {span: found.amounts[f"paid {span}"] for span in spans},
        "refunded": {span: found.amounts[f"refunded {span}"] for span in spans},
    }


def _currency(name: str, sums: overview.Currency, moment: datetime) -> dict[str, Any]:
    first, today = overview.first_day(moment), moment.date()
    days = [first + timedelta(days=number) for number in range(DAYS)]
    return {
        "currency": name,
        "due": _sum(sums.due),
        "overdue": _sum(sums.overdue),
        "paid": _moved(sums.paid, today),
        "refunded": _moved(sums.refunded, today),
        "days": [
            {
                "day": day,
                "paid": sums.paid.get(day, Decimal(0)),
                "refunded": sums.refunded.get(day, Decimal(0)),
            }
            for day in days
        ],
    }


def _sum(found: Sum) -> dict[str, Any]:
    return {"amount": found.amount, "number": found.number}


def _moved(by_day: dict[date, Decimal], today: date) -> dict[str, Decimal]:
    def last(days: int) -> Decimal:
        first = today - timedelta(days=days - 1)
        return sum((each for day, each in by_day.items() if day >= first), Decimal(0))

    return {"today": last(1), "last_7_days": last(WEEK), "last_30_days": last(DAYS)}


def _retry(row: Row[Any]) -> dict[str, Any]:
    payment = row.Transaction
    return {
        "transaction_id": payment.id,
        "invoice_id": payment.invoice_id,
        "invoice_number": row.number,
        "company_id": payment.company_id,
        "company_name": row.name,
        "amount": payment.amount,
        "currency": payment.currency,
        "retry_count": payment.retry_count,
        "next_retry_at": payment.next_retry_at,
    }
