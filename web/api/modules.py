"""Modules: what the tenant sells, and what of it a company has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from hashlib import sha256
from typing import Annotated, Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, BeforeValidator, Field, StrictBool, StrictInt, StringConstraints
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.modules import CompanyModule, Limits, Module, active, lock_active, of_tenant
from models.paging import newest
from models.plans import sold_with
from models.tenants import Permission
from models.timeline import note
from web.auth import allowed, caller
from web.lists import made_within
from web.problems import DUPLICATE, Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import ONE_LINE, WRITTEN, Moment, PageQuery, cause, cursor_of, whole
from worker import catalogue
from worker import modules as taking
from worker.catalogue import ModuleMeta, ModulePage
from worker.database import error_number, in_transaction, transaction

routes = Routes("modules", __name__, url_prefix="/api/v1/modules")

MOST_USE = 10**15
LIMITS = {each.name for each in fields(Limits)}

Use = Annotated[StrictInt, Field(ge=1, le=MOST_USE), BeforeValidator(whole)]
Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,49}$")]
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=ONE_LINE)]
Text = Annotated[str, Field(max_length=5000, pattern=WRITTEN)]
Unit = Annotated[
    str,
    Field(
        min_length=1,
        max_length=40,
        pattern=ONE_LINE,
        description="The word for what is counted, such as `request`.",
    ),
]
Details = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=ONE_LINE)],
        Annotated[str, StringConstraints(max_length=500, pattern=WRITTEN)],
    ],
    Field(max_length=50),
]


class ModuleLimitsChange(Input):
    """How much use in a period is told of, and how much is refused; null for never."""

    warning_at: Use | None = None
    critical_at: Use | None = None
    hard_limit: Use | None = None


class NewModule(ModuleLimitsChange):
    """A module to be sold."""

    code: Code
    name: Name
    description: Text | None = None
    details: Details | None = None
    unit: Unit | None = None
    is_active: StrictBool = True


class ModuleChange(ModuleLimitsChange):
    """What is to be changed; what is left out stays."""

    name: Name | None = None
    description: Text | None = None
    details: Details | None = None
    unit: Unit | None = None
    is_active: StrictBool | None = None


class ModulePath(Input):
    """Which module."""

    module_id: UUID


class ModulesQuery(PageQuery):
    """Which modules."""

    is_active: bool | None = Field(None, description="Whether they are still sold.")


class ModuleLimits(BaseModel):
    """How much use in a period is told of, and how much is refused."""

    warning_at: int | None
    critical_at: int | None
    hard_limit: int | None


class TakenModule(BaseModel):
    """What a company has of a module: the limits are those that hold for it."""

    subscribed_at: Moment
    subscription_id: UUID | None = Field(description="The subscription that it comes with.")
    limits: ModuleLimits
    period_start: Moment | None
    period_end: Moment | None


class ModuleAnswer(BaseModel):
    """A module; `taken` is null where the company does not have it."""

    id: UUID
    code: str
    name: str
    description: str | None
    details: dict[str, str] | None
    unit: str | None
    is_active: bool
    limits: ModuleLimits
    taken: TakenModule | None
    created_at: Moment
    updated_at: Moment


class ModulesAnswer(BaseModel):
    """A page of modules, newest first."""

    data: list[ModuleAnswer]
    next_cursor: str | None


@routes.get("", responses={200: ModulesAnswer})
@allowed(Permission.MODULES_READ)
def list_modules(query: ModulesQuery) -> Response:
    """List what the tenant sells, newest first, each with what the company has of it."""
    who = caller()
    name = sha256(query.model_dump_json().encode()).hexdigest()[:32]
    page = catalogue.page(who.tenant_id, name, lambda: _page(who.tenant_id, query))
    taken = _taken([module.id for module in page.rows])
    return respond(
        {
            "data": [_shown(module, taken.get(module.id)) for module in page.rows],
            "next_cursor": cursor_of(page.next_after),
        }
    )


@routes.get("/<uuid:module_id>", responses={200: ModuleAnswer})
@allowed(Permission.MODULES_READ)
def read_module(path: ModulePath) -> Response:
    """Return a module with what the company has of it."""
    module = known(path.module_id)
    return respond(_shown(module, _taken([module.id]).get(module.id)))


@routes.post("", responses={201: ModuleAnswer})
@allowed(Permission.CATALOGUE_WRITE)
def create_module(body: NewModule) -> Response:
    """Add a module to the catalogue. Its code is the tenant's own, and used once."""
    _check_order(Limits.of(body))
    module = in_transaction(_create, None, caller().tenant_id, body)
    location = {"Location": f"{routes.url_prefix}/{module.id}"}
    return respond(_shown(module, None), 201, location)


@routes.patch("/<uuid:module_id>", responses={200: ModuleAnswer})
@allowed(Permission.CATALOGUE_WRITE)
def change_module(path: ModulePath, body: ModuleChange) -> Response:
    """Change a module. One that is no longer active is taken by nobody new."""
    module = in_transaction(_change, None, caller().tenant_id, path.module_id, body)
    return respond(_shown(module, _taken([module.id]).get(module.id)))


@routes.post("/<uuid:module_id>/subscribe", responses={200: ModuleAnswer})
@allowed(Permission.MODULES_WRITE)
def subscribe(path: ModulePath) -> Response:
    """Let the company have a module from now on. Twice is once."""
    module, company_id = known(path.module_id), caller().company_id
    row = in_transaction(_subscribe, company_id, company_id, module.id)
    return respond(_shown(module, row))


@routes.post("/<uuid:module_id>/unsubscribe", responses={200: ModuleAnswer})
@allowed(Permission.MODULES_WRITE)
def unsubscribe(path: ModulePath) -> Response:
    """End what the company has of a module now. Twice is once."""
    module, company_id = known(path.module_id), caller().company_id
    in_transaction(_unsubscribe, company_id, company_id, module.id)
    return respond(_shown(module, None))


@routes.patch("/<uuid:module_id>/limits", responses={200: ModuleAnswer})
@allowed(Permission.MODULES_WRITE)
def change_limits(path: ModulePath, body: ModuleLimitsChange) -> Response:
    """Set what the company is told of; null is what the module says. The hard limit: operators."""
    who, module = caller(), known(path.module_id)
    if "hard_limit" in body.model_fields_set and Permission.CATALOGUE_WRITE not in who.permissions:
        raise Problem("forbidden", f"hard_limit needs the permission {Permission.CATALOGUE_WRITE}.")
    row = in_transaction(_limit, who.company_id, module.id, body)
    return respond(_shown(module, row))


def known(module_id: UUID) -> ModuleMeta:
    """Return a module of the caller's tenant; 404 if there is no such one."""
    module = catalogue.find(caller().tenant_id, module_id)
    if module is None:
        raise Problem("not-found", "No such module.")
    return module


def _page(tenant_id: UUID, query: ModulesQuery) -> ModulePage:
    wanted = made_within(Module, select(Module).where(Module.tenant_id == tenant_id), query)
    if query.is_active is not None:
        wanted = wanted.where(Module.is_active.is_(query.is_active))
    with transaction() as session:
        page = newest(session, Module, wanted, after=query.after, limit=query.limit)
        rows = [catalogue.meta_of(module) for module in page.rows]
        return ModulePage(rows=rows, next_after=page.next_after)


def _taken(module_ids: Sequence[UUID]) -> Mapping[UUID, CompanyModule]:
    """Return what the company has of these; nothing for an operator who named none."""
    company_id = caller().acting_for
    if company_id is None:
        return {}
    with transaction(company_id=company_id) as session:
        return active(session, module_ids)


def _create(session: Session, tenant_id: UUID, body: NewModule) -> ModuleMeta:
    module = Module(tenant_id=tenant_id, **body.model_dump())
    session.add(module)
    try:
        session.flush()
    except IntegrityError as error:
        if error_number(error) != DUPLICATE:
            raise
        raise Problem("conflict", f"There is a module {body.code} already.") from None
    catalogue.make_stale(session, tenant_id)
    return catalogue.meta_of(module)


def _change(session: Session, tenant_id: UUID, module_id: UUID, body: ModuleChange) -> ModuleMeta:
    module = of_tenant(session, tenant_id, module_id, is_locked=True)
    if module is None:
        raise Problem("not-found", "No such module.")
    changes = body.model_dump(exclude_unset=True)
    for name in ("name", "is_active"):
        if name in changes and changes[name] is None:
            raise invalid(name, "may not be null")
    for name, value in changes.items():
        setattr(module, name, value)
    _check_order(Limits.of(module))
    session.flush()
    catalogue.make_stale(session, tenant_id)
    return catalogue.meta_of(module)


def _subscribe(session: Session, company_id: UUID, module_id: UUID) -> CompanyModule:
    # Not by what is remembered: it may just have ceased to be sold.
    if not session.get_one(Module, module_id).is_active and not active(session, [module_id]):
        raise Problem("conflict", "The module is no longer sold.")
    _refuse_priced(session, module_id)
    because = cause("the company subscribed")
    return taking.subscribe(session, company_id, module_id, because=because)


def _refuse_priced(session: Session, module_id: UUID) -> None:
    """Refuse to take for nothing what the tenant sells in a plan; operators may give it."""
    if Permission.CATALOGUE_WRITE in caller().permissions or active(session, [module_id]):
        return
    plan = sold_with(session, module_id)
    if plan is not None:
        told = f"The module is sold with a plan, such as {plan}: subscribe to that."
        raise Problem("conflict", told)


def _unsubscribe(session: Session, company_id: UUID, module_id: UUID) -> None:
    row = lock_active(session, module_id)
    if row is not None and row.subscription_id is not None:
        raise Problem(
            "conflict",
            "The module comes with a subscription: it ends with that, or when that is changed.",
            extra={"subscription_id": str(row.subscription_id)},
        )
    taking.unsubscribe(session, company_id, module_id, because=cause("the company unsubscribed"))


def _limit(session: Session, module_id: UUID, body: ModuleLimitsChange) -> CompanyModule:
    row = lock_active(session, module_id)
    if row is None:
        raise Problem("conflict", "The company does not have this module.")
    changes = body.model_dump(exclude_unset=True)
    for name, value in changes.items():
        setattr(row, name, value)
    _check_order(row.limits(session.get_one(Module, module_id)))
    note(session, row, what="limits", because=cause("its limits were set"), detail=changes)
    return row


def _check_order(limits: Limits) -> None:
    """Refuse limits of which a later one would come before an earlier one."""
    last: int | None = None
    for name, value in asdict(limits).items():
        if value is not None and last is not None and value < last:
            raise invalid(name, "may not be below those before it: warning, critical, hard limit")
        last = last if value is None else value


def _shown(module: ModuleMeta, row: CompanyModule | None) -> dict[str, Any]:
    taken = None
    if row is not None:
        taken = {
            "subscribed_at": row.subscribed_at,
            "subscription_id": row.subscription_id,
            "limits": asdict(row.limits(module)),
            "period_start": row.period_start,
            "period_end": row.period_end,
        }
    shown = module.model_dump(exclude=LIMITS)
    return {**shown, "limits": asdict(Limits.of(module)), "taken": taken}
