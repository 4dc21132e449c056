"""Tracking: our own events, told in the transaction that makes them true.

    track(session, "payment.succeeded", payment, money=captured)

What a transaction tracks for a company is one debt, `analytics.record`, that is written with its
commit. So an event is told if and only if what it tells has happened, and its id makes it one
however often the debt is paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.orm import Session

from models.analytics_events import NewEvent, Source, event_id
from models.base import CompanyOwned
from models.clock import now
from models.money import Money
from models.outbox import enqueue
from models.own_events import OWN_EVENTS

RECORD = "analytics.record"
# In a session's info: what it tracks, by company.
TRACKED = "tracked"
# An event's dimension is a column of so many characters.
MOST_DIMENSION = 100


def track(
    session: Session,
    name: str,
    about: CompanyOwned,
    /,
    *,
    number: object = None,
    **told: Any,
) -> None:
    """Tell that something of ours has happened; it is stored after the commit, once.

    Args:
        name: one of OWN_EVENTS.
        about: the row to which it happened, whose company's event it is.
        number: which time it is, where it may happen to a row more than once.
        told: as of `track_for`.

    Raises:
        KeyError: there is no such event.
    """
    key = str(about.id) if number is None else f"{about.id}:{number}"
    track_for(session, name, about.company_id, key, **told)


def track_for(  # noqa: PLR0913  an event has these
    session: Session,
    name: str,
    company_id: UUID,
    key: str,
    /,
    *,
    at: datetime | None = None,
    money: Money | None = None,
    quantity: Decimal | int | None = None,
    dimension: str = "",
    module_id: UUID | None = None,
) -> None:
    """Tell that something has happened to a company which is no row of its own.

    Args:
        key: what makes it another than others of its name.
        at: when it happened; now if None.
    """
    told = {
        "id": str(event_id(company_id, name, key)),
        "event_type": str(OWN_EVENTS[name].event_type),
        "name": name,
        "timestamp": (at or now()).isoformat(),
        "amount": f"{money.amount:.2f}" if money else None,
        "currency": money.currency if money else None,
        "quantity": f"{quantity:.4f}" if quantity is not None else None,
        "dimension": dimension[:MOST_DIMENSION],
        "module_id": str(module_id) if module_id else None,
    }
    tracked: dict[UUID, list[dict[str, Any]]] = session.info.setdefault(TRACKED, {})
    tracked.setdefault(company_id, []).append(
        {field: value for field, value in told.items() if value}
    )


def _owe_tracked(session: Session) -> None:
    """Owe what was tracked, before the outbox's own work at the commit.

    A savepoint owes nothing: were it rolled back, what was tracked before it would be lost.
    """
    if session.in_nested_transaction():
        return
    for company_id, events in session.info.pop(TRACKED, {}).items():
        enqueue(session, RECORD, company_id=company_id, events=events)


# First of all that is done at a commit: the debt is written along with whatever else is.
event.listen(Session, "before_commit", _owe_tracked, insert=True)


def as_event(company_id: UUID, told: Mapping[str, str]) -> NewEvent:
    """Return what a debt has of an event, as it is stored."""
    module_id = told.get("module_id")
    return NewEvent(
        id=UUID(told["id"]),
        company_id=company_id,
        event_type=told["event_type"],
        name=told["name"],
        timestamp=datetime.fromisoformat(told["timestamp"]),
        source=Source.OWN,
        module_id=UUID(module_id) if module_id else None,
        amount=_exact(told.get("amount")),
        currency=told.get("currency"),
        quantity=_exact(told.get("quantity")),
        dimension=told.get("dimension", ""),
    )


def _exact(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
