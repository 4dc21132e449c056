"""The timeline: what happened to a payment, an invoice or a refund, and what caused it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Index, String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import TURNS, CompanyOwned

# A person says what became of a row that needs a review; what the lines after it answer.
REVIEW_ASKED = "review_asked"
REVIEW_REFUSED = "review_refused"
REVIEW_SETTLED = "review_settled"


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why something happened and which request, task, attempt, event or person is behind it."""

    why: str
    request_id: str | None = None
    task_id: UUID | None = None
    attempt_id: UUID | None = None
    provider_request_id: str | None = None
    event_id: str | None = None
    user_id: UUID | None = None

    def but(self, why: str) -> Cause:
        """Return the same cause with another reason."""
        return replace(self, why=why)


class Timeline(CompanyOwned):
    """One line of a subject's history. Only ever added."""

    __tablename__ = "timeline"
    __table_args__ = (
        Index("idx_timeline_subject", "subject_id", "id"),
        Index("idx_timeline_company_id", "company_id"),
    )

    subject: Mapped[str] = mapped_column(String(20))  # transaction, invoice, refund, ...
    subject_id: Mapped[UUID]
    what: Mapped[str] = mapped_column(String(40))  # move, call, answer, event, ...
    was: Mapped[str | None] = mapped_column(String(30))
    became: Mapped[str | None] = mapped_column(String(30))
    why: Mapped[str] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(String(100))
    task_id: Mapped[UUID | None]
    attempt_id: Mapped[UUID | None]
    provider_request_id: Mapped[str | None] = mapped_column(String(100))
    event_id: Mapped[str | None] = mapped_column(String(100))
    user_id: Mapped[UUID | None]
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


def subject_of(row: CompanyOwned) -> str:
    """Return what a row is called in the timeline: transaction, invoice, retry_policy, ..."""
    name: str = row.__tablename__
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")


def note(
    session: Session,
    subject: CompanyOwned,
    *,
    what: str,
    because: Cause,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add a line to the timeline of `subject` that is no move between states."""
    add(
        session,
        Timeline(
            company_id=subject.company_id,
            subject=subject_of(subject),
            subject_id=subject.id,
            what=what,
            was=None,  # as in a move: rows of the same columns are written together
            became=None,
            detail=detail,
            **asdict(because),
        ),
    )


# In a session's info: the line that what is pushed next may stand with, and the act that wrote it.
_LAST = "last_line"
PUSHES = "pushes"
PUSHED_BY = "pushed_by"


def add(session: Session, line: Timeline) -> None:
    """Add a line."""
    session.add(line)
    if line.detail is None:
        session.info[_LAST] = (session.info.get(TURNS), line)


def note_push(session: Session, subject: CompanyOwned, kind: str, *, task_id: UUID) -> None:
    """Tell that an event is pushed, by the task that publishes it.

    It stands with the line that the same act has written last, where there is one: a line of its
    own for each push would make a charge a tenth dearer.
    """
    turn, line = session.info.get(_LAST, (None, None))
    is_ours = line is not None and line in session.new and line.company_id == subject.company_id
    if line is None or not is_ours or turn != session.info.get(TURNS):
        cause = Cause(why="told", request_id=session.info.get("request_id"), task_id=task_id)
        note(session, subject, what="push", because=cause)
        _, line = session.info[_LAST]
    told = (line.detail or {}).get(PUSHES, [])
    line.detail = {PUSHES: [*told, kind], PUSHED_BY: str(task_id)}


def history(
    session: Session,
    subject_ids: list[UUID],
    *,
    after: UUID | None = None,
    limit: int | None = None,
) -> list[Timeline]:
    """Return the lines of these subjects in the order in which they were written.

    Args:
        after: the line after which to begin; from the first if None.
        limit: how many; all if None.
    """
    query = select(Timeline).where(Timeline.subject_id.in_(subject_ids)).order_by(Timeline.id)
    if after is not None:
        query = query.where(Timeline.id > after)
    return list(session.scalars(query.limit(limit)))


def last_line(session: Session, subject_id: UUID) -> str | None:
    """Return what the latest line of a subject is about."""
    lines = select(Timeline.what).where(Timeline.subject_id == subject_id)
    return session.scalar(lines.order_by(Timeline.id.desc()).limit(1))


def when(line: Timeline) -> datetime:
    """Return when a line was written."""
    return line.created_at
