"""Payment methods: added by a provider's one-time token, made the default, replaced, removed."""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from flask import Response, request
from pydantic import BaseModel, Field, RootModel, StrictBool
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import locks, wallet
from models.clock import now
from models.dunning import owe_restart
from models.methods import (
    MethodStatus,
    MethodType,
    PaymentMethod,
    page_of,
    replacement_under_way,
)
from models.outbox import enqueue
from models.tenants import Permission
from models.timeline import note
from models.transactions import Provider
from web.auth import allowed, caller
from web.idempotency import Begun, Made, Told, idempotent
from web.problems import Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import ErrorAnswer, Moment, PageQuery, cause, cursor_of
from worker import replies
from worker.database import transaction
from worker.settings import settings

PREFIX = "/api/v1/payment-methods"
routes = Routes("payment_methods", __name__, url_prefix=PREFIX)

# Whose tokens stand for which type, what they look like, and how that is told.
_STRIPES = re.compile(r"(tok|pm|src)_[A-Za-z0-9_]+", re.ASCII)
_ACCOUNTS = re.compile(r"(pm|ba|src)_[A-Za-z0-9_]+", re.ASCII)
_PAYPALS = re.compile(r"(?!(?:tok|btok|pm|ba|src|card)_)(?=.*[A-Za-z])[A-Za-z0-9_-]+", re.ASCII)
TOKENS = {
    MethodType.CARD: (Provider.STRIPE, _STRIPES, "a one-time token of Stripe's: tok_… or pm_…"),
    MethodType.BANK_ACCOUNT: (Provider.STRIPE, _ACCOUNTS, "a payment method of Stripe's: pm_…"),
    MethodType.PAYPAL: (Provider.PAYPAL, _PAYPALS, "a setup token of PayPal's"),
}


class Token(Input):
    """What the browser got from the provider. Never a card number."""

    type: Literal["card", "bank_account", "paypal"] = "card"
    token: str = Field(
        min_length=1,
        max_length=255,
        pattern="^[A-Za-z0-9_-]+$",
        description="For a card a one-time token of Stripe's, `tok_…` or `pm_…`; for a bank"
        " account the `pm_…` of one that is verified; for PayPal a setup token that the payer has"
        " approved.",
    )


class NewMethod(Token):
    """A payment method to add."""

    type: Literal["card", "bank_account", "paypal"]
    is_default: StrictBool = Field(
        default=False, description="A company's first method is its default in any case."
    )


class MethodPath(Input):
    """Which payment method."""

    payment_method_id: UUID


class MethodAnswer(BaseModel):
    """A payment method. `error` tells why the provider refused it."""

    id: UUID
    type: MethodType
    status: MethodStatus
    last_four: str | None
    brand: str | None
    exp_month: int | None
    exp_year: int | None
    is_expired: bool
    is_default: bool
    replaced_by_id: UUID | None
    removed_at: Moment | None
    error: ErrorAnswer | None = None
    created_at: Moment


class MethodsAnswer(RootModel[list[MethodAnswer]]):
    """A page of the company's methods, the default first, then the newest."""


class MethodsQuery(PageQuery):
    """Which payment methods; the active ones unless said."""

    status: MethodStatus = MethodStatus.ACTIVE
    type: MethodType | None = None


def _ask_again(session: Session, method_id: UUID) -> str | None:
    """Wait for the answer that is on its way; once it came the row is enough."""
    reply_key = replies.join(method_id).key
    method = session.get_one(PaymentMethod, method_id)
    return reply_key if method.status is MethodStatus.PENDING else None


def _tell(session: Session, method_id: UUID, _reply: dict[str, Any] | None) -> Told:
    method = session.get_one(PaymentMethod, method_id)
    if method.status is MethodStatus.FAILED:
        raise Problem("declined", method.error_message or "", extra={"code": method.error_code})
    return Told(
        _shown(method),
        status=202 if method.status is MethodStatus.PENDING else 201,
        location=f"{PREFIX}/{method.id}",
    )


@routes.post("", responses={201: MethodAnswer, 202: MethodAnswer})
@allowed(Permission.METHODS_WRITE)
@idempotent(tell=_tell, ask_again=_ask_again)
def add_method(session: Session, body: NewMethod) -> Begun:
    """Add a payment method; a worker hands the token to the provider.

    201 once the provider keeps it, 402 with its code when it declined, 202 when it has not
    answered yet.
    """
    return _begin(session, body, "a token was given", make_default=body.is_default)


@routes.post("/<uuid:payment_method_id>/replace", responses={201: MethodAnswer, 202: MethodAnswer})
@allowed(Permission.METHODS_WRITE)
@idempotent(tell=_tell, ask_again=_ask_again)
def replace_method(session: Session, path: MethodPath, body: Token) -> Begun:
    """Put a new method in the place of an old one, which goes only once the new one is kept.

    Answers as adding does, with the new method. It is the default if the old one was, retries
    that wait for the old one use it, and what was given up for want of money is tried with it.
    409 while another is about to take its place.
    """
    wallet.hold(session, caller().company_id)
    old = _active(session, path.payment_method_id, "be replaced")
    if (other := replacement_under_way(session, old.id)) is not None:
        raise Problem(
            "conflict",
            f"It is being replaced already, by {other}.",
            headers={"Location": f"{PREFIX}/{other}"},
        )
    return _begin(session, body, f"in the place of {old.id}", replaces=old)


@routes.post("/<uuid:payment_method_id>/default", responses={200: MethodAnswer})
@allowed(Permission.METHODS_WRITE)
@idempotent()
def choose_default(session: Session, path: MethodPath) -> Made:
    """Make a method the company's default; what was given up is tried again with it."""
    wallet.hold(session, caller().company_id)
    method = _active(session, path.payment_method_id, "be the default")
    if wallet.make_default(session, method, because=cause("chosen")):
        owe_restart(session, method)
    return Made(_shown(method), status=200)


@routes.delete("/<uuid:payment_method_id>", responses={200: MethodAnswer})
@allowed(Permission.METHODS_WRITE)
@idempotent()
def remove_method(session: Session, path: MethodPath) -> Made:
    """Remove a method: it is charged no more from now on, and the provider is told to forget it.

    409 while a payment with it is under way. If it was the default, the newest method that has
    not expired is the default from now on.
    """
    wallet.hold(session, caller().company_id)
    method = _locked(session, path.payment_method_id)
    if method.status is MethodStatus.PENDING:
        raise Problem("conflict", "The provider has not yet said whether it keeps it.")
    if method.status is not MethodStatus.REMOVED:
        if wallet.is_paying(session, method.id):
            raise Problem("conflict", "A payment with it is under way.")
        wallet.remove(session, method, because=cause("removed"))
    return Made(_shown(method), status=200)


def _begin(
    session: Session,
    body: Token,
    why: str,
    *,
    replaces: PaymentMethod | None = None,
    make_default: bool = False,
) -> Begun:
    kind = MethodType(body.type)
    if kind is MethodType.PAYPAL and not settings().has_paypal:
        raise invalid("type", "is not taken here: PayPal is not set up")
    provider, pattern, told = TOKENS[kind]
    if not pattern.fullmatch(body.token):
        raise invalid("token", f"is not {told}")
    method = PaymentMethod(
        company_id=caller().company_id,
        user_id=caller().person,
        type=kind,
        provider=provider,
        token=body.token,
        replaces_id=replaces.id if replaces else None,
    )
    session.add(method)
    session.flush()
    note(session, method, what="begun", because=cause(why))
    reply_key = replies.new_key()
    enqueue(
        session,
        "methods.attach",
        method_id=method.id,
        reply=reply_key,
        make_default=make_default,
    )
    return Begun(method.id, reply_key)


def _locked(session: Session, method_id: UUID) -> PaymentMethod:
    method = locks.lock(session, PaymentMethod, method_id)
    if method is None:
        raise Problem("not-found", "No such payment method.")
    return method


def _active(session: Session, method_id: UUID, be: str) -> PaymentMethod:
    method = _locked(session, method_id)
    if not method.is_active:
        raise Problem("conflict", f"The payment method is {method.status} and cannot {be}.")
    return method


@routes.get("", responses={200: MethodsAnswer})
@allowed(Permission.METHODS_READ)
def list_methods(query: MethodsQuery) -> Response:
    """List payment methods, the default first, then the newest.

    The next page, if there is one, is the link of relation `next` in the header `Link`.
    """
    wanted = select(PaymentMethod).where(PaymentMethod.status == query.status)
    if query.type is not None:
        wanted = wanted.where(PaymentMethod.type == query.type)
    if query.created_from is not None:
        wanted = wanted.where(PaymentMethod.created_at >= query.created_from)
    if query.created_to is not None:
        wanted = wanted.where(PaymentMethod.created_at < query.created_to)
    with transaction(company_id=caller().company_id) as session:
        page = page_of(session, wanted, after=query.after, limit=query.limit)
        return respond(list(map(_shown, page.rows)), headers=_link(cursor_of(page.next_after)))


def _link(next_cursor: str | None) -> dict[str, str]:
    if next_cursor is None:
        return {}
    asked = {**request.args.to_dict(), "cursor": next_cursor}
    return {"Link": f'<{PREFIX}?{urlencode(asked)}>; rel="next"'}


@routes.get("/<uuid:payment_method_id>", responses={200: MethodAnswer})
@allowed(Permission.METHODS_READ)
def read_method(path: MethodPath) -> Response:
    """Return a payment method, also one that is pending or was refused."""
    with transaction(company_id=caller().company_id) as session:
        method = session.get(PaymentMethod, path.payment_method_id)
        if method is None:
            raise Problem("not-found", "No such payment method.")
        return respond(_shown(method))


def _shown(method: PaymentMethod) -> dict[str, Any]:
    has_error = method.status is MethodStatus.FAILED
    return {
        "id": method.id,
        "type": method.type,
        "status": method.status,
        "last_four": method.last_four,
        "brand": method.brand,
        "exp_month": method.exp_month,
        "exp_year": method.exp_year,
        "is_expired": method.has_expired(now()),
        "is_default": method.is_default,
        "replaced_by_id": method.replaced_by_id,
        "removed_at": method.removed_at,
        "error": (
            {"code": method.error_code, "message": method.error_message} if has_error else None
        ),
        "created_at": method.created_at,
    }
