"""Having things done again: one, several or what a filter matches; a dry run tells what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field, StrictBool, model_validator
from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.outbox import enqueue
from models.paging import Row
from web.api.operations import whose
from web.auth import caller
from web.openapi import WAITS
from web.problems import Problem, invalid, unavailable
from web.routes import Input, respond
from web.schemas import WRITTEN
from web.waiting import preference, wait_for
from worker import replies
from worker.database import in_transaction, transaction

# How many may be replayed by one request, and how many of them may be foreseen.
MOST = 500
MOST_FORESEEN = 20


class Again(Input):
    """Replaying one: now, or only what it would change."""

    dry_run: StrictBool = Field(
        default=False, description="Change nothing; tell what would change."
    )
    note: str | None = Field(
        None, max_length=2000, pattern=WRITTEN, description="Why, for whoever reads the acts."
    )


class Several(Again):
    """Which to replay: by their ids, by a filter, or all, 500 at a time."""

    ids: list[UUID] | None = Field(None, min_length=1, max_length=MOST)
    filter: Input | None = None
    all: StrictBool = Field(default=False, description="All that can be replayed.")

    @model_validator(mode="after")
    def _names_them(self) -> Several:
        if (self.ids is not None) + (self.filter is not None) + self.all != 1:
            raise ValueError("give ids, or a filter, or all: true")
        if self.filter is not None and not self.filter.model_dump(exclude_none=True):
            raise ValueError("the filter names nothing; say all: true if you mean all")
        return self


class ChangeAnswer(BaseModel):
    """A row that would be written: of each column what it is and what it would be."""

    table: str
    id: UUID | None
    how: Literal["insert", "update", "delete"]
    columns: dict[str, list[Any]]


class ForeseenAnswer(BaseModel):
    """What replaying one would do. Of a call to a provider what it would be; it is not made."""

    id: UUID
    changes: list[ChangeAnswer]
    more_changes: int
    owes: list[dict[str, Any]]
    announces: list[dict[str, Any]]
    ends: list[UUID]
    call: dict[str, Any] | None
    error: str | None
    waits: str | None


class ReplayAnswer(BaseModel):
    """What is owed again; in a dry run what would be, and what that would change."""

    dry_run: bool
    replayed: list[UUID]
    # Matched by the filter and not among them: ask again.
    left: int
    foreseen: list[ForeseenAnswer]


def waits(view: Any) -> Any:
    """Mark a view that waits for a worker, and so heeds `Prefer`."""
    setattr(view, WAITS, True)
    return view


@dataclass(frozen=True)
class Kind(Generic[Row]):
    """What can be replayed.

    Args:
        noun: what one is called; `argument` is where the preview takes their ids.
        company_id: the column that says whose a row is.
        shown: which of its rows are such a thing; `due`, those of them that `all` means.
        replay: has them done again, with a note, and returns which were.
    """

    table: type[Row]
    noun: str
    argument: Literal["dead_letters", "events"]
    company_id: InstrumentedAttribute[Any]
    shown: ColumnElement[bool]
    due: ColumnElement[bool]
    replay: Callable[[Session, list[UUID], str | None], list[UUID]]

    def theirs(self) -> Select[Row]:
        """Return the query of the rows that the caller may see."""
        return select(self.table).where(whose(self.company_id), self.shown)

    def find(self, session: Session, ids: list[UUID]) -> list[Row]:
        """Return rows that the caller may see; 404 if one of them is none."""
        wanted = self.theirs().where(self.table.id.in_(ids)).order_by(self.table.id)
        found = list(session.scalars(wanted))
        missing = sorted(set(ids) - {row.id for row in found})
        if missing:
            raise Problem("not-found", f"No such {self.noun}: {', '.join(map(str, missing[:5]))}.")
        return found

    def replay_some(self, body: Several, narrowed: Select[Row]) -> Response:
        """Replay those that are named by ids, else the oldest of `narrowed`."""
        left = 0
        with transaction() as session:
            if body.ids is not None:
                ids = [row.id for row in self.find(session, body.ids)]
            else:
                wanted = narrowed.where(self.due)
                number = session.scalar(select(func.count()).select_from(wanted.subquery())) or 0
                most = MOST_FORESEEN if body.dry_run else MOST
                oldest = wanted.order_by(self.table.id).limit(most)
                ids = [row.id for row in session.scalars(oldest)]
                left = number - len(ids)
        return self._answer(body, ids, left=left)

    def replay_one(self, body: Again, identity: UUID) -> Response:
        """Replay one; 404 if the caller may not see it."""
        with transaction() as session:
            self.find(session, [identity])
        return self._answer(body, [identity], left=0)

    def _answer(self, body: Again, ids: list[UUID], *, left: int) -> Response:
        answer = {"dry_run": body.dry_run, "replayed": ids, "left": left, "foreseen": []}
        if body.dry_run:
            reply = self._foresee(ids)
            answer["foreseen"] = reply["data"]
            answer["replayed"] = [each for each in ids if str(each) not in reply["in_hand"]]
            return respond(answer, headers=preference().headers)
        answer["replayed"] = in_transaction(self.replay, None, ids, body.note)
        return respond(answer)

    def _foresee(self, ids: list[UUID]) -> Any:
        """Have a worker say what replaying these would change.

        Raises:
            Problem: 422 for too many at once, 503 when no worker has answered in time.
        """
        if len(ids) > MOST_FORESEEN:
            raise invalid("ids", f"are more than the {MOST_FORESEEN} of which a dry run can tell")
        reply_key = replies.new_key()
        wanted: dict[str, Any] = {"dead_letters": [], "events": []}
        wanted[self.argument] = list(map(str, ids))
        with transaction() as session:
            enqueue(
                session,
                "operations.preview",
                tenant_id=caller().tenant_id,
                reply=reply_key,
                **wanted,
            )
        answer = wait_for(reply_key, preference())
        if answer is None:
            raise unavailable("No worker has answered in time.")
        return answer
