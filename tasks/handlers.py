"""What the handlers of webhook events share. Each finds what its event is about, and acts on it.

An event is a hint; only allowed moves are applied. Final states are applied from the event itself.
Of the others the order cannot be known, so where the event and the row disagree the object is
fetched and believed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from models.timeline import Cause

Body = Mapping[str, Any]


class NotYet(Exception):
    """The event names a row of ours that is not there yet; it is tried again, then parked."""


class About(NamedTuple):
    """Whose event it was, and what it was about; a row that is no payment is the subject."""

    company_id: UUID
    transaction_id: UUID | None = None
    subject_id: UUID | None = None


Act = Callable[[Session, Body, Cause], About | None]
Hold = Callable[[Session, Sequence[Body]], None]


@dataclass(frozen=True)
class Handler:
    """What is done about one type of event.

    Args:
        act: finds what the event's object is about, turns the session to its company, notes the
            event on its timeline and acts; None where nothing of ours is meant. May raise NotYet.
        hold: locks what the objects of several events are about, in one statement.
    """

    act: Act
    hold: Hold | None = None
