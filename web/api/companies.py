"""Companies: those for which the caller may act."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID
from zoneinfo import available_timezones

from flask import Response
from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from models.tenants import Company, Language, Permission, Role
from web.auth import allowed, caller
from web.lists import answer_page
from web.problems import Problem
from web.routes import Input, Routes, respond
from web.schemas import ONE_LINE, WRITTEN, Moment, PageQuery
from worker.database import in_transaction, transaction

routes = Routes("companies", __name__, url_prefix="/api/v1/companies")


def _known_zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("is no time zone of the IANA's, such as Asia/Kolkata")
    return value


TimeZone = Annotated[str, Field(max_length=64, examples=["UTC"]), AfterValidator(_known_zone)]


class Address(Input):
    """Where a company is, as its documents show it."""

    line1: str | None = Field(None, max_length=200, pattern=ONE_LINE)
    line2: str | None = Field(None, max_length=200, pattern=ONE_LINE)
    postal_code: str | None = Field(None, max_length=20, pattern=ONE_LINE)
    city: str | None = Field(None, max_length=100, pattern=ONE_LINE)
    state: str | None = Field(None, max_length=100, pattern=ONE_LINE)
    country: str | None = Field(None, pattern="^[A-Z]{2}$", description="As in ISO 3166-1.")


class CompanyChange(Input):
    """What a company is to have instead; what is left out stays as it is."""

    address: Address | None = None
    tax_id: str | None = Field(None, max_length=50, pattern=ONE_LINE)
    language: Language = Language.ENGLISH
    time_zone: TimeZone = "UTC"


class CompanyPath(Input):
    """Which company."""

    company_id: UUID


class CompaniesQuery(PageQuery):
    """Which companies."""

    search: str | None = Field(
        None, min_length=1, max_length=255, pattern=WRITTEN, description="How the name begins."
    )


class CompanyAnswer(BaseModel):
    """A company."""

    id: UUID
    name: str
    email: str
    currency: str
    address: Address | None
    tax_id: str | None
    language: str
    time_zone: str
    created_at: Moment


class CompaniesAnswer(BaseModel):
    """A page of companies, newest first."""

    data: list[CompanyAnswer]
    next_cursor: str | None


@routes.get("", responses={200: CompaniesAnswer})
@allowed()
def list_companies(query: CompaniesQuery) -> Response:
    """List the companies that the caller may act for, whichever they name now, newest first.

    For an operator they are the tenant's; anybody else has one.
    """
    wanted = _ours()
    if query.search is not None:
        wanted = wanted.where(Company.name.startswith(query.search, autoescape=True))
    return answer_page(Company, wanted, query, _shown)


@routes.get("/<uuid:company_id>", responses={200: CompanyAnswer})
@allowed()
def read_company(path: CompanyPath) -> Response:
    """Return a company that the caller may act for."""
    with transaction() as session:
        company = session.scalar(_ours().where(Company.id == path.company_id))
        if company is None:
            raise Problem("not-found", "No such company.")
        return respond(_shown(company))


@routes.patch("/<uuid:company_id>", responses={200: CompanyAnswer})
@allowed()
def change_company(path: CompanyPath, body: CompanyChange) -> Response:
    """Change what documents say of a company: those that are issued from now on."""
    if Permission.INVOICES_WRITE not in caller().permissions:
        raise Problem("forbidden", f"This needs the permission {Permission.INVOICES_WRITE}.")
    return respond(in_transaction(_change, None, path.company_id, body))


def _change(session: Session, company_id: UUID, body: CompanyChange) -> dict[str, Any]:
    company = session.scalar(_ours().where(Company.id == company_id).with_for_update())
    if company is None:
        raise Problem("not-found", "No such company.")
    for name in body.model_fields_set:
        value = getattr(body, name)
        if isinstance(value, Address):
            value = value.model_dump(exclude_none=True)
        setattr(company, name, value or None)
    session.flush()
    return _shown(company)


def _ours() -> Select[Any]:
    who = caller()
    ours = select(Company).where(Company.tenant_id == who.tenant_id)
    # Nobody but an operator may name another company than their own.
    return ours if who.role is Role.OPERATOR else ours.where(Company.id == who.company_id)


def _shown(company: Company) -> dict[str, Any]:
    return {
        "id": company.id,
        "name": company.name,
        "email": company.email,
        "currency": company.currency,
        "address": company.address,
        "tax_id": company.tax_id,
        "language": company.language,
        "time_zone": company.time_zone,
        "created_at": company.created_at,
    }
