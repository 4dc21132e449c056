"""PayPal's events: which payment is meant, and what each does to it.

The object that an event tells of is named by our ids in its `custom_id`; one that was made at
PayPal itself, by the order or the capture that it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.base import across_companies, turn_to
from models.clock import now
from models.disputes import Dispute
from models.outbox import enqueue
from models.timeline import Cause, note
from models.transactions import PaymentAttempt, Provider, Status, Transaction, lock_existing
from tasks import disputes, kept_methods, refunds, settlement
from tasks.handlers import About, Body, Handler, NotYet
from tasks.method_events import look_again
from worker import telemetry
from worker.app import Later
from worker.gateways.paypal.disputes import capture_in, custom_id_in, dispute_of
from worker.gateways.paypal.translate import (
    intent_of_capture,
    link_of,
    metadata_of,
    method_of,
    refund_of,
)

Effect = Callable[[Session, Transaction, Body, Cause], None]

# What a dispute takes may be told before the dispute is.
DISPUTE_MAY_COME = timedelta(hours=1)
ASK_AGAIN_S = 300.0
BECAUSE = "an event tells whose it is only by the object that it names"


def of_payment(effect: Effect) -> Handler:
    """Return the handler that has this effect on the payment that an event's object is about."""

    def act(session: Session, body: Body, cause: Cause) -> About | None:
        payment = _payment_of(session, body, cause)
        if payment is None:
            return None
        with telemetry.bind(transaction_id=payment.id, company_id=payment.company_id):
            note(session, payment, what="event", because=cause)
            effect(session, payment, body, cause)
        return About(payment.company_id, payment.id)

    return Handler(act)


def _payment_of(session: Session, body: Body, cause: Cause) -> Transaction | None:
    """Return the payment that an object is about, locked, and turn the session to its company.

    Raises:
        NotYet: the object carries ids of ours, but the row is not there.
    """
    ours = metadata_of(_custom_id_in(body))
    our_id = _uuid(ours.get("transaction_id"))
    query = select(Transaction.id, Transaction.company_id).where(
        Transaction.payment_method == Provider.PAYPAL
    )
    if our_id is not None:
        query = query.where(Transaction.id == our_id)
    elif order_id := _order_of(body):
        attempts = select(PaymentAttempt.transaction_id).where(
            PaymentAttempt.provider == Provider.PAYPAL, PaymentAttempt.provider_id == order_id
        )
        query = query.where(
            Transaction.id.in_(session.scalars(across_companies(attempts, because=BECAUSE)).all())
        )
    elif capture_id := _capture_of(body):
        query = query.where(Transaction.payment_processor_id == capture_id)
    else:
        return None
    found = session.execute(across_companies(query, because=BECAUSE)).first()
    if found is None:
        if our_id is not None:
            raise NotYet(f"no payment {our_id} yet")
        return None
    turn_to(session, found.company_id, request_id=cause.request_id)
    return lock_existing(session, found.id)


def _custom_id_in(body: Body) -> str | None:
    """Return our ids in a capture or a refund, else in an order's purchase unit or a dispute."""
    if "dispute_id" in body:
        return custom_id_in(body)
    units = body.get("purchase_units") or [{}]
    found = body.get("custom_id") or units[0].get("custom_id")
    return found if isinstance(found, str) else None


def _order_of(body: Body) -> str:
    """Return the order's id: the object's own, or the one that it is related to."""
    if "purchase_units" in body:
        return str(body.get("id") or "")
    related = (body.get("supplementary_data") or {}).get("related_ids") or {}
    return str(related.get("order_id") or "")


def _capture_of(body: Body) -> str:
    """Return the id of the capture that a refund or a dispute is of."""
    if "dispute_id" in body:
        return capture_in(body)
    # A refund tells by the end of its link upwards.
    return link_of(body, "up").rpartition("/")[2]


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _approved(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:  # noqa: ARG001
    """The payer has agreed: take the money."""
    enqueue(session, "payments.capture", transaction_id=payment.id, order_id=str(body["id"]))


def _captured(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:
    """Apply a capture that took the money as the event tells it."""
    intent = intent_of_capture(body)
    if intent is None:
        _refresh(session, payment, payment.provider_transaction_id or "", cause)
        return
    attempt = settlement.attempt_behind(payment, intent)
    settlement.apply(session, payment, attempt, intent, cause=cause)


def _doubt(status: Status) -> Effect:
    """Return the effect of a state that is not final: fetch, if it would change anything."""

    def effect(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:
        if payment.status == status or not payment.can_move_to(status):
            return
        _refresh(session, payment, _order_of(body) or payment.provider_transaction_id or "", cause)

    return effect


def _refresh(session: Session, payment: Transaction, order_id: str, cause: Cause) -> None:
    enqueue(
        session,
        "lookups.refresh",
        transaction_id=payment.id,
        intent_id=order_id,
        why=cause.why,
        event_id=cause.event_id,
    )


def _refund(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:
    """Apply a refund's state; one that is not ours was made at PayPal."""
    answer = refund_of(body)
    refund = refunds.known(session, payment, answer, cause=cause)
    if refund is not None:
        refunds.apply(session, payment, refund, answer, cause=cause)


def _reversed(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:
    """PayPal has taken a payment back itself, and tells that as a refund.

    What a dispute takes is booked by the dispute, so it is not booked a second time.

    Raises:
        Later: it is new, and a dispute of it may be on its way.
    """
    known = select(Dispute.id).where(Dispute.transaction_id == payment.id).limit(1)
    if session.scalar(known) is not None:
        note(session, payment, what="reversed", because=cause.but("taken for its dispute"))
    elif _is_new(body):
        raise Later("its dispute may be on its way", after_s=ASK_AGAIN_S)
    else:
        _refund(session, payment, body, cause)


def _is_new(body: Body) -> bool:
    try:
        made_at = datetime.fromisoformat(str(body.get("create_time")))
    except ValueError:
        return False
    return made_at.tzinfo is not None and now() < made_at + DISPUTE_MAY_COME


def _disputed(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:
    disputes.hear(session, payment, dispute_of(body), cause=cause)


def _kept(session: Session, body: Body, cause: Cause) -> About | None:
    """Keep a payment token that PayPal made of what an order of ours was paid with."""
    order_id = (body.get("metadata") or {}).get("order_id")
    payment = _payment_of(session, {"id": order_id, "purchase_units": []}, cause)
    if not order_id or payment is None:
        return None  # made without a payment: whoever asked for it keeps it
    kept = kept_methods.keep(session, payment, method_of(body), cause=cause)
    return About(payment.company_id, payment.id, kept.id if kept else None)


PAYPAL: dict[str, Handler] = {
    "CHECKOUT.ORDER.APPROVED": of_payment(_approved),
    "PAYMENT.CAPTURE.COMPLETED": of_payment(_captured),
    "PAYMENT.CAPTURE.PENDING": of_payment(_doubt(Status.PROCESSING)),
    "PAYMENT.CAPTURE.DECLINED": of_payment(_doubt(Status.FAILED)),
    "PAYMENT.CAPTURE.DENIED": of_payment(_doubt(Status.FAILED)),
    "PAYMENT.CAPTURE.REFUNDED": of_payment(_refund),
    "PAYMENT.CAPTURE.REVERSED": of_payment(_reversed),
    "PAYMENT.REFUND.PENDING": of_payment(_refund),
    "PAYMENT.REFUND.FAILED": of_payment(_refund),
    "CUSTOMER.DISPUTE.CREATED": of_payment(_disputed),
    "CUSTOMER.DISPUTE.UPDATED": of_payment(_disputed),
    "CUSTOMER.DISPUTE.RESOLVED": of_payment(_disputed),
    "VAULT.PAYMENT-TOKEN.CREATED": Handler(_kept),
    "VAULT.PAYMENT-TOKEN.DELETED": Handler(partial(look_again, Provider.PAYPAL)),
}
