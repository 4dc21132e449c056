"""Payouts: what a provider sent to the bank, and of what each is made up."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, StrictBool
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.invoice_sheets import written
from models.payouts import SUMS, Payout
from models.tenants import Permission
from models.transactions import Provider
from web.api.import_files import CSV, respond_csv
from web.auth import allowed, caller
from web.lists import answer_page
from web.problems import Problem
from web.routes import Input, Routes, respond
from web.schemas import Moment, PageQuery
from worker.database import transaction

routes = Routes("payouts", __name__, url_prefix="/api/v1/payouts")

COLUMNS = (
    *("provider_payout_id", "arrival_date", "amount", "currency", "status", "is_balanced"),
    *("type", "count", *SUMS),
)


class PayoutPath(Input):
    """Which payout."""

    payout_id: UUID


class PayoutPart(BaseModel):
    """The movements of one type, added up; amounts are decimal strings."""

    type: str
    count: int
    gross: str
    fee: str
    net: str


class PayoutAnswer(BaseModel):
    """A payout; `is_balanced` is null while the provider has not told of what it is made up."""

    id: UUID
    provider: Provider
    provider_payout_id: str
    amount: str
    currency: str
    status: str
    arrival_date: date | None
    made_at: Moment
    is_balanced: StrictBool | None
    parts: list[PayoutPart]
    read_at: Moment | None
    created_at: Moment


class PayoutsAnswer(BaseModel):
    """A page of payouts, newest first."""

    data: list[PayoutAnswer]
    next_cursor: str | None


@routes.get("", responses={200: PayoutsAnswer})
@allowed(Permission.OPERATIONS)
def list_payouts(query: PageQuery) -> Response:
    """List the payouts of the installation's account, newest first."""
    ours = select(Payout).where(Payout.tenant_id == caller().tenant_id)
    return answer_page(Payout, ours, query, shown)


@routes.get("/<uuid:payout_id>", responses={200: PayoutAnswer})
@allowed(Permission.OPERATIONS)
def read_payout(path: PayoutPath) -> Response:
    """Return a payout and, by type, the movements that it is made up of."""
    with transaction() as session:
        return respond(shown(_found(session, path.payout_id)))


@routes.get("/<uuid:payout_id>.csv", responses={200: CSV})
@allowed(Permission.OPERATIONS)
def export_payout(path: PayoutPath) -> Response:
    """Return a payout's report as a file, a line a type.

    What a spreadsheet would take for a formula is quoted.
    """
    with transaction() as session:
        row = _found(session, path.payout_id)
        told = shown(row)
    lines = [
        ["" if value is None else str(value) for value in _line(told, part)]
        for part in told["parts"] or [{}]
    ]
    return respond_csv(written([list(COLUMNS), *lines]), f"payout-{row.id}.csv")


def _line(told: dict[str, Any], part: dict[str, Any]) -> list[Any]:
    return [part.get(name) if name in PayoutPart.model_fields else told[name] for name in COLUMNS]


def _found(session: Session, payout_id: UUID) -> Payout:
    row = session.get(Payout, payout_id)
    if row is None or row.tenant_id != caller().tenant_id:
        raise Problem("not-found", "No such payout.")
    return row


def shown(row: Payout) -> dict[str, Any]:
    """Return a payout as it is answered."""
    told = {name: getattr(row, name) for name in PayoutAnswer.model_fields}
    parts = [
        {**part, **{name: f"{Decimal(part[name]):.2f}" for name in SUMS}}
        for part in row.parts or ()
    ]
    return {**told, "amount": f"{row.amount:.2f}", "parts": parts}
