"""The Celery app and the two kinds of task.

`task` is one transaction: it locks what is owed, acts, and ends the debt in the same commit.
`calling_task` reaches a provider: it claims, calls with no transaction open, and records; it ends
the `Debt` that it holds in the transaction that records.

A message carries the id of an outbox row. What the task works from is the row; a message whose row
is gone, claimed or dead does nothing, so any message may come any number of times.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from celery import Celery
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from models import outbox
from models.base import turn_to
from models.clock import now
from models.outbox import Owed, OwedStatus
from models.timeline import Cause
from models.tracking import track_for
from worker import crash, dry_run, stopping, telemetry
from worker.breaker import breaker_of
from worker.database import in_transaction, is_away, is_conflict
from worker.group_commit import GroupCommit
from worker.settings import settings
from worker.telemetry.celery_log import listen
from worker.together import Together

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Claimed = TypeVar("Claimed")
TransactionWork = Callable[..., None]
OnFailure = Callable[[Session, Owed, str], None]
Hold = Callable[[Session, Sequence[Owed]], None]
# What a task does in its first transaction: all of it, or its claim. For `worker.preview`.
Act = Callable[[Session, UUID], Any]
# Gets the id of what is owed, and whether this is surely the first message for it.
Run = Callable[[UUID, bool], None]


class Later(Exception):
    """The work cannot be done yet; it goes back without counting as a failure."""

    def __init__(self, why: str, *, after_s: float) -> None:
        super().__init__(why)
        self.after_s = after_s


@dataclass(frozen=True)
class Debt:
    """What is owed, as a calling task holds it under a lease."""

    id: UUID
    company_id: UUID | None
    request_id: str | None
    arguments: Mapping[str, Any]

    @property
    def reply(self) -> str | None:
        """The key on which somebody waits for the answer, if anybody does."""
        return self.arguments.get("reply")

    def end(self, session: Session) -> None:
        """End it, in the transaction that records the effect."""
        outbox.end(session, self.id)

    def defer(self, session: Session, *, until: datetime, why: str) -> None:
        """Put it off, in the transaction that records why."""
        outbox.defer(session, self.id, until=until, why=why)

    def waits_for(self, session: Session, provider: str) -> bool:
        """Put it off while the provider's breaker is open; True if it was put off.

        To be asked before anything is written: then nothing is claimed, and no try is used up.
        """
        if dry_run.is_on():  # it must not become the probe
            return False
        wait_s = breaker_of(provider).wait_s(str(self.id))
        if wait_s:
            until = now() + timedelta(seconds=wait_s)
            self.defer(session, until=until, why=f"{provider} is away")
        return wait_s > 0

    def cause(self, why: str) -> Cause:
        """Return this task as a cause for the timeline."""
        return Cause(why=why, request_id=self.request_id, task_id=self.id)


app = Celery("paybeat")
app.config_from_object("celeryconfig")
listen()
stopping.listen()


def task(
    name: str, *, on_failure: OnFailure | None = None, hold: Hold | None = None
) -> Callable[[TransactionWork], TransactionWork]:
    """Register a one-transaction task: `work(session, cause, **arguments)`.

    The session is the company's whose work it is. Raising rolls everything back and counts a
    failure; raising `Later` does not count.

    Args:
        name: `<module>.<verb>`.
        on_failure: called as `(session, owed, error)` in the transaction that counts a failure;
            `owed.status` tells whether it was the last.
        hold: locks what several of these works will ask for; they then share a transaction.
    """

    def register(work: TransactionWork) -> TransactionWork:
        def act(session: Session, owed_id: UUID) -> None:
            owed = outbox.take(session, owed_id)
            if owed is None:
                return
            turn_to(session, owed.company_id, request_id=owed.request_id)
            cause = Cause(why=name, request_id=owed.request_id, task_id=owed.id)
            with telemetry.bind(**_ids_of(owed)):
                work(session, cause, **owed.arguments)
            outbox.end(session, owed.id)

        _acts[name] = act
        acting = _acting(act, hold)

        def run(owed_id: UUID, is_first: bool) -> None:  # noqa: FBT001
            acting(owed_id, is_first)
            crash.point(f"{name}.committed")

        _register(name, run, on_failure)
        return work

    return register


_acts: dict[str, Act] = {}


def acts() -> Mapping[str, Act]:
    """Return what each task does first, by its name."""
    app.loader.import_default_modules()
    return _acts


def _acting(
    act: Callable[[Session, UUID], Answer], hold: Hold | None
) -> Callable[[UUID, bool], Answer]:
    """Return what runs `act` for one debt: together with others where `hold` is given."""
    if hold is None:
        return lambda owed_id, _: in_transaction(act, None, owed_id)
    together = Together(act, partial(_hold, hold))

    def run(owed_id: UUID, is_first: bool) -> Answer:  # noqa: FBT001
        # What may have killed its worker takes no others along.
        return together.run(owed_id) if is_first else in_transaction(act, None, owed_id)

    return run


def _hold(hold: Hold, session: Session, owed_ids: Sequence[UUID]) -> None:
    hold(session, outbox.take_all(session, owed_ids))


def calling_task(
    name: str,
    *,
    claim: Callable[..., Claimed | None],
    on_failure: OnFailure | None = None,
    hold: Hold | None = None,
) -> Callable[[Callable[[Debt, Claimed], None]], Callable[[Debt, Claimed], None]]:
    """Register a task that calls a provider: `work(debt, claimed)`.

    It ends or defers the debt in its last transaction.

    Args:
        claim: called as `(session, debt, **arguments)` in the transaction that takes the debt
            under a lease; returns what the call needs, or ends or defers the debt and returns
            None.
        hold: locks what several claims will ask for; they then share a transaction.
    """

    def register(work: Callable[[Debt, Claimed], None]) -> Callable[[Debt, Claimed], None]:
        def act(session: Session, owed_id: UUID) -> tuple[Debt, Claimed] | None:
            lease_s = settings().claim_lease_s
            owed = outbox.claim(session, owed_id, moment=now(), for_s=lease_s)
            if owed is None:
                return None
            turn_to(session, owed.company_id, request_id=owed.request_id)
            debt = Debt(owed.id, owed.company_id, owed.request_id, owed.arguments)
            with telemetry.bind(**_ids_of(owed)):
                claimed = claim(session, debt, **owed.arguments)
            return None if claimed is None else (debt, claimed)

        _acts[name] = act
        claiming = _acting(act, hold)

        def run(owed_id: UUID, is_first: bool) -> None:  # noqa: FBT001
            taken = claiming(owed_id, is_first)
            if taken is not None:
                debt, claimed = taken
                with telemetry.bind(**_ids_of(debt)):
                    work(debt, claimed)

        _register(name, run, on_failure)
        return work

    return register


def draining_task(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a task of which one run serves all that is owed under its name.

    The work ends the debts itself. Messages that come while it runs share the next run.
    """

    def register(work: Callable[[], None]) -> Callable[[], None]:
        def serve(owed_ids: list[UUID]) -> tuple[list[None], Callable[[], None]]:
            work()
            return [None] * len(owed_ids), lambda: None

        runs: GroupCommit[UUID, None] = GroupCommit(serve, most=1000)

        def run(owed_id: UUID, _: bool) -> None:  # noqa: FBT001
            runs.put(owed_id, size=1)
            crash.point(f"{name}.committed")

        _register(name, run, None)
        return work

    return register


def periodic(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register what beat rings: it claims what is due, so any number of rings do no harm."""

    def register(work: Callable[[], None]) -> Callable[[], None]:
        @app.task(name=name, ignore_result=True)  # type: ignore[untyped-decorator]
        @functools.wraps(work)
        def celery_task() -> None:
            with telemetry.bind(task=name), telemetry.timed("task", task=name):
                try:
                    work()
                except SQLAlchemyError as error:
                    if not is_away(error):
                        raise
                    log.warning("%s waits for the database: %s", name, type(error).__name__)

        return work

    return register


def _register(name: str, run: Run, on_failure: OnFailure | None) -> None:
    @app.task(name=name, bind=True, ignore_result=True)  # type: ignore[untyped-decorator]
    def celery_task(self: Any, owed_id: str, **_ids: str) -> None:
        identity = UUID(owed_id)
        request_id = self.request.get("request_id")
        with (
            telemetry.bind(task_id=owed_id, task=name, request_id=request_id),
            telemetry.timed("task", task=name),
        ):
            # What came back to the queue, or was sent again, may have killed its worker.
            is_first = (
                not self.request.delivery_info.get("redelivered")
                and (self.request.get("sends") or 1) == 1
            )
            with _alone_here(identity) as is_alone:
                if is_alone:
                    _guarded(name, identity, run, on_failure, is_first=is_first)


_running: set[UUID] = set()
_running_lock = threading.Lock()


@contextmanager
def _alone_here(owed_id: UUID) -> Iterator[bool]:
    """Whether this process does not run it already, for the same message may come twice."""
    with _running_lock:
        is_alone = owed_id not in _running
        _running.add(owed_id)
    try:
        yield is_alone
    finally:
        if is_alone:
            _running.discard(owed_id)


def _may_start(name: str, owed_id: UUID, on_failure: OnFailure | None) -> bool:
    """Count the start; False if there is nothing to run here, or no more."""
    status = in_transaction(_count_start, None, owed_id, on_failure)
    if status is OwedStatus.DEAD:
        log.error("task %s is dead: its worker died too often", name)
        telemetry.count("outbox.dead", task=name)
    return status is OwedStatus.OWED


def _count_start(
    session: Session, owed_id: UUID, on_failure: OnFailure | None
) -> OwedStatus | None:
    owed = outbox.count_start(session, owed_id, moment=now())
    if owed is None:
        return None
    _track_dead(session, owed)
    if owed.status is OwedStatus.DEAD and on_failure is not None:
        session.info["company_id"] = owed.company_id
        on_failure(session, owed, owed.error or "")
    return owed.status


def _track_dead(session: Session, owed: Owed) -> None:
    """Count work that was given up among its company's errors. It may be revived, and die again."""
    if owed.status is OwedStatus.DEAD and owed.company_id is not None:
        key = f"{owed.id}:{owed.due_at.isoformat()}"
        track_for(session, "error.dead_letter", owed.company_id, key, dimension=owed.task)


def _guarded(
    name: str,
    owed_id: UUID,
    run: Run,
    on_failure: OnFailure | None,
    *,
    is_first: bool,
) -> None:
    """Run; a failure puts the debt back with a delay and never reaches Celery."""
    try:
        if is_first:
            run(owed_id, True)  # noqa: FBT003
        elif _may_start(name, owed_id, on_failure):
            try:
                run(owed_id, False)  # noqa: FBT003
            finally:
                # However it ended, also for want of a database: it has killed no worker.
                in_transaction(outbox.forget_start, None, owed_id)
    except Later as later:
        until = now() + timedelta(seconds=later.after_s)
        in_transaction(outbox.defer, None, owed_id, until=until, why=str(later))
    except Exception as error:
        if is_away(error) or is_conflict(error):
            # Nothing can be recorded, or nothing was wrong with the work: the row is due by date.
            log.warning("task %s waits for the database: %s", name, type(error).__name__)
            return
        log.exception("task %s failed", name)
        telemetry.count("task.failed", task=name)
        said = told(error)
        if in_transaction(_count_failure, None, owed_id, said, on_failure) is OwedStatus.DEAD:
            log.error("task %s is dead after its last failure", name)  # noqa: TRY400  told above
            telemetry.count("outbox.dead", task=name)


def told(error: Exception) -> str:
    """Return an error as rows keep it; a statement and its values are for the log alone."""
    what = error.orig if isinstance(error, DBAPIError) else error
    return f"{type(error).__name__}: {telemetry.redact(str(what))}"


def _count_failure(
    session: Session, owed_id: UUID, error: str, on_failure: OnFailure | None
) -> OwedStatus | None:
    backoff_s = settings().outbox_backoff_s
    owed = outbox.fail(session, owed_id, moment=now(), error=error, backoff_s=backoff_s)
    if owed is None:
        return None
    _track_dead(session, owed)
    if on_failure is not None:
        session.info["company_id"] = owed.company_id
        on_failure(session, owed, error)
    return owed.status


def _ids_of(owed: Owed | Debt) -> dict[str, str]:
    transaction_id = owed.arguments.get("transaction_id")
    ids = {"transaction_id": transaction_id, "company_id": owed.company_id}
    return {name: str(value) for name, value in ids.items() if value}
