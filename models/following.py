"""What an invoice's fate means for its subscription: it is looked at again, by a task of its own.

Whoever pays or declines holds a payment and its invoice; the subscription is locked by others.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from models.outbox import enqueue


def owe_follow(session: Session, subscription_id: UUID | None) -> None:
    """Owe a look at where a subscription stands; nothing for what is of none."""
    if subscription_id is not None:
        enqueue(session, "subscriptions.follow", subscription_id=subscription_id)
