"""Refunds of a payment: asked for, read, listed."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from models import refunds, transactions
from models.money import InvalidAmount, Money, amount_of
from models.outbox import enqueue
from models.refunds import REASONS, Refund, RefundReason, RefundStatus
from models.tenants import Permission
from models.timeline import note
from web.api.payments import PREFIX, PaymentPath, payment_at
from web.auth import allowed, caller
from web.idempotency import Begun, Told, idempotent
from web.problems import Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import Amount, Exact, Moment, cause
from worker import replies
from worker.database import transaction

routes = Routes("refunds", __name__, url_prefix=PREFIX)

ENDED = (RefundStatus.SUCCEEDED, RefundStatus.FAILED)
Reason = Literal[
    "requested",
    "customer_request",
    "requested_by_customer",
    "chargeback",
    "fraudulent",
    "refund",
    "duplicate",
    "other",
]


class NewRefund(Input):
    """How much of a payment to give back, and why."""

    amount: Exact
    reason: Reason = "customer_request"
    notes: str | None = Field(None, max_length=2000)


class RefundPath(PaymentPath):
    """Which refund of which payment."""

    refund_id: UUID


class RefundAnswer(BaseModel):
    """A refund."""

    refund_id: UUID
    transaction_id: UUID
    status: RefundStatus
    amount: Amount
    currency: str
    reason: RefundReason
    notes: str | None
    error_message: str | None
    created_at: Moment
    updated_at: Moment


class RefundsAnswer(BaseModel):
    """The refunds of a payment, oldest first."""

    data: list[RefundAnswer]


def _ask_again(session: Session, refund_id: UUID) -> str | None:
    """Wait for the answer that is on its way; once it came the row is enough."""
    reply_key = replies.join(refund_id).key
    refund = session.get_one(Refund, refund_id)
    return None if refund.status in ENDED else reply_key


def _tell(session: Session, refund_id: UUID, reply: dict[str, Any] | None) -> Told:
    refund = session.get_one(Refund, refund_id)
    payment = payment_at(session, refund.transaction_id)
    is_known = refund.status in ENDED or (reply is not None and refund.provider_refund_id)
    return Told(
        _shown(refund, payment.currency),
        status=201 if is_known else 202,
        location=f"{PREFIX}/{payment.id}/refunds/{refund.id}",
    )


@routes.post("/<uuid:transaction_id>/refund", responses={201: RefundAnswer, 202: RefundAnswer})
@allowed(Permission.REFUNDS_WRITE)
@idempotent(tell=_tell, ask_again=_ask_again)
def refund_payment(session: Session, path: PaymentPath, body: NewRefund) -> Begun:
    """Give a payment back, whole or in part; a worker asks the provider.

    201 once the provider has answered, 202 when it has not yet.
    """
    payment = transactions.lock(session, path.transaction_id)
    if payment is None:
        raise Problem("not-found", "No such payment.")
    if not payment.is_settled:
        raise Problem("conflict", f"The payment is {payment.status}: nothing was captured.")
    try:
        amount = amount_of(body.amount, payment.currency)
    except InvalidAmount as error:
        raise invalid("amount", str(error)) from None
    left = payment.amount_captured - refunds.taken(session, payment.id)
    if amount > left:
        told = Money(left, payment.currency)
        raise invalid("amount", f"is more than the {told} that can still be given back")
    refund = Refund(
        company_id=caller().company_id,
        transaction_id=payment.id,
        user_id=caller().user_id,
        amount=amount,
        reason=REASONS[body.reason],
        notes=body.notes,
    )
    session.add(refund)
    session.flush()
    note(session, refund, what="begun", because=cause(f"{body.reason}: {amount} asked back"))
    reply_key = replies.new_key()
    enqueue(session, "refunds.send", refund_id=refund.id, reply=reply_key)
    return Begun(refund.id, reply_key)


@routes.get("/<uuid:transaction_id>/refunds/<uuid:refund_id>", responses={200: RefundAnswer})
@allowed(Permission.PAYMENTS_READ)
def read_refund(path: RefundPath) -> Response:
    """Return a refund."""
    with transaction(company_id=caller().company_id) as session:
        payment = payment_at(session, path.transaction_id)
        refund = session.get(Refund, path.refund_id)
        if refund is None or refund.transaction_id != payment.id:
            raise Problem("not-found", "No such refund.")
        return respond(_shown(refund, payment.currency))


@routes.get("/<uuid:transaction_id>/refunds", responses={200: RefundsAnswer})
@allowed(Permission.PAYMENTS_READ)
def list_refunds(path: PaymentPath) -> Response:
    """List the refunds of a payment, oldest first."""
    with transaction(company_id=caller().company_id) as session:
        payment = payment_at(session, path.transaction_id)
        found = refunds.refunds_of(session, payment.id)
        return respond({"data": [_shown(refund, payment.currency) for refund in found]})


def _shown(refund: Refund, currency: str) -> dict[str, Any]:
    return {
        "refund_id": refund.id,
        "transaction_id": refund.transaction_id,
        "status": refund.status,
        "amount": refund.amount,
        "currency": currency,
        "reason": refund.reason,
        "notes": refund.notes,
        "error_message": refund.error_message,
        "created_at": refund.created_at,
        "updated_at": refund.updated_at,
    }
