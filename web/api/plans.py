"""Plans: what operators sell, and what companies may subscribe to."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Self
from uuid import UUID

from flask import Response
from pydantic import AfterValidator, BaseModel, Field, StrictBool, WithJsonSchema, model_validator
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.ids import new_id
from models.modules import Module, by_codes
from models.money import LARGEST, decimals
from models.paging import newest
from models.plans import Plan, PlanPrice, plan_of, prices_of
from models.prices import (
    InvalidTiers,
    PriceKind,
    Tier,
    TiersMode,
    check_tiers,
    tier_as_json,
)
from models.tenants import Permission
from schedules.periods import Interval
from web.auth import allowed, caller
from web.lists import made_within
from web.problems import DUPLICATE, Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import ONE_LINE, Amount, Currency, Exact, Moment, PageQuery, cursor_of
from worker.database import error_number, transaction

routes = Routes("plans", __name__, url_prefix="/api/v1/plans")

CODE = r"^[a-z0-9][a-z0-9_.-]*$"
MOST_UNITS = 10**15
_FINEST = Decimal("0.000001")


def _not_below_zero(value: Decimal) -> Decimal:
    if not value.is_finite() or not 0 <= value <= LARGEST:
        raise ValueError(f"must be from zero to {LARGEST}")
    if value != value.quantize(_FINEST):
        raise ValueError("has more than 6 decimals")
    return value


Asked = Annotated[
    Exact,
    AfterValidator(_not_below_zero),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 9999999999999.99},
                {"type": "string", "pattern": r"^[0-9]{1,13}(\.[0-9]{1,6})?$"},
            ],
            "description": "In the currency's main unit, as a number or a string; exact. "
            "What is counted may cost up to six decimals.",
        }
    ),
]
Code = Annotated[str, Field(min_length=1, max_length=50, pattern=CODE)]


class NewTier(Input):
    """Up to and with `up_to` units; the last tier has none."""

    up_to: int | None = Field(None, ge=1, le=MOST_UNITS)
    unit_amount: Asked = Decimal(0)
    flat_amount: Asked = Decimal(0)


class NewPrice(Input):
    """What one module costs in one currency."""

    module: Code = Field(description="The module's code.")
    currency: Currency
    kind: PriceKind
    unit_amount: Asked = Field(
        Decimal(0), description="A period, a seat a period, or a unit of use."
    )
    tiers: list[NewTier] = Field([], max_length=20)
    tiers_mode: TiersMode = TiersMode.GRADUATED
    included: int = Field(0, ge=0, le=MOST_UNITS, description="Seats or units that are free.")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.kind is PriceKind.FLAT and (self.tiers or self.included):
            raise ValueError("a flat price has neither tiers nor units")
        if self.tiers and self.unit_amount:
            raise ValueError("has either a unit_amount or tiers")
        try:
            check_tiers(self.as_tiers())
        except InvalidTiers as error:
            raise ValueError(f"tiers {error}") from None
        places = decimals(self.currency)
        billed_whole = [each.flat_amount for each in self.tiers]
        if self.kind is not PriceKind.USAGE:
            billed_whole += [self.unit_amount, *(each.unit_amount for each in self.tiers)]
        if any(amount != round(amount, places) for amount in billed_whole):
            raise ValueError(f"has more decimals than {self.currency}, which has {places}")
        return self

    def as_tiers(self) -> list[Tier]:
        """Return its tiers as they are kept."""
        return [Tier(each.up_to, each.unit_amount, each.flat_amount) for each in self.tiers]


class NewPlan(Input):
    """A plan. Its prices stay as they are: for other ones make another plan."""

    code: Code
    name: str = Field(min_length=1, max_length=200, pattern=ONE_LINE)
    interval: Interval = Interval.MONTH
    interval_count: int = Field(1, ge=1, le=36)
    trial_days: int = Field(0, ge=0, le=730)
    prices: list[NewPrice] = Field(min_length=1, max_length=200)


class PlanChanges(Input):
    """What of a plan may be changed."""

    name: str | None = Field(None, min_length=1, max_length=200, pattern=ONE_LINE)
    is_active: StrictBool | None = Field(
        None, description="What is not active is sold no more; who has it keeps it."
    )


class PlanPath(Input):
    """Which plan."""

    plan_id: UUID


class PlanQuery(PageQuery):
    """Which plans."""

    is_active: bool | None = None


class TierAnswer(BaseModel):
    """A tier."""

    up_to: int | None
    unit_amount: Amount
    flat_amount: Amount


class PriceAnswer(BaseModel):
    """What one module costs."""

    module_id: UUID
    module: str
    currency: str
    kind: PriceKind
    unit_amount: Amount
    tiers: list[TierAnswer]
    tiers_mode: TiersMode | None
    included: int


class PlanAnswer(BaseModel):
    """A plan with its prices."""

    id: UUID
    code: str
    name: str
    interval: Interval
    interval_count: int
    trial_days: int
    is_active: bool
    prices: list[PriceAnswer]
    created_at: Moment
    updated_at: Moment


class PlansAnswer(BaseModel):
    """A page of plans, newest first."""

    data: list[PlanAnswer]
    next_cursor: str | None


@routes.post("", responses={201: PlanAnswer})
@allowed(Permission.CATALOGUE_WRITE)
def create_plan(body: NewPlan) -> Response:
    """Make a plan. A code is a tenant's once, so that what is sent twice is made once."""
    try:
        with transaction() as session:
            plan = _made(session, body)
            shown = _shown(plan, prices_of(session, [plan.id])[plan.id])
    except IntegrityError as error:
        if error_number(error) != DUPLICATE:
            raise
        raise Problem("conflict", f"There is a plan {body.code} already.") from None
    return respond(shown, 201, {"Location": f"{routes.url_prefix}/{shown['id']}"})


@routes.get("", responses={200: PlansAnswer})
@allowed()
def list_plans(query: PlanQuery) -> Response:
    """List the plans of the caller's tenant, newest first."""
    wanted = made_within(Plan, select(Plan).where(Plan.tenant_id == caller().tenant_id), query)
    if query.is_active is not None:
        wanted = wanted.where(Plan.is_active == query.is_active)
    with transaction() as session:
        page = newest(session, Plan, wanted, after=query.after, limit=query.limit)
        prices = prices_of(session, [plan.id for plan in page.rows])
        data = [_shown(plan, prices[plan.id]) for plan in page.rows]
    return respond({"data": data, "next_cursor": cursor_of(page.next_after)})


@routes.get("/<uuid:plan_id>", responses={200: PlanAnswer})
@allowed()
def read_plan(path: PlanPath) -> Response:
    """Return a plan with its prices."""
    with transaction() as session:
        plan = plan_named(session, str(path.plan_id))
        return respond(_shown(plan, prices_of(session, [plan.id])[plan.id]))


@routes.patch("/<uuid:plan_id>", responses={200: PlanAnswer})
@allowed(Permission.CATALOGUE_WRITE)
def change_plan(path: PlanPath, body: PlanChanges) -> Response:
    """Rename a plan, or sell it no more."""
    with transaction() as session:
        plan = plan_named(session, str(path.plan_id))
        for name, value in body.model_dump(exclude_none=True).items():
            setattr(plan, name, value)
        session.flush()
        return respond(_shown(plan, prices_of(session, [plan.id])[plan.id]))


def plan_named(session: Session, named: str) -> Plan:
    """Return a plan of the caller's tenant by its code or id; 404 if there is none."""
    plan = plan_of(session, caller().tenant_id, named)
    if plan is None:
        raise Problem("not-found", "No such plan.")
    return plan


def _made(session: Session, body: NewPlan) -> Plan:
    tenant_id = caller().tenant_id
    modules = by_codes(session, tenant_id, {price.module for price in body.prices})
    plan = Plan(
        tenant_id=tenant_id,
        **body.model_dump(exclude={"prices"}),
        is_active=True,
    )
    session.add(plan)
    session.flush()
    seen = set()
    for position, price in enumerate(body.prices):
        module = modules.get(price.module)
        if module is None:
            raise invalid(f"prices.{position}.module", "is no module of yours")
        what = (price.module, price.currency, price.kind)
        if what in seen:
            raise invalid(f"prices.{position}", "is the second one for the same")
        seen.add(what)
        session.add(_price(plan, module, price))
    session.flush()
    return plan


def _price(plan: Plan, module: Module, price: NewPrice) -> PlanPrice:
    return PlanPrice(
        id=new_id(),  # in the order that they were given in
        plan_id=plan.id,
        module_id=module.id,
        currency=price.currency,
        kind=price.kind,
        unit_amount=price.unit_amount,
        tiers=[tier_as_json(tier) for tier in price.as_tiers()] or None,
        tiers_mode=price.tiers_mode if price.tiers else None,
        included=price.included,
    )


def _shown(plan: Plan, prices: list[tuple[PlanPrice, str]]) -> dict[str, Any]:
    return {
        "id": plan.id,
        "code": plan.code,
        "name": plan.name,
        "interval": plan.interval,
        "interval_count": plan.interval_count,
        "trial_days": plan.trial_days,
        "is_active": plan.is_active,
        "prices": [_shown_price(price, module) for price, module in prices],
        "created_at": plan.created_at,
        "updated_at": plan.updated_at,
    }


def _shown_price(price: PlanPrice, module: str) -> dict[str, Any]:
    return {
        "module_id": price.module_id,
        "module": module,
        "currency": price.currency,
        "kind": price.kind,
        "unit_amount": price.unit_amount.normalize() + 0,
        "tiers": [
            {
                "up_to": tier["up_to"],
                "unit_amount": Decimal(tier["unit_amount"]),
                "flat_amount": Decimal(tier["flat_amount"]),
            }
            for tier in price.tiers or []
        ],
        "tiers_mode": price.tiers_mode,
        "included": price.included,
    }
