"""Rows that a transaction has locked: each is asked for once, and is at hand from then on.

A transaction that acts for many (`worker.together`) locks all their rows by one statement with
`lock_all`; what the acts then `lock` one by one costs nothing more. A lock lasts until the commit,
so a row that is at hand cannot have changed since.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import event, select
from sqlalchemy.orm import InstrumentedAttribute, Session, SessionTransaction, joinedload
from sqlalchemy.sql.base import ExecutableOption

from models.base import BY_KEY, COMPANY, TURNS, Base, CompanyOwned, across_companies

Row = TypeVar("Row", bound=Base)

_HELD = "held"
# In a group nobody waits for a lock that others hold: see worker.together.
IN_GROUP = "in_group"


def lock(session: Session, kind: type[Row], row_id: UUID) -> Row | None:
    """Return the session's company's row, locked until the commit."""
    held, turn = _held(session), session.info.get(TURNS)
    if (kind, row_id) not in held:
        found = session.scalars(
            select(kind)
            .where(kind.id == row_id)
            .with_for_update(nowait=session.info.get(IN_GROUP, False))
            .execution_options(populate_existing=True)
        ).one_or_none()
        if found is not None:
            held[kind, row_id] = [found, turn]
        return found
    entry = held[kind, row_id]
    row, last_turn = entry
    if isinstance(row, CompanyOwned) and row.company_id != session.info.get(COMPANY):
        return None
    if last_turn not in (None, turn):
        # An earlier act had it: what it changed must be in the tables that this one may ask.
        session.flush()
    entry[1] = turn
    return row  # type: ignore[no-any-return]


def lock_existing(session: Session, kind: type[Row], row_id: UUID) -> Row:
    """Return a row that is known to exist, locked until the commit."""
    row = lock(session, kind, row_id)
    if row is None:
        raise LookupError(f"there is no {kind.__name__} {row_id}")
    return row


def lock_all(
    session: Session,
    kind: type[Row],
    row_ids: Collection[UUID],
    *,
    options: Sequence[ExecutableOption] = (),
    along: InstrumentedAttribute[Any] | None = None,
) -> dict[UUID, Row]:
    """Lock rows of several companies that nobody else holds, and leave the others out.

    Whoever acts for a company still gets only its own rows from `lock`.

    Args:
        options: what is loaded with them and not locked.
        along: the one row beside each that is locked with it.
    """
    if along is not None:
        options = [*options, joinedload(along, innerjoin=True)]
    held = _held(session)
    found = session.scalars(
        across_companies(
            select(kind)
            .where(kind.id.in_(sorted(set(row_ids))))
            .with_hint(kind, BY_KEY)
            .with_for_update(skip_locked=True)
            .options(*options)
            .execution_options(populate_existing=True),
            because="one statement locks for all whom the transaction acts for",
        )
    ).all()
    for row in found:
        held[kind, row.id] = [row, None]
        if along is not None:
            beside = getattr(row, along.key)
            held[type(beside), beside.id] = [beside, None]
    return {row.id: row for row in found}


def _held(session: Session) -> dict[tuple[type[Any], UUID], list[Any]]:
    held: dict[tuple[type[Any], UUID], list[Any]] = session.info.setdefault(_HELD, {})
    return held


def is_held(session: Session, row: Base) -> bool:
    """Whether this transaction has locked or made the row."""
    return row in session.new or (type(row), row.id) in _held(session)


@event.listens_for(Session, "pending_to_persistent")
def _hold_what_is_made(session: Session, row: object) -> None:
    """Nobody else has a row before the commit of the transaction that made it."""
    if isinstance(row, Base):
        _held(session)[type(row), row.id] = [row, session.info.get(TURNS)]


@event.listens_for(Session, "after_transaction_end")
def _let_go(session: Session, ended: SessionTransaction) -> None:
    """A lock ends with its transaction; a session may begin another one."""
    if ended.parent is None:
        session.info.pop(_HELD, None)
