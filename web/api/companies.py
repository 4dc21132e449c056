"""Companies: those for which the caller may act."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy import Select, select

from models.tenants import Company, Role
from web.auth import allowed, caller
from web.lists import answer_page
from web.problems import Problem
from web.routes import Input, Routes, respond
from web.schemas import WRITTEN, Moment, PageQuery
from worker.database import transaction

routes = Routes("companies", __name__, url_prefix="/api/v1/companies")


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
        "created_at": company.created_at,
    }
