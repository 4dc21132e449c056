"""Events about payment methods: the networks' updater renewed a card, or it was let go elsewhere.

What an event tells may be older than what is known since, so the method is looked up and believed.
"""

from __future__ import annotations

from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.base import across_companies, turn_to
from models.methods import PaymentMethod
from models.outbox import enqueue
from models.timeline import Cause, note
from models.transactions import Provider
from tasks.handlers import About, Body, Handler


def look_again(provider: Provider, session: Session, body: Body, cause: Cause) -> About | None:
    """Have the method that an event names looked up, and believe that."""
    query = select(PaymentMethod.id, PaymentMethod.company_id).where(
        PaymentMethod.provider == provider, PaymentMethod.provider_id == str(body["id"])
    )
    because = "an event tells whose it is only by the method that it names"
    found = session.execute(across_companies(query, because=because)).one_or_none()
    if found is None:
        return None
    turn_to(session, found.company_id, request_id=cause.request_id)
    method = session.get_one(PaymentMethod, found.id)
    note(session, method, what="event", because=cause)
    if method.is_active:
        enqueue(session, "methods.refresh", method_id=method.id)
    return About(method.company_id, subject_id=method.id)


_HANDLER = Handler(partial(look_again, Provider.STRIPE))
STRIPE: dict[str, Handler] = {
    "payment_method.automatically_updated": _HANDLER,
    "payment_method.updated": _HANDLER,
    "payment_method.detached": _HANDLER,
}
