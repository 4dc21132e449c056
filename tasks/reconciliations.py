"""Whether we and the providers agree: runs over a window, chunk by chunk.

reconciliations.run     go on with a run for a while
reconciliations.sweep   beat's ring: the day's runs are begun, what was left behind goes on

What a chunk has matched, whom it suspects and where the next one begins are one commit. The
provider is only ever asked: nothing is charged, refunded or changed there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import breaks, reconciliations
from models.clock import now
from models.outbox import Owed, OwedStatus, enqueue
from models.reconciliations import LAG, OVERLAP, Phase, ReconciliationRun, RunStatus
from models.tenants import Tenant
from models.transactions import Provider
from worker import crash, telemetry
from worker.app import Debt, calling_task, periodic
from worker.database import in_transaction
from worker.gateways import UnknownProvider
from worker.gateways.base import GatewayError, Rejected, Unavailable
from worker.gateways.books import Book, Entry, Subject, book_of
from worker.reconciling import looking, reading
from worker.reconciling.reading import SUBJECTS, Read

log = logging.getLogger(__name__)

# A message's worth of work: chunks are begun until then, and the rest is owed anew.
RUN_TIME_S = 15.0
LOOKED_AT_ONCE = 20  # objects that are asked about one by one in a chunk
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 600.0
LEFT_BEHIND = timedelta(minutes=10)
DAY = timedelta(days=1)
FIRST_WINDOW = timedelta(days=2)  # of a provider that was never looked at


@dataclass(frozen=True)
class Place:
    """Where a run stands; a worker that finds it elsewhere came late, and stops."""

    run_id: UUID
    provider: Provider
    phase: Phase
    checkpoint: dict[str, Any] | None
    chunk: reading.Task | None
    look_at: tuple[tuple[Subject, str], ...] = ()
    last: UUID | None = None


class _NotOurs(Exception):
    """Somebody else goes on with the run, or nobody."""


def _give_up(session: Session, owed: Owed, error: str) -> None:
    """End a run whose task is dead; the next one looks at the same again."""
    if owed.status is not OwedStatus.DEAD:
        return
    row = reconciliations.lock(session, UUID(owed.arguments["run_id"]))
    if row is not None and row.is_running:
        reconciliations.end(session, row, RunStatus.FAILED, moment=now(), error=error)
        _tell(row)


def _claim(session: Session, debt: Debt, *, run_id: str) -> Place | None:
    row = reconciliations.lock(session, UUID(run_id))
    if row is None or not row.is_running or row.task_id != debt.id:
        debt.end(session)
        return None
    if debt.waits_for(session, row.provider):
        row.waiting_for = f"{row.provider} does not answer as it should; it goes on by itself."
        row.waiting_until = session.get_one(Owed, debt.id).due_at
        return None
    row.waiting_until = row.waiting_for = None
    return _place(session, row)


@calling_task("reconciliations.run", claim=_claim, on_failure=_give_up)
def run(debt: Debt, place: Place) -> None:
    """Go on with a run. Safe twice: it only asks, and each chunk has a commit and a place."""
    until = time.monotonic() + RUN_TIME_S
    going: Place | None = place
    try:
        book = book_of(place.provider)
        while going is not None and time.monotonic() < until:
            going = _step(debt, going, book)
    except Unavailable as error:
        in_transaction(_wait, None, debt, place.run_id, error)
    except GatewayError as error:
        in_transaction(_reject, None, debt, place.run_id, error)
    except _NotOurs:
        in_transaction(debt.end, None)
    else:
        if going is not None:
            in_transaction(_turn, None, debt, place.run_id)


def _step(debt: Debt, place: Place, book: Book) -> Place | None:
    """Do one chunk; return where the run goes on, None where it has ended."""
    if place.chunk is not None:
        told = reading.read(book, place.chunk)
        crash.point("reconciliations.read")
        after = in_transaction(_keep_chunk, None, debt, place, told, book)
    else:
        found = [(subject, each, book.one(subject, each)) for subject, each in place.look_at]
        crash.point("reconciliations.read")
        after = in_transaction(_keep_looks, None, debt, place, found)
    crash.point("reconciliations.kept")
    return after


def _held(session: Session, debt: Debt, place: Place) -> ReconciliationRun:
    """Return the run, locked and as the chunk was begun with.

    Raises:
        _NotOurs: it has gone on without us.
    """
    row = reconciliations.lock(session, place.run_id)
    if row is None or not row.is_running or row.task_id != debt.id:
        raise _NotOurs
    if (row.phase, row.checkpoint) != (place.phase, place.checkpoint):
        raise _NotOurs
    return row


def _keep_chunk(session: Session, debt: Debt, place: Place, told: Read, book: Book) -> Place | None:
    row = _held(session, debt, place)
    assert place.chunk is not None  # noqa: S101  of the caller
    goes_on = reading.match(session, row, place.chunk, told, book)
    return _go_on(session, debt, row, is_over=not goes_on)


def _keep_looks(
    session: Session, debt: Debt, place: Place, found: list[tuple[Subject, str, Entry | None]]
) -> Place | None:
    row = _held(session, debt, place)
    moment = now()
    for subject, object_id, theirs in found:
        confirmed, opened, closed = looking.settle(
            session, row, subject, object_id, theirs, moment=moment
        )
        row.confirmed += confirmed
        row.opened += opened
        row.closed += closed
    if place.last is not None:
        row.checkpoint = {"id": str(place.last)}
    return _go_on(session, debt, row, is_over=place.last is None)


def _go_on(session: Session, debt: Debt, row: ReconciliationRun, *, is_over: bool) -> Place | None:
    """Return the next place of a locked run, or end it with its debt."""
    row.waits = 0
    if is_over and not reconciliations.turn_page(row):
        reconciliations.end(session, row, RunStatus.DONE, moment=now())
        enqueue(session, "repairs.begin", run_id=row.id)
        debt.end(session)
        _tell(row)
        return None
    session.flush()
    return _place(session, row)


def _place(session: Session, row: ReconciliationRun) -> Place:
    """Return what a locked run has to do next."""
    chunk: reading.Task | None = None
    look_at: list[tuple[Subject, str]] = []
    last: UUID | None = None
    if row.phase in SUBJECTS:
        chunk = reading.Task.of(row)
    else:
        after = UUID(row.checkpoint["id"]) if row.checkpoint else None
        look_at, last = _LISTS[row.phase](session, row, after)
    return Place(row.id, row.provider, row.phase, row.checkpoint, chunk, tuple(look_at), last)


Listed = tuple[list[tuple[Subject, str]], UUID | None]


def _suspects(session: Session, row: ReconciliationRun, after: UUID | None) -> Listed:
    found = reconciliations.suspects_after(session, row.id, after, limit=LOOKED_AT_ONCE)
    listed = [(Subject(each.kind), each.object_id) for each in found]
    return listed, found[-1].id if found else None


def _open(session: Session, row: ReconciliationRun, after: UUID | None) -> Listed:
    found = breaks.open_before(
        session,
        provider=row.provider,
        account=row.account,
        run_id=row.id,
        after=after,
        limit=LOOKED_AT_ONCE,
    )
    listed = [(Subject(each.subject), each.object_id) for each in found]
    return listed, found[-1].id if found else None


_LISTS: dict[Phase, Callable[[Session, ReconciliationRun, UUID | None], Listed]] = {
    Phase.SUSPECTS: _suspects,
    Phase.OPEN: _open,
}


def _turn(session: Session, debt: Debt, run_id: UUID) -> None:
    """Let others have the worker; the run goes on with the next message."""
    debt.end(session)
    row = reconciliations.lock(session, run_id)
    if row is not None and row.is_running and row.task_id == debt.id:
        reconciliations.owe_chunk(session, row)


def _wait(session: Session, debt: Debt, run_id: UUID, error: Unavailable) -> None:
    """Go on when the provider wishes, or ever later; what was matched stays."""
    row = reconciliations.lock(session, run_id)
    if row is None or not row.is_running or row.task_id != debt.id:
        debt.end(session)
        return
    growing_s = min(FIRST_WAIT_S * 2 ** min(row.waits, 10), LONGEST_WAIT_S)
    row.waits += 1
    row.waiting_until = now() + timedelta(seconds=max(error.retry_after_s or 0, growing_s))
    row.waiting_for = f"{row.provider}: {error}"
    debt.defer(session, until=row.waiting_until, why=str(error))


def _reject(session: Session, debt: Debt, run_id: UUID, error: GatewayError) -> None:
    """Begin a stream anew where its place is gone; what else is refused a person must mend."""
    debt.end(session)
    row = reconciliations.lock(session, run_id)
    if row is None or not row.is_running or row.task_id != debt.id:
        return
    is_gone = isinstance(error, Rejected) and error.code == "resource_missing"
    if is_gone and row.phase in SUBJECTS and row.checkpoint:
        row.checkpoint = None
        reconciliations.owe_chunk(session, row)
    else:
        reconciliations.end(session, row, RunStatus.FAILED, moment=now(), error=str(error))
        _tell(row)


def _tell(row: ReconciliationRun) -> None:
    """Count how a run has ended."""
    telemetry.count("reconciliations.ended", provider=str(row.provider), outcome=str(row.status))


@periodic("reconciliations.sweep")
def sweep() -> None:
    """Begin what is due and go on with what nobody is owed for. Safe in any number of copies."""
    moment = now()
    for run_id in in_transaction(reconciliations.left_behind, None, before=moment - LEFT_BEHIND):
        in_transaction(_owe_again, None, run_id)
    for provider in LAG:
        if _is_connected(provider):
            try:
                in_transaction(_begin_due, None, provider, moment)
            except IntegrityError:
                # One is running: it was begun by hand, or by another beat just now.
                log.debug("a run of %s is under way", provider)


def _is_connected(provider: Provider) -> bool:
    try:
        book_of(provider)
    except UnknownProvider:
        return False
    return True


def _begin_due(session: Session, provider: Provider, moment: datetime) -> None:
    """Begin the day's run of a provider, as far as its lists can be trusted by now."""
    end = (moment - LAG[provider]).replace(microsecond=0)
    last = reconciliations.last_end(session, provider)
    if last is not None and end - last < DAY:
        return
    tenant_id = session.scalar(select(Tenant.id).where(Tenant.is_platform.is_(True)).limit(1))
    key = reconciliations.running_key(provider, "")
    busy = select(ReconciliationRun.id).where(ReconciliationRun.running_key == key)
    if tenant_id is None or session.scalar(busy) is not None:
        return
    starts_at = end - FIRST_WINDOW if last is None else last - OVERLAP
    reconciliations.begin(
        session, tenant_id=tenant_id, provider=provider, starts_at=starts_at, ends_at=end
    )


def _owe_again(session: Session, run_id: UUID) -> None:
    row = reconciliations.lock(session, run_id)
    if row is None or not row.is_running:
        return
    if row.task_id is None or session.get(Owed, row.task_id) is None:
        reconciliations.owe_chunk(session, row)
