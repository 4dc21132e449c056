"""Cancellations: who was to confirm a payment has given it up, and its invoice is to be free."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from models import transactions
from models.outbox import enqueue
from models.tenants import Permission
from models.timeline import note
from models.transactions import CancelReason, Status, Transaction
from web.api.payments import PREFIX, IntentAnswer, PaymentPath, tell_intent
from web.auth import allowed
from web.idempotency import Begun, Told, idempotent
from web.problems import Problem
from web.routes import Routes
from web.schemas import cause
from worker import replies
from worker.breaker import breaker_of

routes = Routes("cancels", __name__, url_prefix=PREFIX)

# Why a payment that does not wait for its customer cannot be given up.
NOT_WAITING = {
    Status.PENDING: "is on its way to the provider: ask again when it waits for the customer",
    Status.PROCESSING: "is being paid, or what became of it is not known yet",
    Status.NEEDS_REVIEW: "is in doubt: what became of it must be found out first",
    Status.FAILED: "has failed: its invoice is free already",
}


def _wait_with_the_first(session: Session, transaction_id: UUID) -> str | None:
    joined = replies.join(transaction_id)
    payment = session.get_one(Transaction, transaction_id)
    return joined.key if payment.status == Status.REQUIRES_ACTION else None


def _tell(session: Session, transaction_id: UUID, reply: dict[str, Any] | None) -> Told:
    """Tell where a payment stands; what is just being paid is not canceled, and may yet be."""
    told = tell_intent(session, transaction_id, reply)
    is_being_paid = told.body["status"] == Status.PROCESSING
    return Told(told.body, 202 if is_being_paid else told.status, told.location)


@routes.post("/<uuid:transaction_id>/cancel", responses={200: IntentAnswer, 202: IntentAnswer})
@allowed(Permission.PAYMENTS_WRITE)
@idempotent(tell=_tell, ask_again=_wait_with_the_first)
def cancel_payment(session: Session, path: PaymentPath) -> Begun:
    """Give up a payment that waits for the customer; a worker cancels it at the provider.

    200 once the provider has answered: `status` is `canceled`, or `succeeded` where the customer
    was faster. 202 when it has not yet: the invoice is free as soon as it has.
    """
    payment = transactions.lock(session, path.transaction_id)
    if payment is None:
        raise Problem("not-found", "No such payment.")
    if payment.status == Status.CANCELED:
        return Begun(payment.id, None)
    if payment.status != Status.REQUIRES_ACTION:
        told = NOT_WAITING.get(payment.status, "has been paid: refund it")
        raise Problem("conflict", f"The payment {told}.")
    note(session, payment, what="cancel", because=cause("given up by hand"))
    reply_key = replies.new_key()
    enqueue(
        session,
        "payments.cancel",
        transaction_id=payment.id,
        reason=str(CancelReason.BY_CUSTOMER),
        reply=reply_key,
    )
    # Nobody is kept waiting for a provider that is known to be away.
    is_away = breaker_of(payment.payment_method).is_open()
    return Begun(payment.id, None if is_away else reply_key)
