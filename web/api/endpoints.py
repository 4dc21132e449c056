"""Endpoints: the tenants' own systems that hear what happens."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from flask import Response, g
from pydantic import AfterValidator, BaseModel, Field, StrictBool, WithJsonSchema
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from models import deliveries, endpoints
from models.clock import now
from models.endpoints import EVERY, MOST_ENDPOINTS, MOST_URL, Endpoint, EndpointStatus
from models.endpoints import DisabledReason as Reason
from models.ids import new_id
from models.tenants import Permission, Role
from web.auth import allowed, caller
from web.idempotency import Begun, Told, idempotent
from web.lists import answer_page
from web.problems import Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import WRITTEN, Moment, PageQuery
from worker.database import in_transaction, transaction
from worker.events import KINDS, OURS
from worker.outgoing import disabling, signing
from worker.outgoing.addresses import Refused, rules_of
from worker.settings import settings

PREFIX = "/api/v1/endpoints"
routes = Routes("endpoints", __name__, url_prefix=PREFIX)


# `import.progressed` is told to operators, who may have an endpoint of the tenant's.
# Who is there is told by Redis to sockets alone: a filter on it would mean silence.
_TYPES = (*(kind for kind in KINDS if not kind.startswith("user.")), *OURS)
_HEARD = {EVERY, *_TYPES, *(f"{kind.partition('.')[0]}.*" for kind in _TYPES)}


def _filter(text: str) -> str:
    if text not in _HEARD:
        raise ValueError(
            "must be `*`, a family as in `payment.*`, or one of the types: " + ", ".join(_TYPES)
        )
    return text


Events = Annotated[
    list[
        Annotated[
            str,
            AfterValidator(_filter),
            WithJsonSchema({"type": "string", "enum": sorted(_HEARD)}),
        ]
    ],
    Field(
        min_length=1,
        max_length=50,
        description="Which events: `*`, `payment.*`, `invoice.paid`, …",
        examples=[["payment.*", "invoice.paid"]],
    ),
]
Url = Annotated[
    str,
    Field(min_length=1, max_length=MOST_URL, examples=["https://example.com/hooks/paybeat"]),
]
Description = Annotated[str, Field(max_length=500, pattern=WRITTEN)]


class NewEndpoint(Input):
    """An address that is to hear of events."""

    url: Url
    events: Events = Field(default_factory=lambda: [EVERY])
    description: Description = ""
    all_companies: StrictBool = Field(
        default=False, description="Of operators: hear all companies of the tenant."
    )


class Change(Input):
    """What is to be otherwise; what is left out stays."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    status: EndpointStatus | None = Field(
        None, description="`enabled` sends from the next event on; what was missed is sent by hand."
    )


class EndpointPath(Input):
    """Which endpoint."""

    endpoint_id: UUID


class EndpointsQuery(PageQuery):
    """Which endpoints."""

    status: EndpointStatus | None = None


class EndpointAnswer(BaseModel):
    """An endpoint. `company_id` is null where it hears all companies of the tenant."""

    id: UUID
    company_id: UUID | None
    url: str
    description: str
    events: list[str]
    status: EndpointStatus
    disabled_reason: Reason | None
    disabled_at: Moment | None
    # Since when it has done nothing but fail, and how often.
    failing_since: Moment | None
    failures: int
    # Until when the secret before this one signs too.
    previous_secret_until: Moment | None
    created_at: Moment
    updated_at: Moment


class SecretAnswer(EndpointAnswer):
    """An endpoint and its new secret, which is told this once: null where the key is used again."""

    secret: str | None


class EndpointsAnswer(BaseModel):
    """A page of endpoints, newest first."""

    data: list[EndpointAnswer]
    next_cursor: str | None


def theirs(
    tenant_id: InstrumentedAttribute[Any], company_id: InstrumentedAttribute[Any]
) -> ColumnElement[bool]:
    """Return the condition that a row is the company's, or to an operator the tenant's."""
    who = caller()
    of_company = and_(tenant_id == who.tenant_id, company_id == who.company_id)
    if who.role is not Role.OPERATOR:
        return of_company
    return or_(of_company, and_(tenant_id == who.tenant_id, company_id.is_(None)))


def find(session: Session, endpoint_id: UUID, *, is_locked: bool = False) -> Endpoint:
    """Return an endpoint that the caller may see; 404 if there is none."""
    found = session.scalars(
        select(Endpoint).where(
            Endpoint.id == endpoint_id,
            theirs(Endpoint.tenant_id, Endpoint.company_id),
            Endpoint.deleted_at.is_(None),
        )
    ).one_or_none()
    if found is not None and is_locked:
        endpoints.lock(session, endpoint_id)
    if found is None or found.deleted_at is not None:
        raise Problem("not-found", "No such endpoint.")
    return found


def _checked(url: str) -> str:
    """Return an address that may be called as far as its spelling tells."""
    try:
        rules_of(settings()).target(url)
    except Refused as error:
        raise invalid("url", str(error)) from None
    return url


def tell_secret(session: Session, endpoint_id: UUID, _reply: dict[str, Any] | None) -> Told:
    """Answer with the secret where this request has made it; nobody is told it again."""
    secret = g.pop("new_secret", None)
    body = shown(find(session, endpoint_id)) | {"secret": secret}
    return Told(body, status=201, location=f"{PREFIX}/{endpoint_id}")


@routes.post("", responses={201: SecretAnswer})
@allowed(Permission.ENDPOINTS_WRITE)
@idempotent(tell=tell_secret)
def create_endpoint(session: Session, body: NewEndpoint) -> Begun:
    """Name an address that is told of events, signed by Standard Webhooks.

    `secret` checks the signatures. It is told in this answer and never again.
    """
    who = caller()
    if body.all_companies and who.role is not Role.OPERATOR:
        raise invalid("all_companies", "is for operators")
    company_id = None if body.all_companies else who.company_id
    has = endpoints.number_of(session, tenant_id=who.tenant_id, company_id=company_id)
    if has >= MOST_ENDPOINTS:
        raise Problem("conflict", f"There are {MOST_ENDPOINTS} endpoints, as many as may be.")
    secret = signing.new_secret()
    endpoint = Endpoint(
        id=new_id(),
        tenant_id=who.tenant_id,
        company_id=company_id,
        url=_checked(body.url),
        description=body.description,
        events=_distinct(body.events),
        secret=secret,
    )
    session.add(endpoint)
    session.flush()
    g.new_secret = secret
    return Begun(endpoint.id, None)


@routes.get("", responses={200: EndpointsAnswer})
@allowed(Permission.ENDPOINTS_READ)
def list_endpoints(query: EndpointsQuery) -> Response:
    """List the company's endpoints, newest first; to operators also those for all companies."""
    wanted = select(Endpoint).where(
        theirs(Endpoint.tenant_id, Endpoint.company_id), Endpoint.deleted_at.is_(None)
    )
    if query.status is not None:
        wanted = wanted.where(Endpoint.status == query.status)
    return answer_page(Endpoint, wanted, query, shown)


@routes.get("/<uuid:endpoint_id>", responses={200: EndpointAnswer})
@allowed(Permission.ENDPOINTS_READ)
def read_endpoint(path: EndpointPath) -> Response:
    """Return an endpoint and how it does."""
    with transaction() as session:
        return respond(shown(find(session, path.endpoint_id)))


@routes.patch("/<uuid:endpoint_id>", responses={200: EndpointAnswer})
@allowed(Permission.ENDPOINTS_WRITE)
def change_endpoint(path: EndpointPath, body: Change) -> Response:
    """Change an endpoint. One that is enabled again is told from the next event on."""
    return respond(in_transaction(_change, caller().company_id, path.endpoint_id, body))


def _change(session: Session, endpoint_id: UUID, body: Change) -> dict[str, Any]:
    endpoint = find(session, endpoint_id, is_locked=True)
    if body.url is not None and body.url != endpoint.url:
        endpoint.move(_checked(body.url))
    if body.events is not None:
        endpoint.events = _distinct(body.events)
    if body.description is not None:
        endpoint.description = body.description
    if body.status is not None and body.status is not endpoint.status:
        if body.status is EndpointStatus.ENABLED:
            disabling.enable(session, endpoint)
        else:
            deliveries.disable(session, endpoint, Reason.ASKED, moment=now())
    session.flush()
    return shown(endpoint)


@routes.delete("/<uuid:endpoint_id>", responses={204: None})
@allowed(Permission.ENDPOINTS_WRITE)
def delete_endpoint(path: EndpointPath) -> Response:
    """Delete an endpoint; what it is owed is canceled."""
    in_transaction(_delete, caller().company_id, path.endpoint_id)
    return Response(status=204)


def _delete(session: Session, endpoint_id: UUID) -> None:
    endpoint = find(session, endpoint_id, is_locked=True)
    endpoint.deleted_at = now()
    deliveries.cancel(session, endpoint, why="the endpoint was deleted")
    disabling.forget_alert(session, endpoint)


@routes.post("/<uuid:endpoint_id>/rotate-secret", responses={201: SecretAnswer})
@allowed(Permission.ENDPOINTS_WRITE)
@idempotent(tell=tell_secret)
def rotate_secret(session: Session, path: EndpointPath) -> Begun:
    """Make a new secret. The old one signs too for 24 hours, beside the new one.

    `secret` is told in this answer and never again.
    """
    endpoint = find(session, path.endpoint_id, is_locked=True)
    g.new_secret = signing.new_secret()
    endpoint.rotate(g.new_secret, moment=now())
    return Begun(endpoint.id, None)


def shown(endpoint: Endpoint) -> dict[str, Any]:
    """Return an endpoint as it is answered."""
    return {
        "id": endpoint.id,
        "company_id": endpoint.company_id,
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.events,
        "status": endpoint.status,
        "disabled_reason": endpoint.disabled_reason,
        "disabled_at": endpoint.disabled_at,
        "failing_since": endpoint.failing_since,
        "failures": endpoint.failures,
        "previous_secret_until": endpoint.previous_until,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
    }


def _distinct(events: list[str]) -> list[str]:
    return list(dict.fromkeys(events))
