"""Reconciliations: a run asks over a window whether we and a provider agree, and remembers how far.

A run is the installation's: there is one account at a provider. What it has read and what it could
not match are one commit a chunk, so that whoever dies in between has lost nothing. What it could
not match is a suspect first; once the stream has ended each is asked about once more, on both
sides, and only what still disagrees then becomes a break.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    delete,
    select,
)
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import PROVIDER_ID, Base, Changing, words
from models.ids import new_id
from models.outbox import Owed, enqueue
from models.transactions import Provider

TASK = "reconciliations.run"
# How long a provider may take until its lists tell what has happened, the longest that it says.
LAG = {Provider.STRIPE: timedelta(minutes=15), Provider.PAYPAL: timedelta(hours=3)}
# A day's run looks at the end of the day before once more: what came late is seen by the next.
OVERLAP = timedelta(hours=12)
LONGEST = timedelta(days=366)


class RunStatus(StrEnum):
    """Where a run stands. What has ended never goes on; it is begun anew, which is safe."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Phase(StrEnum):
    """What a run is at: the streams, then what they left unmatched, then what was open before."""

    CHARGES = "charges"
    REFUNDS = "refunds"
    DISPUTES = "disputes"
    CUSTOMERS = "customers"
    SUSPECTS = "suspects"
    OPEN = "open"


STREAMS = (Phase.CHARGES, Phase.REFUNDS, Phase.DISPUTES, Phase.CUSTOMERS)
# PayPal's report has refunds and reversals among the payments; PayPal lists no customers.
PHASES = {
    Provider.STRIPE: (*STREAMS, Phase.SUSPECTS, Phase.OPEN),
    Provider.PAYPAL: (
        Phase.CHARGES,
        Phase.REFUNDS,
        Phase.DISPUTES,
        Phase.SUSPECTS,
        Phase.OPEN,
    ),
}
COUNTS = ("provider_rows", "our_rows", "matched", "suspects", "confirmed", "opened", "closed")


class ReconciliationRun(Changing):
    """One run: its window (the end not included), how far it is, and what became of it.

    `running_key` is the provider and the account while it runs, so that there is one of each.
    """

    __tablename__ = "reconciliation_runs"
    __table_args__ = (
        UniqueConstraint("running_key"),
        Index("idx_reconciliation_runs_status", "status", "id"),
        Index("idx_reconciliation_runs_provider", "provider", "id"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    provider: Mapped[Provider] = mapped_column(words(Provider))
    account: Mapped[str] = mapped_column(String(50, collation="utf8mb4_bin"), default="")
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    status: Mapped[RunStatus] = mapped_column(words(RunStatus), default=RunStatus.RUNNING)
    phase: Mapped[Phase] = mapped_column(words(Phase), default=Phase.CHARGES)
    running_key: Mapped[str | None] = mapped_column(String(100))
    # Where the phase goes on, on both sides; NULL at its beginning.
    checkpoint: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    provider_rows: Mapped[int] = mapped_column(Integer, default=0)
    our_rows: Mapped[int] = mapped_column(Integer, default=0)
    matched: Mapped[int] = mapped_column(Integer, default=0)
    suspects: Mapped[int] = mapped_column(Integer, default=0)
    confirmed: Mapped[int] = mapped_column(Integer, default=0)  # found to disagree, known or new
    opened: Mapped[int] = mapped_column(Integer, default=0)
    closed: Mapped[int] = mapped_column(Integer, default=0)
    waiting_until: Mapped[datetime | None]
    waiting_for: Mapped[str | None] = mapped_column(Text)
    waits: Mapped[int] = mapped_column(Integer, default=0)  # in a row, without a chunk between
    task_id: Mapped[UUID | None]  # what is owed for the next chunk
    asked_by: Mapped[UUID | None]  # nobody: the day's own
    error: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[datetime | None]

    @property
    def is_running(self) -> bool:
        """Whether more of it is to come."""
        return self.status == RunStatus.RUNNING


class ReconciliationSuspect(Base):
    """What a run could not match, or matched and found different: to be asked about once more.

    `object_id` is the provider's, on whichever side it was seen.
    """

    __tablename__ = "reconciliation_suspects"
    __table_args__ = (UniqueConstraint("run_id", "kind", "object_id"),)

    run_id: Mapped[UUID] = mapped_column(ForeignKey("reconciliation_runs.id"))
    kind: Mapped[str] = mapped_column(String(20))  # charge, refund, dispute, customer
    object_id: Mapped[str] = mapped_column(PROVIDER_ID)


def running_key(provider: str, account: str) -> str:
    """Return what one run holds while it runs."""
    return f"{provider}:{account}"


def begin(  # noqa: PLR0913  what a run is
    session: Session,
    *,
    tenant_id: UUID,
    provider: Provider,
    starts_at: datetime,
    ends_at: datetime,
    account: str = "",
    asked_by: UUID | None = None,
) -> ReconciliationRun:
    """Begin a run and owe its first chunk.

    Raises:
        IntegrityError: one of the provider's account is running.
    """
    row = ReconciliationRun(
        id=new_id(),
        tenant_id=tenant_id,
        provider=provider,
        account=account,
        starts_at=starts_at,
        ends_at=ends_at,
        status=RunStatus.RUNNING,
        phase=Phase.CHARGES,
        running_key=running_key(provider, account),
        asked_by=asked_by,
        waits=0,
    )
    for name in COUNTS:
        setattr(row, name, 0)
    session.add(row)
    session.flush()
    owe_chunk(session, row)
    return row


def owe_chunk(session: Session, row: ReconciliationRun) -> None:
    """Owe the next chunk of a locked run."""
    row.task_id = enqueue(session, TASK, run_id=row.id).id


def lock(session: Session, run_id: UUID) -> ReconciliationRun | None:
    """Return a run, locked until the commit."""
    return session.scalars(
        select(ReconciliationRun)
        .where(ReconciliationRun.id == run_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def turn_page(row: ReconciliationRun) -> bool:
    """Let a locked run begin its next phase; False where that was the last."""
    phases = PHASES[row.provider]
    place = phases.index(row.phase) + 1
    row.checkpoint = None
    if place == len(phases):
        return False
    row.phase = phases[place]
    return True


def end(
    session: Session,
    row: ReconciliationRun,
    status: RunStatus,
    *,
    moment: datetime,
    error: str | None = None,
) -> None:
    """End a locked run; another of its provider may be begun from now on."""
    row.status, row.error, row.finished_at = status, error, moment
    row.running_key = row.task_id = row.waiting_until = row.waiting_for = None
    session.execute(delete(ReconciliationSuspect).where(ReconciliationSuspect.run_id == row.id))


def suspect(session: Session, run_id: UUID, kind: str, ids: Collection[str]) -> None:
    """Remember what is to be asked about once more; what is remembered already stays so."""
    if not ids:
        return
    rows = [{"id": new_id(), "run_id": run_id, "kind": kind, "object_id": each} for each in ids]
    fresh = insert(ReconciliationSuspect)
    own = ReconciliationSuspect.__table__.c
    session.execute(fresh.on_duplicate_key_update(object_id=own.object_id), rows)


def acquit(session: Session, run_id: UUID, kind: str, ids: Collection[str]) -> None:
    """Forget suspects that have been found to agree."""
    if ids:
        session.execute(
            delete(ReconciliationSuspect).where(
                ReconciliationSuspect.run_id == run_id,
                ReconciliationSuspect.kind == kind,
                ReconciliationSuspect.object_id.in_(ids),
            )
        )


def suspects_after(
    session: Session, run_id: UUID, after: UUID | None, *, limit: int
) -> list[ReconciliationSuspect]:
    """Return the next suspects of a run, in the order in which they were found."""
    query = select(ReconciliationSuspect).where(ReconciliationSuspect.run_id == run_id)
    if after is not None:
        query = query.where(ReconciliationSuspect.id > after)
    return list(session.scalars(query.order_by(ReconciliationSuspect.id).limit(limit)))


def last_end(session: Session, provider: Provider, account: str = "") -> datetime | None:
    """Return until when a provider's runs have looked, if any has ended."""
    return session.scalar(
        select(ReconciliationRun.ends_at)
        .where(
            ReconciliationRun.provider == provider,
            ReconciliationRun.account == account,
            ReconciliationRun.status == RunStatus.DONE,
        )
        .order_by(ReconciliationRun.ends_at.desc())
        .limit(1)
    )


def left_behind(session: Session, *, before: datetime, limit: int = 10) -> list[UUID]:
    """Return runs that have nothing owed for them, which nobody would go on with."""
    return list(
        session.scalars(
            select(ReconciliationRun.id)
            .outerjoin(Owed, Owed.id == ReconciliationRun.task_id)
            .where(
                ReconciliationRun.status == RunStatus.RUNNING,
                ReconciliationRun.updated_at < before,
                Owed.id.is_(None),
            )
            .limit(limit)
        )
    )
