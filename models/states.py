"""State machines as data: a table of allowed moves and one door through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import Integer
from sqlalchemy.orm import Mapped, declared_attr, mapped_column, object_session

from models.base import Changing, CompanyOwned
from models.timeline import Cause, Timeline

Moves = Mapping[Any, frozenset[Any]]


class IllegalMove(Exception):
    """The table of moves lacks this one; the row stays as it was."""

    def __init__(self, row: Moving, to: StrEnum) -> None:
        super().__init__(f"{type(row).__name__} {row.id} may not go from {row.status} to {to}")


class Moving(CompanyOwned, Changing):
    """A row whose `status` moves only through `move_to`, each move with a timeline line.

    `version` is SQLAlchemy's version counter: two writers that read the same row cannot both win.
    """

    __abstract__ = True

    MOVES: ClassVar[Moves]
    status: Mapped[Any]
    version: Mapped[int] = mapped_column(Integer, default=1, sort_order=80)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805  SQLAlchemy's own form
        return {"version_id_col": cls.version}

    def can_move_to(self, status: StrEnum) -> bool:
        """Whether the table of moves has this move."""
        return status in self.MOVES[self.status]

    def move_to(self, status: StrEnum, *, because: Cause) -> None:
        """Move to `status` and write down why.

        Raises:
            IllegalMove: the table of moves lacks this move.
        """
        if not self.can_move_to(status):
            raise IllegalMove(self, status)
        session = object_session(self)
        if session is None:
            raise RuntimeError(f"{self!r} is in no session")
        session.add(
            Timeline(
                company_id=self.company_id,
                subject=self.__tablename__.removesuffix("s"),
                subject_id=self.id,
                what="move",
                was=self.status,
                became=status,
                detail=None,
                **asdict(because),
            )
        )
        self.status = status
