"""Events about disputes: each is told whole, with the money that it has moved."""

from __future__ import annotations

from sqlalchemy.orm import Session

from models.outbox import enqueue
from models.timeline import Cause
from models.transactions import Provider, Transaction
from tasks import disputes
from tasks.handlers import About, Body, Handler
from tasks.payment_events import of_payment
from worker.gateways.stripe.disputes import dispute_of
from worker.gateways.stripe.translate import id_of


def _hear(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:
    disputes.hear(session, payment, dispute_of(body), cause=cause)


_KNOWN = of_payment(_hear)


def _act(session: Session, body: Body, cause: Cause) -> About | None:
    """Act on a dispute of ours; where its intent is in no row, have looked whose it is.

    A dispute carries no id of ours, and the answer that would have told its intent may be lost.
    """
    about = _KNOWN.act(session, body, cause)
    intent_id = id_of(body.get("payment_intent"))
    if about is None and intent_id:
        enqueue(
            session,
            "disputes.trace",
            provider=Provider.STRIPE,
            dispute_id=str(body["id"]),
            intent_id=intent_id,
            event_id=cause.event_id,
        )
    return about


_HANDLER = Handler(_act, _KNOWN.hold)
STRIPE: dict[str, Handler] = {
    "charge.dispute.created": _HANDLER,
    "charge.dispute.updated": _HANDLER,
    "charge.dispute.closed": _HANDLER,
    "charge.dispute.funds_withdrawn": _HANDLER,
    "charge.dispute.funds_reinstated": _HANDLER,
}
