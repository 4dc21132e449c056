"""Refunds of a payment: asked for, read, listed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from models import refunds, transactions
from models.money import InvalidAmount, Money, amount_of
from models.outbox import enqueue
from models.refunds import REASONS, UNDER_WAY, Refund, RefundReason, RefundStatus
from models.tenants import Permission
from models.timeline import Cause, note
from models.transactions import Provider, Transaction
from web.api.payments import PREFIX, PaymentPath, payment_at
from web.auth import allowed, caller
from web.idempotency import Begun, Told, idempotent
from web.problems import Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import WRITTEN, Amount, Exact, Moment, cause
from worker import replies
from worker.database import transaction
from worker.events import announce_refund

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
    notes: str | None = Field(None, max_length=2000, pattern=WRITTEN)


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

    201 once the provider has answered, 202 when it has not yet. What went back of a bank transfer
    is recorded by an operator who has sent it: no provider is asked.
    """
    payment = _refundable(session, path.transaction_id)
    amount = _amount(session, payment, body)
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
    because = cause(f"{body.reason}: {amount} asked back")
    note(session, refund, what="begun", because=because)
    if payment.payment_method == Provider.BANK_TRANSFER:
        _record(session, payment, refund, because=because.but("sent back by hand"))
        return Begun(refund.id, None)
    reply_key = replies.new_key()
    enqueue(session, "refunds.send", refund_id=refund.id, reply=reply_key)
    return Begun(refund.id, reply_key)


def _refundable(session: Session, transaction_id: UUID) -> Transaction:
    """Return a payment that something can be given back of now, locked."""
    payment = transactions.lock(session, transaction_id)
    if payment is None:
        raise Problem("not-found", "No such payment.")
    if not payment.is_settled:
        raise Problem("conflict", f"The payment is {payment.status}: nothing was captured.")
    if payment.is_disputed:
        raise Problem("conflict", "The payment is disputed: until that is closed no refund goes.")
    is_by_hand = payment.payment_method == Provider.BANK_TRANSFER
    if is_by_hand and Permission.OPERATIONS not in caller().permissions:
        raise Problem("forbidden", "Only an operator records what went back of a bank transfer.")
    return payment


def _amount(session: Session, payment: Transaction, body: NewRefund) -> Decimal:
    try:
        amount = amount_of(body.amount, payment.currency, provider=payment.payment_method)
    except InvalidAmount as error:
        raise invalid("amount", str(error)) from None
    left = max(refunds.left_to_refund(session, payment), Decimal(0))
    if amount > left:
        told = Money(left, payment.currency)
        raise invalid("amount", f"is more than the {told} that can still be given back")
    return amount


def _record(session: Session, payment: Transaction, refund: Refund, *, because: Cause) -> None:
    """Enter a refund that has already gone out."""
    refund.move_to(RefundStatus.SUCCEEDED, because=because)
    refunds.give(session, payment, refund, because=because)
    announce_refund(session, payment, refund)


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


NOT_KNOWN = "The provider has not yet told what became of it. It is asked again by itself."
IN_REVIEW = "What became of it must be found out by hand."


def _error(refund: Refund) -> str | None:
    """Return what whoever asked for a refund may read; how a call went is not for them."""
    if refund.status not in UNDER_WAY or refund.error_message is None:
        return refund.error_message
    return IN_REVIEW if refund.needs_review else NOT_KNOWN


def _shown(refund: Refund, currency: str) -> dict[str, Any]:
    return {
        "refund_id": refund.id,
        "transaction_id": refund.transaction_id,
        "status": refund.status,
        "amount": refund.amount,
        "currency": currency,
        "reason": refund.reason,
        "notes": refund.notes,
        "error_message": _error(refund),
        "created_at": refund.created_at,
        "updated_at": refund.updated_at,
    }
