"""State machines as data: a table of allowed moves and one door through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import Integer, event
from sqlalchemy.orm import Mapped, mapped_column, object_session

from models import locks, timeline
from models.base import Changing, CompanyOwned
from models.timeline import Cause, Timeline

Moves = Mapping[Any, frozenset[Any]]


class IllegalMove(Exception):
    """The table of moves lacks this one; the row stays as it was."""

    def __init__(self, row: Moving, to: StrEnum) -> None:
        super().__init__(f"{type(row).__name__} {row.id} may not go from {row.status} to {to}")


class NotLocked(Exception):
    """A row would be moved by a transaction that does not hold it."""


class Moving(CompanyOwned, Changing):
    """A row whose `status` moves only through `move_to`, each move with a timeline line.

    Only the transaction that has locked or made a row may move it, so two writers that read the
    same row cannot both win. `version` counts its changes.
    """

    __abstract__ = True

    MOVES: ClassVar[Moves]
    status: Mapped[Any]
    version: Mapped[int] = mapped_column(Integer, default=1, sort_order=80)

    def can_move_to(self, status: StrEnum) -> bool:
        """Whether the table of moves has this move."""
        return status in self.MOVES[self.status]

    def move_to(self, status: StrEnum, *, because: Cause) -> None:
        """Move to `status` and write down why.

        Raises:
            IllegalMove: the table of moves lacks this move.
            NotLocked: another transaction may be about to move it as well.
        """
        if not self.can_move_to(status):
            raise IllegalMove(self, status)
        session = object_session(self)
        if session is None:
            raise RuntimeError(f"{self!r} is in no session")
        if not locks.is_held(session, self):
            raise NotLocked(
                f"{type(self).__name__} {self.id} is moved by one who has not locked it"
            )
        timeline.add(
            session,
            Timeline(
                company_id=self.company_id,
                subject=self.__tablename__.removesuffix("s"),
                subject_id=self.id,
                what="move",
                was=self.status,
                became=status,
                detail=None,
                **asdict(because),
            ),
        )
        self.status = status


@event.listens_for(Moving, "before_update", propagate=True)
def _count_change(_mapper: object, _connection: object, row: Moving) -> None:
    """Count a change that is about to be written.

    SQLAlchemy's own version counter would write each row by a statement of its own.
    """
    session = object_session(row)
    if session is not None and session.is_modified(row, include_collections=False):
        row.version += 1
