"""What operators ask for and beat watches: dry runs, invariants, breakers, what is dead.

operations.preview           what replaying would change, without changing it
operations.check_invariants  the sentences that must hold, as alerts where they do not
operations.watch             breakers and dead letters, as alerts and figures
"""

from __future__ import annotations

import logging
import time
import zlib
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import cursors, invariants, outbox, replays
from models.alerts import Alert, Severity
from models.clock import now
from models.invariants import Part
from models.tenants import Company
from models.timeline import Cause
from worker import alerts, breaker, replies, telemetry
from worker.app import Later, periodic, task
from worker.breaker import State
from worker.database import in_transaction
from worker.judge import Verdict, alone, judge, next_part
from worker.preview import Foreseen, foresee
from worker.queues import SUBJECTS

log = logging.getLogger(__name__)

OWED_ANYWAY = "it is owed anyway"
OTHERS = "It concerns a company that is not yours."
# What beat looks at each time; the whole book is gone through every so often, and while an alert
# is open, which only that closes. It goes on at the next ring where there was no time.
WITHIN = timedelta(hours=1)
WHOLE_EVERY = timedelta(hours=6)
LIMIT_S = 60.0
OUR_BOOK = ("paybeat", "invariants")
# A position has room for the names of so many sentences; of more it only says that there are.
MOST_DOUBTED = 40
ANY = "any"
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
    in_hand: list[str] = []
    seen = []
    for each, prepare in prepared:
        foreseen = foresee(partial(prepare, UUID(each), cause, in_hand))
        seen.append({"id": each, **_shown(foreseen, ours)})
    replies.send(reply, {"data": seen, "in_hand": in_hand})


def _prepare_letter(identity: UUID, cause: Cause, in_hand: list[str], session: Session) -> UUID:
    for dead in replays.lock_dead(session, [identity]):
        replays.replay(session, dead, cause=cause)
        return dead.id
    in_hand.append(str(identity))
    raise Later(OWED_ANYWAY, after_s=0)


def _prepare_event(identity: UUID, cause: Cause, in_hand: list[str], session: Session) -> UUID:
    owed = replays.replay_event(session, identity, cause=cause)
    if owed is not None:
        return owed.id
    in_hand.append(str(identity))
    raise Later(replays.why_it_waits(session, identity) or OWED_ANYWAY, after_s=0)


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
        _tell(judge(limit_s=LIMIT_S, within=WITHIN))
        until = time.monotonic() + LIMIT_S
        place = in_transaction(_place, None)
        while place is not None:
            part = next_part(place.since)
            verdicts = judge(limit_s=LIMIT_S, part=part)
            _tell(verdicts)
            place = in_transaction(_go_on, None, place, part, verdicts)
            if time.monotonic() >= until:
                break


@dataclass(frozen=True)
class _Place:
    """How far the book has been gone through, and which sentences cannot be said to hold."""

    since: bytes
    doubted: frozenset[str] = frozenset()

    @classmethod
    def read(cls, position: str) -> _Place:
        since, *doubted = position.split(":")
        return cls(bytes.fromhex(since), frozenset(doubted))

    def written(self) -> str:
        doubted = {ANY} if ANY in self.doubted else self.doubted
        return ":".join([self.since.hex(), *sorted(doubted)])


def _place(session: Session) -> _Place | None:
    """Return where to go on; None if nothing is under way and it is not time to begin."""
    cursor = cursors.take(session, *OUR_BOOK)
    if cursor.position is not None:
        return _Place.read(cursor.position)
    moment = now()
    is_time = cursor.looked_at is None or cursor.looked_at <= moment - WHOLE_EVERY
    if not is_time and not _has_open_alert(session):
        return None
    place = _Place(Part().since)
    cursor.position, cursor.looked_at = place.written(), moment
    return place


def _go_on(session: Session, place: _Place, part: Part, verdicts: list[Verdict]) -> _Place | None:
    """Write down that a part was gone through; at the end close the alerts of what holds."""
    doubted = place.doubted | {
        _digest(verdict.invariant) for verdict in verdicts if verdict.holds is not True
    }
    if len(doubted) > MOST_DOUBTED:
        doubted |= {ANY}
    cursor = cursors.take(session, *OUR_BOOK)
    if part.until < Part().until:
        place = _Place(part.until, doubted)
        cursor.position = place.written()
        return place
    cursor.position = None
    for name in invariants.sentences():
        if not {_digest(name), ANY} & doubted:
            alerts.resolve(session, _key(name), why="It holds again.")
    return None


def _digest(invariant: str) -> str:
    """Return a sentence in four letters."""
    return f"{zlib.crc32(invariant.encode()) & 0xFFFF:04x}"


def _key(invariant: str) -> str:
    return f"{BROKEN}:{invariant}"[:150]


def _has_open_alert(session: Session) -> bool:
    query = select(Alert.id).where(Alert.kind == BROKEN, Alert.open_key.is_not(None)).limit(1)
    return session.scalar(query) is not None


def _tell(verdicts: list[Verdict]) -> None:
    """Tell of each sentence that does not hold."""
    for verdict in verdicts:
        if verdict.holds is False:
            telemetry.count("invariants.broken", invariant=verdict.invariant)
            in_transaction(_tell_broken, None, verdict.invariant)


def _tell_broken(session: Session, invariant: str) -> None:
    alerts.alert(
        session,
        BROKEN,
        severity=Severity.CRITICAL,
        message=f"It does not hold that {invariant}. "
        "GET /api/v1/operations/invariants tells where.",
        open_key=_key(invariant),
    )


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
