"""What operators ask for and beat watches: dry runs, invariants, breakers, what is dead.

operations.preview           what replaying would change, without changing it
operations.check_invariants  the sentences that must hold, as alerts where they do not
operations.watch             breakers and dead letters, as alerts and figures
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import outbox, replays
from models.alerts import Alert, Severity
from models.clock import now
from models.tenants import Company
from models.timeline import Cause
from worker import alerts, breaker, replies, telemetry
from worker.app import periodic, task
from worker.breaker import State
from worker.database import in_transaction
from worker.judge import Verdict, alone, judge
from worker.preview import Foreseen, foresee
from worker.queues import SUBJECTS

log = logging.getLogger(__name__)

OTHERS = "It concerns a company that is not yours."
# What beat looks at each time; the whole book is looked at every so many hours, and while an
# alert is open, which only that closes.
WITHIN = timedelta(hours=24)
WHOLE_EVERY_H = 6
RINGS_APART = timedelta(minutes=15)
LIMIT_S = 120.0
BROKEN = "invariant_broken"
GIVEN_UP = "dead_letters"


@task("operations.preview")
def preview(
    session: Session,
    cause: Cause,
    *,
    tenant_id: str,
    reply: str,
    dead_letters: list[str],
    events: list[str],
) -> None:
    """Answer what replaying these would change. Safe twice: all of it is rolled back.

    What turns out to be another tenant's is not shown.
    """
    ours = set(session.scalars(select(Company.id).where(Company.tenant_id == UUID(tenant_id))))
    prepared = [(each, _prepare_letter) for each in dead_letters]
    prepared += [(each, _prepare_event) for each in events]
    seen = [
        {"id": each, **_shown(foresee(partial(prepare, UUID(each), cause)), ours)}
        for each, prepare in prepared
    ]
    replies.send(reply, {"data": seen})


def _prepare_letter(identity: UUID, cause: Cause, session: Session) -> UUID | None:
    for dead in replays.lock_dead(session, [identity]):
        replays.replay(session, dead, cause=cause)
        return dead.id
    return None


def _prepare_event(identity: UUID, cause: Cause, session: Session) -> UUID | None:
    owed = replays.replay_event(session, identity, cause=cause)
    return owed.id if owed else None


def _shown(foreseen: Foreseen, ours: set[UUID]) -> dict[str, Any]:
    if not foreseen.companies <= ours:
        return Foreseen(error=OTHERS).shown()
    return foreseen.shown()


@periodic("operations.check_invariants")
def check_invariants() -> None:
    """Raise an alert for each sentence that does not hold. Safe twice: one runs at a time."""
    with alone("invariants") as is_alone:
        if not is_alone:
            return
        is_whole = _is_time_for_all() or in_transaction(_has_open_alert, None)
        verdicts = judge(limit_s=LIMIT_S, within=None if is_whole else WITHIN)
        in_transaction(_tell_verdicts, None, verdicts, is_whole=is_whole)
    for verdict in verdicts:
        if verdict.holds is False:
            telemetry.count("invariants.broken", invariant=verdict.invariant)


def _is_time_for_all() -> bool:
    moment = now()
    since_the_hour = timedelta(minutes=moment.minute, seconds=moment.second)
    return moment.hour % WHOLE_EVERY_H == 0 and since_the_hour < RINGS_APART


def _has_open_alert(session: Session) -> bool:
    query = select(Alert.id).where(Alert.kind == BROKEN, Alert.open_key.is_not(None)).limit(1)
    return session.scalar(query) is not None


def _tell_verdicts(session: Session, verdicts: list[Verdict], *, is_whole: bool) -> None:
    for verdict in verdicts:
        key = f"{BROKEN}:{verdict.invariant}"[:150]
        if verdict.holds is False:
            alerts.alert(
                session,
                BROKEN,
                severity=Severity.CRITICAL,
                message=f"It does not hold that {verdict.invariant}. "
                "GET /api/v1/operations/invariants tells where.",
                open_key=key,
            )
        elif verdict.holds and is_whole:
            alerts.resolve(session, key, why="It holds again.")


@periodic("operations.watch")
def watch() -> None:
    """Tell of breakers, dead letters and what is overdue. Safe twice: it tells what is so."""
    with alone("watch") as is_alone:
        if not is_alone:
            return
        for standing in breaker.standings():
            is_open = standing.state in (State.OPEN, State.HALF_OPEN)
            telemetry.gauge("breaker.is_open", int(is_open), provider=standing.provider)
            in_transaction(breaker.tell_people, None, standing.provider)
        in_transaction(_watch_outbox, None)


def _watch_outbox(session: Session) -> None:
    moment = now()
    ages = outbox.ages(session, moment=moment)
    for queue in SUBJECTS:
        age = ages.get(queue, outbox.Age())
        telemetry.gauge("outbox.dead_letters", age.dead, queue=queue)
        telemetry.gauge("outbox.oldest_dead", age.oldest_dead_s, queue=queue)
        telemetry.gauge("outbox.oldest_due", age.oldest_due_s, queue=queue)
    if any(age.dead for age in ages.values()):
        alerts.alert(
            session,
            GIVEN_UP,
            severity=Severity.CRITICAL,
            message="Work was given up. GET /api/v1/operations/dead-letters tells which and why.",
            open_key=GIVEN_UP,
        )
    else:
        alerts.resolve(session, GIVEN_UP, why="Nothing is given up any more.")
