"""Captures: the customer has come back from the provider's pages and has approved a payment."""

from __future__ import annotations

from sqlalchemy.orm import Session

from models import transactions
from models.outbox import enqueue
from models.tenants import Permission
from models.timeline import note
from models.transactions import Provider, Status
from web.api.payments import PREFIX, IntentAnswer, PaymentPath, tell_intent
from web.auth import allowed
from web.idempotency import Begun, idempotent
from web.problems import Problem
from web.routes import Routes
from web.schemas import cause
from worker import replies
from worker.settings import settings

routes = Routes("captures", __name__, url_prefix=PREFIX)


@routes.post("/<uuid:transaction_id>/capture", responses={200: IntentAnswer, 202: IntentAnswer})
@allowed(Permission.PAYMENTS_WRITE)
@idempotent(tell=tell_intent)
def capture_payment(session: Session, path: PaymentPath) -> Begun:
    """Take the money of a payment that the customer has approved; a worker asks the provider.

    200 once the provider has answered: `status` tells, and `approve_url` is there if the customer
    has not approved it yet. The provider's own event has it captured too, should nobody ask.
    """
    payment = transactions.lock(session, path.transaction_id)
    if payment is None:
        raise Problem("not-found", "No such payment.")
    if payment.is_settled:
        return Begun(payment.id, None)
    if payment.payment_method is not Provider.PAYPAL:
        raise Problem("conflict", "The provider captures this payment by itself.")
    if not settings().has_paypal:
        raise Problem("conflict", "PayPal is not set up here any more.")
    if payment.status in (Status.CANCELED, Status.NEEDS_REVIEW):
        raise Problem("conflict", f"The payment is {payment.status}.")
    note(session, payment, what="capture", because=cause("the customer has come back"))
    reply_key = replies.new_key()
    enqueue(session, "payments.capture", transaction_id=payment.id, reply=reply_key)
    return Begun(payment.id, reply_key)
