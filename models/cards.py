"""How often a card was declined: what the networks count, whoever's invoice it was for.

A card is known by the provider's fingerprint of it, which is the same wherever it was entered; a
method without one (PayPal) by our id of it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import locks
from models.base import BY_KEY, across_companies
from models.methods import PaymentMethod
from models.transactions import AttemptStatus, PaymentAttempt
from schedules.declines import Advice
from schedules.ladder import CARD_WINDOW, MAX_CARD_DECLINES

BECAUSE = "the networks count a card's declines, whoever's it is"
# What may yet be declined. One that waits for the customer is the customer's own doing.
UNDER_WAY = (
    AttemptStatus.CALLING,
    AttemptStatus.WAITING,
    AttemptStatus.UNKNOWN,
    AttemptStatus.PROCESSING,
)


@dataclass(frozen=True, kw_only=True)
class Declines:
    """What a card has met within the window."""

    number: int
    # Until when a network asked to wait.
    not_before: datetime | None = None
    # When the card may be charged again, if it may not now.
    frees_at: datetime | None = None
    # Whether the last that was heard of it is that it is refused for good.
    is_refused: bool = False

    @property
    def is_spent(self) -> bool:
        """Whether the card may not be charged now."""
        return self.number >= MAX_CARD_DECLINES


def card_of(method: PaymentMethod) -> str:
    """Return what a method's card is known by."""
    return method.fingerprint or str(method.id)


def declines_of(session: Session, card: str, *, moment: datetime) -> Declines:
    """Return what the card has met in the window that ends now.

    An attempt counts from its decline on, also if the customer has paid its intent afterwards.
    """
    rows = session.execute(
        across_companies(
            select(
                PaymentAttempt.created_at,
                PaymentAttempt.finished_at,
                PaymentAttempt.wait_at_least_s,
                PaymentAttempt.advice,
            )
            .where(
                PaymentAttempt.fingerprint == card,
                PaymentAttempt.created_at > moment - CARD_WINDOW,
                PaymentAttempt.advice.is_not(None),
            )
            .order_by(PaymentAttempt.created_at),
            because=BECAUSE,
        )
    ).all()
    waits = [
        (finished_at or created_at) + timedelta(seconds=wait_s)
        for created_at, finished_at, wait_s, _ in rows
        if wait_s
    ]
    made = [created_at for created_at, *_ in rows]
    return Declines(
        number=len(made),
        not_before=max(waits, default=None),
        frees_at=made[-MAX_CARD_DECLINES] + CARD_WINDOW if len(made) >= MAX_CARD_DECLINES else None,
        is_refused=bool(rows) and rows[-1].advice == Advice.STOP,
    )


def declined_among(session: Session, cards: Collection[str], *, moment: datetime) -> set[str]:
    """Return those of the cards that were declined at all within the window."""
    if not cards:
        return set()
    found = session.scalars(
        across_companies(
            select(PaymentAttempt.fingerprint)
            .where(
                PaymentAttempt.fingerprint.in_(sorted(cards)),
                PaymentAttempt.created_at > moment - CARD_WINDOW,
                PaymentAttempt.advice.is_not(None),
            )
            .distinct(),
            because=BECAUSE,
        )
    )
    return {card for card in found if card is not None}


def under_way_on(session: Session, card: str, *, moment: datetime) -> int:
    """Return how many attempts on a card may yet be declined."""
    return (
        session.scalar(
            across_companies(
                select(func.count())
                .select_from(PaymentAttempt)
                .where(
                    PaymentAttempt.fingerprint == card,
                    PaymentAttempt.created_at > moment - CARD_WINDOW,
                    PaymentAttempt.status.in_(UNDER_WAY),
                ),
                because=BECAUSE,
            )
        )
        or 0
    )


def hold(session: Session, method: PaymentMethod) -> None:
    """Let nobody else begin an attempt on a method's card before this transaction has ended."""
    same = [method.id]
    if method.fingerprint is not None:
        alike = select(PaymentMethod.id).where(PaymentMethod.fingerprint == method.fingerprint)
        same = sorted(session.scalars(across_companies(alike, because=BECAUSE)))
    session.execute(
        across_companies(
            select(PaymentMethod.id)
            .where(PaymentMethod.id.in_(same))
            .with_hint(PaymentMethod, BY_KEY)
            .order_by(PaymentMethod.id)
            .with_for_update(nowait=session.info.get(locks.IN_GROUP, False)),
            because=BECAUSE,
        )
    ).all()
