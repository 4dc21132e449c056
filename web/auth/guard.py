"""The guard before every view: who calls, what they may do, how often.

    @routes.get("/invoices")
    @allowed(Permission.INVOICES_READ)      # or @allowed() for anybody signed in, or @public
    def list_invoices(query: InvoiceQuery) -> Response:
        with transaction(company_id=caller().company_id) as session: ...

A view without a mark keeps the application from starting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from flask import Flask, current_app, g, request
from sqlalchemy import select

from models.tenants import Company, Permission, Role
from web.auth import cookies, tokens, visits
from web.limits import hit_company_limit
from web.problems import Problem
from worker import sessions, telemetry
from worker.database import transaction

View = TypeVar("View", bound=Callable[..., Any])

_MARK = "__guard__"
COMPANY_HEADER = "X-Company-Id"
# What an operator may do without naming a company: the catalogue is the tenant's.
OF_THE_TENANT = frozenset(
    {Permission.OPERATIONS, Permission.CATALOGUE_WRITE, Permission.MODULES_READ}
)


@dataclass(frozen=True)
class Guard:
    """What a view asks for. Public: nothing. No permission: any user who is signed in.

    Attributes:
        is_visit: it is for who came by a link to the portal, and for nobody else.
        is_whole: that link must be to the company's own portal.
    """

    permission: Permission | None = None
    is_public: bool = False
    is_visit: bool = False
    is_whole: bool = False


@dataclass(frozen=True)
class Caller:
    """Who makes this request, for which company, and until when they are signed in.

    Attributes:
        person: None for whoever came by a link to the portal, who is no user.
        invoice_id: the one invoice that such a link lets in to.
    """

    person: UUID | None
    session_id: UUID
    tenant_id: UUID
    role: Role
    permissions: frozenset[Permission]
    acting_for: UUID | None
    expires_at: float
    invoice_id: UUID | None = None

    @property
    def user_id(self) -> UUID:
        """Return the user; 403 for whoever is none."""
        if self.person is None:
            raise Problem("forbidden", "This is for users.")
        return self.person

    @property
    def company_id(self) -> UUID:
        """Return the company that the request is about; 400 if an operator named none."""
        if self.acting_for is None:
            raise Problem("bad-request", f"Name the company in {COMPANY_HEADER}.")
        return self.acting_for

    @property
    def company_in_sight(self) -> UUID | None:
        """Return the one company that is seen; None for an operator who named none: all are.

        400 for anybody else who has none.
        """
        return self.acting_for if self.role is Role.OPERATOR else self.company_id


class SessionEnded(Problem):
    """A 401 for a token whose session has ended: a new one must be had."""

    def __init__(self) -> None:
        super().__init__(
            "unauthenticated",
            "The session has ended.",
            headers={"WWW-Authenticate": "Bearer"},
        )


def allowed(permission: Permission | None = None) -> Callable[[View], View]:
    """Let in who is signed in and has `permission`."""
    return _marked(Guard(permission))


def public(view: View) -> View:
    """Let in everybody."""
    return _marked(Guard(is_public=True))(view)


def visiting(*, whole: bool = False) -> Callable[[View], View]:
    """Let in who came by a link to the portal; with `whole` none to a single invoice.

    The address has the `visit_id`; of an `invoice_id` in it only theirs is found.
    """
    return _marked(Guard(is_visit=True, is_whole=whole))


def _marked(guard: Guard) -> Callable[[View], View]:
    def mark(view: View) -> View:
        setattr(view, _MARK, guard)
        return view

    return mark


def guard_of(view: Callable[..., Any]) -> Guard | None:
    """Return the mark of a view; wrappers that use functools.wraps keep it."""
    return getattr(view, _MARK, None)


def caller() -> Caller:
    """Return who makes this request."""
    found: Caller = g.caller
    return found


def register(app: Flask) -> None:
    """Check every request before its view."""
    app.before_request(_check)


def check_marks(app: Flask) -> None:
    """Refuse to start with a view that says nothing of who may call it."""
    bare = [name for name, view in app.view_functions.items() if guard_of(view) is None]
    if bare:
        raise RuntimeError(f"views without @allowed or @public: {', '.join(sorted(bare))}")


def _check() -> None:
    if request.endpoint is None or request.method == "OPTIONS":
        return
    guard = guard_of(current_app.view_functions[request.endpoint])
    if guard is None:
        raise RuntimeError(f"{request.endpoint} has no guard")
    if guard.is_public:
        return
    if guard.is_visit:
        g.caller = _visitor(guard)
        return
    g.caller = who = _authenticate()
    telemetry.note(user_id=who.user_id, company_id=who.acting_for)
    hit_company_limit(_counted(who))
    if guard.permission is not None:
        if guard.permission not in who.permissions:
            raise Problem("forbidden", f"This needs the permission {guard.permission}.")
        if guard.permission not in OF_THE_TENANT:
            _ = who.company_id  # every other permission is about some company


def _visitor(guard: Guard) -> Caller:
    """Return who comes by a link, as if they were somebody who may do what the link lets them."""
    asked = request.view_args or {}
    visit = visits.entered(asked["visit_id"])
    link = visit.link
    if link.invoice_id is not None and (
        guard.is_whole or asked.get("invoice_id", link.invoice_id) != link.invoice_id
    ):
        raise Problem("not-found")
    with transaction() as session:
        company = session.get_one(Company, link.company_id)
    telemetry.note(company_id=company.id)
    return Caller(
        person=None,
        session_id=visit.id,
        tenant_id=company.tenant_id,
        role=Role.MEMBER,
        permissions=frozenset(),
        acting_for=company.id,
        expires_at=visit.ends_at.timestamp(),
        invoice_id=link.invoice_id,
    )


def _counted(who: Caller) -> UUID:
    """Return whose requests this one counts among: the company's, or the user's own.

    A page of the console asks anew whenever something happens. However many a company's people
    have open, its programs can go on.
    """
    is_by_cookie = "Authorization" not in request.headers
    return who.user_id if is_by_cookie else who.acting_for or who.user_id


def _authenticate() -> Caller:
    return _caller_by(_token())


def authenticate_by_header() -> Caller:
    """Return who makes this request, by its Authorization alone.

    Raises:
        Problem: 401, 400 or 404; SessionEnded when the token was good until then.
    """
    return _caller_by(_bearer())


def _caller_by(token: str) -> Caller:
    claims = tokens.read(token)
    alive = sessions.verify(claims.session_id, claims.user_id)
    if alive is None:
        raise SessionEnded
    return Caller(
        person=claims.user_id,
        session_id=claims.session_id,
        tenant_id=alive.tenant_id,
        role=alive.role,
        permissions=alive.permissions,
        acting_for=_company_of(alive),
        expires_at=alive.expires_at,
    )


def _token() -> str:
    """Return the token that was sent: by its header, else by the console's cookie."""
    if "Authorization" in request.headers:
        return _bearer()
    token = cookies.token()
    if token is None:
        return _bearer()
    if request.method not in cookies.SAFE_METHODS:
        cookies.check_same_origin()
    return token


def _bearer() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unauthenticated("Send Authorization: Bearer and the access token.")
    return token.strip()


def unauthenticated(detail: str) -> Problem:
    """Return a 401 that names the way in."""
    return tokens.unauthenticated(detail)


def _company_of(alive: sessions.Alive) -> UUID | None:
    """Return the company to act for: the user's own, or for an operator the one they name."""
    named = request.headers.get(COMPANY_HEADER)
    if named is None:
        return alive.company_id
    try:
        company_id = UUID(named)
    except ValueError:
        raise Problem("bad-request", f"{COMPANY_HEADER} must be an id.") from None
    if company_id == alive.company_id:
        return company_id
    if alive.role is Role.OPERATOR and _is_of_tenant(company_id, alive.tenant_id):
        return company_id
    raise Problem("not-found", "No such company.")


def _is_of_tenant(company_id: UUID, tenant_id: UUID) -> bool:
    with transaction() as session:
        found = session.scalar(
            select(Company.id).where(Company.id == company_id, Company.tenant_id == tenant_id)
        )
    return found is not None
