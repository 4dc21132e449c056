"""Events about payments and their refunds: which payment is meant, and what each does to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from models import locks
from models.base import across_companies, turn_to
from models.outbox import enqueue
from models.timeline import Cause, note
from models.transactions import (
    PaymentAttempt,
    Provider,
    Status,
    Transaction,
    lock_existing,
)
from tasks import refunds, settlement
from tasks.handlers import About, Body, Handler, NotYet
from worker import telemetry
from worker.gateways.stripe.translate import id_of, intent_of, refund_of

# What an event does to the locked payment that it is about.
Effect = Callable[[Session, Transaction, Body, Cause], None]


def of_payment(effect: Effect) -> Handler:
    """Return the handler that has this effect on the payment that an event's object is about."""

    def act(session: Session, body: Body, cause: Cause) -> About | None:
        payment = _payment_of(session, body, cause)
        if payment is None:
            return None
        # One flush at the end writes rows of a kind together.
        with (
            telemetry.bind(transaction_id=payment.id, company_id=payment.company_id),
            session.no_autoflush,
        ):
            note(session, payment, what="event", because=cause)
            effect(session, payment, body, cause)
        return About(payment.company_id, payment.id)

    return Handler(act, _hold)


def _hold(session: Session, bodies: Sequence[Body]) -> None:
    """Lock the payments that several objects are about, and their invoices."""
    ours = {str(body["id"]): our_id for body in bodies if (our_id := _our_id_in(body))}
    others = _find_all(session, [body for body in bodies if str(body["id"]) not in ours])
    payments = locks.lock_all(
        session,
        Transaction,
        [*ours.values(), *(where.transaction_id for where in others.values())],
        options=[selectinload(Transaction.attempts)],
        along=Transaction.invoice,
    )
    session.info[_FOUND] = others | {
        name: Whereabouts(payment.id, payment.company_id)
        for name, our_id in ours.items()
        if (payment := payments.get(our_id)) is not None
    }


class Whereabouts(NamedTuple):
    """A payment and whose it is."""

    transaction_id: UUID
    company_id: UUID


def _payment_of(session: Session, body: Body, cause: Cause) -> Transaction | None:
    """Return the payment that an object is about, locked, and turn the session to its company.

    Raises:
        NotYet: the object carries ids of ours, but the row is not there.
    """
    known: dict[str, Whereabouts] = session.info.get(_FOUND, {})
    name = str(body["id"])
    found = known.get(name) or _find_all(session, [body]).get(name)
    if found is None:
        metadata = body.get("metadata") or {}
        if _uuid(metadata.get("transaction_id")) and _uuid(metadata.get("company_id")):
            raise NotYet(f"no payment {metadata['transaction_id']} yet")
        return None
    turn_to(session, found.company_id, request_id=cause.request_id)
    return lock_existing(session, found.transaction_id)


_FOUND = "payments_of_events"


def _find_all(session: Session, bodies: Sequence[Body]) -> dict[str, Whereabouts]:
    """Return whose payments these objects are about, by the object's id: by our id, else theirs."""
    found: dict[str, Whereabouts] = {}
    for name_in, find in _WAYS:
        names = {
            str(body["id"]): name
            for body in bodies
            if str(body["id"]) not in found and (name := name_in(body))
        }
        known = find(session, set(names.values())) if names else {}
        found |= {each: known[name] for each, name in names.items() if name in known}
    return found


Found = dict[Any, Whereabouts]
_BECAUSE = "an event tells whose it is only by the object that it names"


def _by_ids(session: Session, ids: set[UUID]) -> Found:
    query = select(Transaction.id, Transaction.company_id).where(Transaction.id.in_(ids))
    rows = session.execute(across_companies(query, because=_BECAUSE))
    return {identity: Whereabouts(identity, company) for identity, company in rows}


def _by_intents(session: Session, intents: set[str]) -> Found:
    query = select(
        PaymentAttempt.provider_id, PaymentAttempt.transaction_id, PaymentAttempt.company_id
    ).where(PaymentAttempt.provider == Provider.STRIPE, PaymentAttempt.provider_id.in_(intents))
    rows = session.execute(across_companies(query, because=_BECAUSE))
    return {intent: Whereabouts(identity, company) for intent, identity, company in rows}


def _by_settling_intents(session: Session, intents: set[str]) -> Found:
    """Find payments whose attempt has heard of a second intent since."""
    query = select(
        Transaction.provider_transaction_id, Transaction.id, Transaction.company_id
    ).where(
        Transaction.payment_method == Provider.STRIPE,
        Transaction.provider_transaction_id.in_(intents),
    )
    rows = session.execute(across_companies(query, because=_BECAUSE))
    return {intent: Whereabouts(identity, company) for intent, identity, company in rows}


def _by_charges(session: Session, charges: set[str]) -> Found:
    query = select(Transaction.payment_processor_id, Transaction.id, Transaction.company_id).where(
        Transaction.payment_method == Provider.STRIPE,
        Transaction.payment_processor_id.in_(charges),
    )
    rows = session.execute(across_companies(query, because=_BECAUSE))
    return {charge: Whereabouts(identity, company) for charge, identity, company in rows}


def _our_id_in(body: Body) -> UUID | None:
    return _uuid((body.get("metadata") or {}).get("transaction_id"))


def _intent_of(body: Body) -> str:
    if body.get("object") == "payment_intent":
        return str(body["id"])
    return id_of(body.get("payment_intent"))


def _charge_of(body: Body) -> str:
    """Return the charge of an object that names no intent: an old one, or one made by hand."""
    if body.get("object") == "charge":
        return str(body["id"])
    return "" if _intent_of(body) else id_of(body.get("charge"))


# What to look for in an object, and how a payment is found by it, the surest first.
_WAYS: tuple[tuple[Callable[[Body], Any], Callable[[Session, set[Any]], Found]], ...] = (
    (_our_id_in, _by_ids),
    (_intent_of, _by_intents),
    (_intent_of, _by_settling_intents),
    (_charge_of, _by_charges),
)


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _settle(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:
    """Apply a final state as the event tells it."""
    intent = intent_of(body)
    attempt = settlement.attempt_behind(payment, intent)
    settlement.apply(session, payment, attempt, intent, cause=cause)


def _doubt(status: Status) -> Effect:
    """Return the effect of a state that is not final: fetch, if it would change anything."""

    def effect(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:
        # What is declined in the browser once more may be declined otherwise.
        is_new = status is Status.FAILED and payment.payment_method_id is None
        is_known = payment.status == status and not is_new
        if is_known or not (payment.status == status or payment.can_move_to(status)):
            return
        enqueue(
            session,
            "lookups.refresh",
            transaction_id=payment.id,
            intent_id=str(body["id"]),
            why=cause.why,
            event_id=cause.event_id,
        )

    return effect


def _refund(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:
    """Apply a refund's state; one that is not ours was made in the dashboard."""
    refunds.hear(session, payment, refund_of(body), cause=cause)


def _charge_refunded(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:  # noqa: ARG001
    """The event has sums and no refunds: have them listed, if there are any that we lack."""
    enqueue(session, "refunds.collect", transaction_id=payment.id)


STRIPE: dict[str, Handler] = {
    "payment_intent.succeeded": of_payment(_settle),
    "payment_intent.canceled": of_payment(_settle),
    "payment_intent.payment_failed": of_payment(_doubt(Status.FAILED)),
    "payment_intent.requires_action": of_payment(_doubt(Status.REQUIRES_ACTION)),
    "payment_intent.processing": of_payment(_doubt(Status.PROCESSING)),
    "charge.refunded": of_payment(_charge_refunded),
    "charge.refund.updated": of_payment(_refund),
    "refund.created": of_payment(_refund),
    "refund.updated": of_payment(_refund),
    "refund.failed": of_payment(_refund),
}
