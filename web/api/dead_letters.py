"""Dead letters: work that was given up, shown, owed again, or dismissed."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy import Select
from sqlalchemy.orm import Session

from models import replays
from models.operations import Action
from models.outbox import Owed, OwedStatus
from models.tenants import Permission
from web.api.operations import PREFIX, ActAnswer, shown_acts, write_down
from web.api.replaying import Again, Kind, ReplayAnswer, Several, waits
from web.auth import allowed
from web.lists import answer_page
from web.problems import Problem
from web.routes import Input, Routes, respond
from web.schemas import WRITTEN, Moment, PageQuery, cause
from worker.database import in_transaction, transaction

routes = Routes("dead_letters", __name__, url_prefix=f"{PREFIX}/dead-letters")


class Narrowed(Input):
    """Which dead letters."""

    task: str | None = Field(None, max_length=100, description="Such as `webhooks.handle`.")
    company_id: UUID | None = None
    since: Moment | None = Field(None, description="Given up at this time or later.")


class LettersQuery(PageQuery, Narrowed):
    """Which page of which dead letters."""

    status: Literal["dead", "dismissed"] = "dead"


class LetterPath(Input):
    """Which dead letter."""

    dead_letter_id: UUID


class Replay(Several):
    """Which dead letters to owe again."""

    filter: Narrowed | None = None


class Dismissal(Input):
    """Why nothing is to be done about it."""

    note: str = Field(min_length=1, max_length=2000, pattern=WRITTEN)


class LetterAnswer(BaseModel):
    """Work that was given up: what it was, why, and what it concerns."""

    id: UUID
    task: str
    status: Literal["dead", "dismissed"]
    company_id: UUID | None
    # The ids that it carries, by their names.
    concerns: dict[str, UUID]
    error: str | None
    failures: int
    starts: int
    request_id: str | None
    created_at: Moment
    died_at: Moment


class OneLetterAnswer(LetterAnswer):
    """A dead letter and what was done about it, oldest first."""

    acts: list[ActAnswer]


class LettersAnswer(BaseModel):
    """A page of dead letters, newest first."""

    data: list[LetterAnswer]
    next_cursor: str | None


@routes.get("", responses={200: LettersAnswer})
@allowed(Permission.OPERATIONS)
def list_dead_letters(query: LettersQuery) -> Response:
    """List work that was given up, newest first."""
    wanted = _narrowed(query).where(Owed.status == query.status)
    return answer_page(Owed, wanted, query, _shown)


@routes.get("/<uuid:dead_letter_id>", responses={200: OneLetterAnswer})
@allowed(Permission.OPERATIONS)
def read_dead_letter(path: LetterPath) -> Response:
    """Return one, with what was done about it."""
    with transaction() as session:
        [letter] = _LETTERS.find(session, [path.dead_letter_id])
        return respond(_shown(letter) | {"acts": shown_acts(session, letter.id)})


@routes.post("/replay", responses={200: ReplayAnswer})
@allowed(Permission.OPERATIONS)
@waits
def replay_dead_letters(body: Replay) -> Response:
    """Owe dead letters again, or tell what that would change.

    They run through the same guards as ever: what was done meanwhile is not done again.
    """
    return _LETTERS.replay_some(body, _narrowed(body.filter or Narrowed.model_validate({})))


@routes.post("/<uuid:dead_letter_id>/replay", responses={200: ReplayAnswer})
@allowed(Permission.OPERATIONS)
@waits
def replay_dead_letter(path: LetterPath, body: Again) -> Response:
    """Owe one again, or tell what that would change."""
    return _LETTERS.replay_one(body, path.dead_letter_id)


@routes.post("/<uuid:dead_letter_id>/dismiss", responses={200: OneLetterAnswer})
@allowed(Permission.OPERATIONS)
def dismiss_dead_letter(path: LetterPath, body: Dismissal) -> Response:
    """Say that nothing is to be done about it, and why. It is kept, and can still be replayed."""
    return respond(in_transaction(_dismiss, None, path.dead_letter_id, body.note))


def _narrowed(by: Narrowed) -> Select[Owed]:
    wanted = _LETTERS.theirs()
    if by.task is not None:
        wanted = wanted.where(Owed.task == by.task)
    if by.company_id is not None:
        wanted = wanted.where(Owed.company_id == by.company_id)
    if by.since is not None:
        wanted = wanted.where(Owed.due_at >= by.since)
    return wanted


def _replay(session: Session, ids: list[UUID], note: str | None) -> list[UUID]:
    """Return which were owed again: what somebody else has replayed meanwhile is not among them."""
    done = []
    for letter in replays.lock_dead(session, ids):
        replays.replay(session, letter, cause=cause("replayed by an operator"))
        write_down(
            session,
            Action.REPLAY,
            "dead_letter",
            letter.id,
            company_id=letter.company_id,
            note=note,
        )
        done.append(letter.id)
    return done


_LETTERS = Kind(
    Owed,
    "dead letter",
    "dead_letters",
    company_id=Owed.company_id,
    shown=Owed.status.in_(replays.GIVEN_UP),
    due=Owed.status == OwedStatus.DEAD,
    replay=_replay,
)


def _dismiss(session: Session, identity: UUID, note: str) -> dict[str, Any]:
    _LETTERS.find(session, [identity])
    for letter in replays.lock_dead(session, [identity]):
        letter.status = OwedStatus.DISMISSED
        company_id = letter.company_id
        write_down(
            session, Action.DISMISS, "dead_letter", identity, company_id=company_id, note=note
        )
        session.flush()
        return _shown(letter) | {"acts": shown_acts(session, identity)}
    raise Problem("conflict", "Somebody has just replayed it.")


def _shown(letter: Owed) -> dict[str, Any]:
    return {
        "id": letter.id,
        "task": letter.task,
        "status": letter.status,
        "company_id": letter.company_id,
        "concerns": _concerns(letter),
        "error": letter.error,
        "failures": letter.failures,
        "starts": letter.starts,
        "request_id": letter.request_id,
        "created_at": letter.created_at,
        # What is given up is due no more: it has kept when that was.
        "died_at": letter.due_at,
    }


def _concerns(letter: Owed) -> dict[str, UUID]:
    concerns = {}
    for name, value in letter.arguments.items():
        try:
            concerns[name] = UUID(value)
        except (ValueError, TypeError, AttributeError):
            continue
    return concerns
