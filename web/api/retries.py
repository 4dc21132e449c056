"""A declined payment, by hand: charged again, or gone on with in the browser."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import cards, dunning, invoices, transactions
from models.clock import now
from models.invoices import Invoice
from models.methods import PaymentMethod
from models.outbox import enqueue
from models.tenants import Permission
from models.transactions import PaymentAttempt, Status, Transaction, Trigger
from schedules.declines import AUTHENTICATION
from web.api.payments import (
    PREFIX,
    IntentAnswer,
    PaymentPath,
    ask_for_intent,
    refuse_forbidden,
    refuse_second,
    tell_intent,
)
from web.api.resuming import resume_of
from web.auth import allowed
from web.idempotency import Begun, Told, idempotent
from web.problems import DUPLICATE, Problem, invalid, unavailable
from web.routes import Input, Routes
from web.schemas import cause
from worker import replies
from worker.database import error_number

routes = Routes("retries", __name__, url_prefix=PREFIX)

# Why a payment that has not failed cannot be tried again.
NOT_FAILED = {
    Status.PENDING: "is under way",
    Status.PROCESSING: "is under way",
    Status.REQUIRES_ACTION: "waits for the customer",
    Status.NEEDS_REVIEW: "is in doubt: what became of it must be found out first",
    Status.CANCELED: "was canceled: begin a new one",
}


class Retry(Input):
    """What to charge; the payment's own method unless given."""

    payment_method_id: UUID | None = Field(
        None, description="Another active method, of the same provider."
    )


@routes.post("/<uuid:transaction_id>/retry", responses={200: IntentAnswer, 202: IntentAnswer})
@allowed(Permission.PAYMENTS_WRITE)
@idempotent(tell=tell_intent, ask_again=ask_for_intent)
def retry_payment(session: Session, path: PaymentPath, body: Retry) -> Begun:
    """Charge a payment that has failed again, at once.

    It takes no step of the ladder: what was scheduled stays, unless this succeeds or the card is
    refused for good. 200 once the provider has answered, also when it declined; 202 when it has
    not yet.
    """
    payment = transactions.lock(session, path.transaction_id)
    if payment is None:
        raise Problem("not-found", "No such payment.")
    given = _given(session, payment, body.payment_method_id)
    invoice = _invoice_of_failed(session, payment)
    method = given or _own(session, payment)
    _refuse_hopeless(session, payment, method)
    reply_key = replies.new_key()
    try:
        _begin(session, payment, invoice, method, reply_key)
    except dunning.MethodGone:
        raise Problem("conflict", "The payment method has just been removed.") from None
    except IntegrityError as error:
        if error_number(error) != DUPLICATE:
            raise
        raise unavailable("Another payment of the invoice has just come to life.") from None
    return Begun(path.transaction_id, reply_key)


def _begin(
    session: Session, payment: Transaction, invoice: Invoice, method: PaymentMethod, reply: str
) -> None:
    dunning.begin_again(
        session,
        payment,
        invoice,
        method,
        trigger=Trigger.MANUAL,
        off_session=payment.off_session,
        because=cause("retried by hand"),
        reply=reply,
    )
    session.flush()


def _invoice_of_failed(session: Session, payment: Transaction) -> Invoice:
    """Return the invoice of a payment that has failed, locked and free for another attempt."""
    if payment.status != Status.FAILED:
        told = NOT_FAILED.get(payment.status, "has been paid")
        raise Problem("conflict", f"The payment {told}.")
    because = cause("another payment of the invoice is retried by hand")
    dunning.clear_schedules(session, payment.invoice_id, because=because, but=payment.id)
    invoice = invoices.lock(session, payment.invoice_id)
    if invoice is None:
        raise Problem("not-found", "No such invoice.")
    if reason := dunning.in_the_way(invoice):
        raise Problem("conflict", f"Nothing can be charged: {reason}.")
    refuse_second(session, invoice.id)
    if payment.open_attempt is not None:
        raise Problem("conflict", "An attempt of the payment is still open.")
    if dunning.is_disputed(session, invoice.id):
        raise Problem("conflict", "A payment of the invoice is disputed.")
    return invoice


def _given(session: Session, payment: Transaction, method_id: UUID | None) -> PaymentMethod | None:
    if method_id is None:
        return None
    given = session.get(PaymentMethod, method_id)
    if given is None or not given.is_active:
        raise invalid("payment_method_id", "is not an active payment method of the company")
    if given.provider != payment.payment_method:
        raise invalid("payment_method_id", "is another provider's: begin a new payment")
    return given


def _own(session: Session, payment: Transaction) -> PaymentMethod:
    if payment.payment_method_id is None:
        raise invalid("payment_method_id", "is needed: the payment was made in the browser")
    method = dunning.method_for(session, payment, moment=now())
    if method is None:
        raise invalid("payment_method_id", "is needed: the payment's method was removed")
    return method


def _refuse_hopeless(session: Session, payment: Transaction, method: PaymentMethod) -> None:
    """Refuse what the card's bank or network has forbidden; it would be fined, not paid."""
    declines = refuse_forbidden(session, method)
    if declines.is_spent and declines.frees_at is not None:
        told = declines.frees_at.isoformat(timespec="seconds")
        raise Problem("conflict", f"The card was declined too often; it may be tried from {told}.")
    last = _last_attempt(payment)
    if last is not None and last.fingerprint == cards.card_of(method) and _must_authenticate(last):
        raise Problem("conflict", "The customer must confirm it: resume the payment instead.")


def _last_attempt(payment: Transaction) -> PaymentAttempt | None:
    return payment.attempts[-1] if payment.attempts else None


def _must_authenticate(attempt: PaymentAttempt) -> bool:
    return not AUTHENTICATION.isdisjoint({attempt.decline_code, attempt.error_code})


def _ask_to_resume(session: Session, transaction_id: UUID) -> str:
    joined = replies.join(transaction_id)
    if joined.is_first:
        enqueue(session, "lookups.reveal", transaction_id=transaction_id)
    return joined.key


def _tell_resumed(session: Session, transaction_id: UUID, reply: dict[str, Any] | None) -> Told:
    told = tell_intent(session, transaction_id, reply)
    if (reply or {}).get("is_over"):
        raise Problem("conflict", "It cannot be paid at the provider any more: see its status.")
    is_told = told.body["client_secret"] or told.body["approve_url"]
    return Told(told.body, 200 if is_told else 202, told.location)


@routes.post("/<uuid:transaction_id>/resume", responses={200: IntentAnswer, 202: IntentAnswer})
@allowed(Permission.PAYMENTS_WRITE)
@idempotent(tell=_tell_resumed, ask_again=_ask_to_resume)
def resume_payment(session: Session, path: PaymentPath) -> Begun:
    """Return what the customer goes on with in the browser: the client secret, or the page.

    It is the same intent, so what is confirmed cannot be paid twice. 202 when the provider has
    not told it yet: ask again with the same Idempotency-Key. 409 when it cannot be paid any more,
    also because the provider says so.
    """
    payment = session.get(Transaction, path.transaction_id)
    if payment is None:
        raise Problem("not-found", "No such payment.")
    found = resume_of(session, payment)
    if found.why_not is not None:
        raise Problem("conflict", found.why_not)
    return Begun(payment.id, _ask_to_resume(session, payment.id))
