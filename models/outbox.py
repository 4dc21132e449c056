"""The outbox: all work that is owed. The broker is a doorbell; these rows are the truth.

A row is written in the transaction that makes the work due and deleted in the one that records
its effect. In between, messages only ring the bell: lost ones are rung again, doubled ones find
nothing owed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    Index,
    Integer,
    String,
    Text,
    case,
    event,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import BY_KEY, COMPANY, Changing, across_companies, words
from models.clock import now
from models.ids import new_id

# The specification's minutes: a task that failed comes back after 1, 2, 4 and 8 of them.
RETRIES = 4
# Starts that never ended: a task that kills its worker this often is not started again.
STARTS = 5
# An event's rows that one run of a task takes, so that a transaction stays short.
BATCH = 200
# In a session's info: what it holds for a group, and what ends with its commit.
_TAKEN = "taken"
_ENDED = "ended"


class OwedStatus(StrEnum):
    """Owed, or dead: given up after its last failure, kept for a person to see and replay.

    Dismissed: a person has seen to it, and it is not to be replayed. It is kept, for what it was
    owed for may still stand as it does because of it.
    """

    OWED = "owed"
    DEAD = "dead"
    DISMISSED = "dismissed"


class Owed(Changing):
    """One task that is owed. The message that is sent for it carries its id."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("idx_outbox_due", "status", "queue", "due_at"),
        # In the order of their ids, which is that of their times.
        Index("idx_outbox_queue", "queue", "status"),
        {"info": {"company_owned": False}},
    )

    task: Mapped[str] = mapped_column(String(100))
    queue: Mapped[str] = mapped_column(String(40))
    arguments: Mapped[dict[str, Any]] = mapped_column(JSON)
    company_id: Mapped[UUID | None]
    request_id: Mapped[str | None] = mapped_column(String(100))
    status: Mapped[OwedStatus] = mapped_column(words(OwedStatus), default=OwedStatus.OWED)
    due_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    sends: Mapped[int] = mapped_column(Integer, default=0)
    starts: Mapped[int] = mapped_column(Integer, default=0)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    claimed_until: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)


def queue_of(task: str) -> str:
    """Return the queue of a task: a queue a subject, named like the module."""
    return task.partition(".")[0]


def enqueue(
    session: Session,
    task: str,
    *,
    company_id: UUID | None = None,
    due_at: datetime | None = None,
    **arguments: Any,
) -> Owed:
    """Owe a task. It is sent after the commit, or by the sweeper when `due_at` has come.

    Args:
        session: the transaction that makes the work due; its `info` may carry `request_id`.
        task: the task's registered name.
        company_id: whose work it is; the session's company unless given.
        due_at: not before this time; at once if None.
        arguments: what the task is called with; ids as UUID, and nothing secret.
    """
    moment = now()
    owed = Owed(
        id=new_id(),
        task=task,
        queue=queue_of(task),
        arguments={k: str(v) if isinstance(v, UUID) else v for k, v in arguments.items()},
        company_id=company_id or session.info.get(COMPANY),
        request_id=session.info.get("request_id"),
        # A row that is sent right after the commit is the sweeper's only once that is overdue.
        due_at=due_at or moment + timedelta(seconds=session.info.get("resend_after_s", 30)),
        sent_at=None if due_at else moment,
        sends=0 if due_at else 1,
    )
    session.add(owed)
    if due_at is None:
        session.info.setdefault("owed", []).append(owed)
    return owed


def take(session: Session, owed_id: UUID) -> Owed | None:
    """Lock what is owed for one transaction; None if it is done, dead or in other hands."""
    taken: dict[UUID, Owed] | None = session.info.get(_TAKEN)
    if taken is not None:
        # Once only: a message that came twice may be in the same group twice.
        return taken.pop(owed_id, None)
    return session.scalars(
        select(Owed)
        .where(Owed.id == owed_id, Owed.status == OwedStatus.OWED)
        .with_for_update(skip_locked=True)
    ).one_or_none()


def take_all(session: Session, owed_ids: Collection[UUID]) -> Sequence[Owed]:
    """Lock what is owed for a transaction that acts for many; what `take` returns is among it."""
    found = session.scalars(
        select(Owed)
        .where(Owed.id.in_(sorted(owed_ids)), Owed.status == OwedStatus.OWED)
        .with_hint(Owed, BY_KEY)
        .with_for_update(skip_locked=True)
    ).all()
    session.info[_TAKEN] = {owed.id: owed for owed in found}
    return found


def claim(session: Session, owed_id: UUID, *, moment: datetime, for_s: float) -> Owed | None:
    """Take what is owed under a lease that outlives this transaction, for a call to a provider."""
    owed = take(session, owed_id)
    if owed is None or (owed.claimed_until and owed.claimed_until > moment):
        return None
    owed.claimed_until = moment + timedelta(seconds=for_s)
    # While it is in somebody's hands it is not the sweeper's.
    owed.due_at = max(owed.due_at, owed.claimed_until)
    return owed


def end(session: Session, owed_id: UUID) -> None:
    """End the debt: the effect is recorded in this same transaction."""
    session.info.setdefault(_ENDED, []).append(owed_id)


@event.listens_for(Session, "before_commit")
def _delete_ended(session: Session) -> None:
    """Delete all that the transaction has ended by one statement, after what it has written."""
    ended = session.info.pop(_ENDED, None)
    if ended:
        session.flush()
        delete_all(session, ended)


def delete_all(session: Session, owed_ids: Collection[UUID]) -> None:
    """Delete debts that this transaction holds, and read no others on the way.

    From `id IN (...)` MySQL would make a scan of a small table, whatever it is told of indexes,
    and wait for every row of it that somebody else holds. A join in a fixed order looks up each.
    """
    if not owed_ids:
        return
    ids = {f"id_{number}": owed_id.bytes for number, owed_id in enumerate(sorted(owed_ids))}
    ended = " UNION ALL ".join(f"SELECT :{name} AS id" for name in ids)
    statement = text(
        f"DELETE outbox FROM ({ended}) AS ended "
        "STRAIGHT_JOIN outbox FORCE INDEX (PRIMARY) ON outbox.id = ended.id"
    )
    session.execute(across_companies(statement, because="they are held, whosesoever"), ids)


def count_start(session: Session, owed_id: UUID, *, moment: datetime) -> Owed | None:
    """Count a start of a message that came back; None if it is done or in other hands.

    One that has killed too many workers is dead from here on.
    """
    owed = take(session, owed_id)
    if owed is None or (owed.claimed_until and owed.claimed_until > moment):
        return None
    owed.starts += 1
    if owed.starts >= STARTS:
        owed.status = OwedStatus.DEAD
        owed.error = f"its worker died {owed.starts} times while it ran"
        owed.due_at = moment
    return owed


def forget_start(session: Session, owed_id: UUID) -> None:
    """Take a start back that ended without killing its worker."""
    session.execute(
        update(Owed).where(Owed.id == owed_id, Owed.starts > 0).values(starts=Owed.starts - 1)
    )


def defer(session: Session, owed_id: UUID, *, until: datetime, why: str) -> None:
    """Put the work off without counting a failure."""
    owed = session.get(Owed, owed_id)
    if owed is None:
        return
    owed.due_at = until
    owed.sent_at = owed.claimed_until = None
    # Who puts it off lives: the next message is as good as the first.
    owed.starts = owed.sends = 0
    owed.error = why[:2000]


def fail(
    session: Session, owed_id: UUID, *, moment: datetime, error: str, backoff_s: float
) -> Owed | None:
    """Count a failure: due again after 1, 2, 4, 8 times `backoff_s`, then dead."""
    owed = session.get(Owed, owed_id, with_for_update=True)
    if owed is None:
        return None
    owed.failures += 1
    owed.starts = 0
    owed.error = error[:2000]
    owed.claimed_until = None
    owed.sent_at = None
    if owed.failures > RETRIES:
        owed.status = OwedStatus.DEAD
        owed.due_at = moment
    else:
        owed.due_at = moment + timedelta(seconds=backoff_s * 2 ** (owed.failures - 1))
    return owed


def revive(session: Session, owed: Owed) -> None:
    """Owe a dead letter again, as if it were new; it is sent after the commit."""
    moment = now()
    owed.status = OwedStatus.OWED
    owed.failures = owed.starts = 0
    owed.claimed_until = owed.error = None
    owed.sends, owed.sent_at = 1, moment
    owed.due_at = moment + timedelta(seconds=session.info.get("resend_after_s", 30))
    session.info.setdefault("owed", []).append(owed)


def ended_in(session: Session) -> Sequence[UUID]:
    """Return the debts that this transaction will have ended with its commit."""
    return tuple(session.info.get(_ENDED, ()))


def overdue(
    session: Session,
    queue: str,
    *,
    moment: datetime,
    sent_before: datetime | None,
    limit: int = BATCH,
) -> Sequence[Owed]:
    """Lock what is owed on `queue`, due, and not in the broker any more.

    Args:
        sent_before: what was sent at or after this time still waits in the broker, so that
            sending it again would only double the queue; None if the broker holds nothing.
    """
    waiting = (
        [] if sent_before is None else [or_(Owed.sent_at.is_(None), Owed.sent_at < sent_before)]
    )
    return session.scalars(
        select(Owed)
        .where(Owed.status == OwedStatus.OWED, Owed.queue == queue, Owed.due_at <= moment, *waiting)
        # Another index would lock what is not due, and whoever is rung for it would find it held.
        .with_hint(Owed, "FORCE INDEX (idx_outbox_due)")
        .order_by(Owed.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()


def mark_sent(owed: Owed, *, moment: datetime, resend_after_s: float) -> None:
    """Record that a message is about to be sent; the next one is due later each time."""
    owed.sends += 1
    owed.sent_at = moment
    wait_s = resend_after_s * 2 ** min(owed.sends - 1, 6)
    owed.due_at = moment + timedelta(seconds=wait_s)


def recall(session: Session, ids: Sequence[UUID], *, moment: datetime) -> None:
    """Make rows due at once whose message could not be sent."""
    session.execute(
        update(Owed)
        .where(Owed.id.in_(ids), Owed.status == OwedStatus.OWED)
        .values(due_at=moment, sent_at=None)
    )


def recall_all(session: Session, *, moment: datetime) -> int:
    """Make all that is owed and due by its own date due at once: the broker lost its data.

    What waits for a later time (never sent) keeps it; what is under a lease keeps that.
    """
    result = session.execute(
        update(Owed)
        .where(
            Owed.status == OwedStatus.OWED,
            Owed.sent_at.is_not(None),
            or_(Owed.claimed_until.is_(None), Owed.claimed_until <= moment),
        )
        .values(due_at=moment, sent_at=None)
    )
    return int(result.rowcount)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Age:
    """What a queue has: how much, how old the oldest dead letter is, how overdue the rest.

    Due is what nobody has done by the time that it should have been.
    """

    owed: int = 0
    due: int = 0
    dead: int = 0
    oldest_dead_s: float = 0.0
    oldest_due_s: float = 0.0


def ages(session: Session, *, moment: datetime) -> dict[str, Age]:
    """Return what each queue with rows has."""
    rows = session.execute(
        select(
            Owed.queue,
            Owed.status,
            func.count(),
            func.count(case((Owed.due_at <= moment, 1))),
            func.min(Owed.due_at),
        ).group_by(Owed.queue, Owed.status)
    )
    found: dict[str, Age] = {}
    for queue, status, number, due, oldest in rows:
        age = found.setdefault(queue, Age())
        age_s = max(0.0, (moment - oldest).total_seconds())
        if status is OwedStatus.DEAD:
            found[queue] = replace(age, dead=number, oldest_dead_s=age_s)
        elif status is OwedStatus.OWED:
            found[queue] = replace(age, owed=number, due=due, oldest_due_s=age_s)
    return found
