"""Payment methods: added by a provider's one-time token, read, listed."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field, RootModel, StrictBool
from sqlalchemy.orm import Session

from models.methods import MethodStatus, MethodType, PaymentMethod, usable_methods
from models.outbox import enqueue
from models.tenants import Permission
from models.timeline import note
from models.transactions import Provider
from web.auth import allowed, caller
from web.idempotency import Begun, Told, idempotent
from web.problems import Problem
from web.routes import Input, Routes, respond
from web.schemas import ErrorAnswer, Moment, cause
from worker import replies
from worker.database import transaction

PREFIX = "/api/v1/payment-methods"
routes = Routes("payment_methods", __name__, url_prefix=PREFIX)


class NewMethod(Input):
    """What the browser got from the provider. Never a card number."""

    type: Literal["card", "bank_account"]
    token: str = Field(
        max_length=255,
        pattern="^(tok|pm|ba|btok|src)_[A-Za-z0-9_]+$",
        description="A one-time token of Stripe's, such as `tok_…` or `pm_…`.",
    )
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
    is_default: bool
    error: ErrorAnswer | None = None
    created_at: Moment


class MethodsAnswer(RootModel[list[MethodAnswer]]):
    """The company's active methods, the default first, then the newest."""


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
    method = PaymentMethod(
        company_id=caller().company_id,
        user_id=caller().user_id,
        type=MethodType(body.type),
        provider=Provider.STRIPE,
        token=body.token,
    )
    session.add(method)
    session.flush()
    note(session, method, what="begun", because=cause("a token was given"))
    reply_key = replies.new_key()
    enqueue(
        session,
        "methods.attach",
        method_id=method.id,
        make_default=body.is_default,
        reply=reply_key,
    )
    return Begun(method.id, reply_key)


@routes.get("", responses={200: MethodsAnswer})
@allowed(Permission.METHODS_READ)
def list_methods() -> Response:
    """List the active payment methods, the default first, then the newest."""
    with transaction(company_id=caller().company_id) as session:
        return respond(list(map(_shown, usable_methods(session))))


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
        "is_default": method.is_default,
        "error": (
            {"code": method.error_code, "message": method.error_message} if has_error else None
        ),
        "created_at": method.created_at,
    }
