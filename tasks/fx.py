"""Exchange rates: seeing to it that the day's are there, and asking the source for them.

fx.watch    beat's ring: owes a question while the day's rates are missing
fx.fetch    asks the source, and keeps what it told if that can be true
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from models import fx_fetches
from models.alerts import Severity
from models.clock import now
from models.fx import BASE, OPEN_EXCHANGE_RATES, FetchStatus, FxFetch, rates_at
from models.fx_fetches import Sheet
from models.outbox import Owed, OwedStatus
from worker import alerts
from worker.app import Debt, calling_task, periodic
from worker.database import in_transaction
from worker.fx.client import source
from worker.fx.policy import fx_policy, most_jump_percent
from worker.gateways.base import GatewayError, Rejected
from worker.settings import settings

log = logging.getLogger(__name__)

# Tries of one question, after 1, 2 and 4 minutes; then beat asks a new one within the hour.
TRIES = 4
STALE = "fx_stale"
REFUSED = "fx_refused"
FAILED = "fx_failed"


@dataclass(frozen=True)
class Question:
    """What the call needs."""

    fetch_id: UUID
    day: date | None


@periodic("fx.watch")
def watch() -> None:
    """Owe a question while the day's rates are missing. Safe in any number of copies: one is owed.

    While the last ones are older than may be, an alert is open.
    """
    if settings().has_exchange_rates:
        in_transaction(_watch, None, now())


def _watch(session: Session, moment: datetime) -> None:
    newest = fx_fetches.newest_as_of(session, source=OPEN_EXCHANGE_RATES, base=BASE)
    if newest is None or newest.astimezone(UTC).date() < moment.astimezone(UTC).date():
        fx_fetches.begin(session, moment=moment)
    _tell_if_stale(session, newest, moment)


def _tell_if_stale(session: Session, newest: datetime | None, moment: datetime) -> None:
    if newest is None:
        return
    if newest >= moment - fx_policy().stale_after:
        alerts.resolve(session, STALE, why="The rates are fresh again.")
        return
    becomes = "converts nothing" if fx_policy().refuses_stale else "is flagged where it converts"
    alerts.alert(
        session,
        STALE,
        severity=Severity.WARNING,
        message=f"The newest exchange rates are of {newest:%Y-%m-%d %H:%M} UTC: too old, so that "
        f"such a rate {becomes}. GET /api/v1/fx/fetches tells why there are no newer ones.",
        open_key=STALE,
    )


def _claim(session: Session, debt: Debt, *, fetch_id: str) -> Question | None:
    fetch = session.get(FxFetch, UUID(fetch_id), with_for_update=True)
    if fetch is None or fetch.status != FetchStatus.OWED:
        debt.end(session)
        return None
    if debt.waits_for(session, OPEN_EXCHANGE_RATES):
        return None
    fetch.tries += 1
    return Question(fetch.id, fetch.day)


def _give_up(session: Session, owed: Owed, error: str) -> None:
    """End a question whose task is dead: the next ring asks anew."""
    if owed.status is not OwedStatus.DEAD:
        return
    asked = _held(session, UUID(owed.arguments["fetch_id"]))
    if asked is not None:
        fx_fetches.end(asked, FetchStatus.FAILED, moment=now(), error=error)


@calling_task("fx.fetch", claim=_claim, on_failure=_give_up)
def fetch(debt: Debt, question: Question) -> None:
    """Ask the source and keep what it told. Safe twice: it only looks, and a rate has one row."""
    try:
        door = source()
        sheet = door.historical(question.day) if question.day else door.latest()
    except GatewayError as failure:
        in_transaction(_record_failure, None, debt, question.fetch_id, failure)
        return
    in_transaction(_record, None, debt, question.fetch_id, sheet)


def _record_failure(session: Session, debt: Debt, fetch_id: UUID, failure: GatewayError) -> None:
    """Try again in minutes what may pass; what cannot, or did not, is over, and a person told."""
    asked = _held(session, fetch_id)
    if asked is None:
        debt.end(session)
        return
    moment = now()
    if not isinstance(failure, Rejected) and asked.tries < TRIES:
        asked.error = str(failure)
        wait_s = settings().outbox_backoff_s * 2 ** (asked.tries - 1)
        debt.defer(session, until=moment + timedelta(seconds=wait_s), why=str(failure))
        return
    debt.end(session)
    fx_fetches.end(asked, FetchStatus.FAILED, moment=moment, error=str(failure))
    if isinstance(failure, Rejected) and asked.day is None:
        alerts.alert(
            session,
            FAILED,
            severity=Severity.CRITICAL,
            message=f"The source of exchange rates refuses us: {failure.code}. Mend its app id or "
            "its plan; until then the rates grow old.",
            open_key=FAILED,
        )


def _record(session: Session, debt: Debt, fetch_id: UUID, sheet: Sheet) -> None:
    debt.end(session)
    asked = _held(session, fetch_id)
    if asked is None:
        return
    moment = now()
    before = rates_at(session, moment=sheet.as_of, policy=fx_policy()).known
    wrong = fx_fetches.objections(
        sheet,
        base=BASE,
        day=asked.day,
        moment=moment,
        before={currency: each.rate for currency, each in before.items()},
        most_jump_percent=None if asked.accepts_jumps else most_jump_percent(),
    )
    if wrong:
        _refuse(session, asked, sheet, wrong, moment)
        return
    is_new = fx_fetches.store(session, sheet, moment=moment)
    status = FetchStatus.STORED if is_new else FetchStatus.UNCHANGED
    fx_fetches.end(asked, status, moment=moment, sheet=sheet)
    if asked.day is None:
        for key in (REFUSED, FAILED):
            alerts.resolve(session, key, why="The source has told rates that can be true.")
        _tell_if_stale(session, sheet.as_of, moment)


def _refuse(
    session: Session, asked: FxFetch, sheet: Sheet, wrong: list[str], moment: datetime
) -> None:
    said = " ".join(wrong[:5]) + (f" And {len(wrong) - 5} more." if wrong[5:] else "")
    fx_fetches.end(asked, FetchStatus.REFUSED, moment=moment, sheet=sheet, error=said)
    alerts.alert(
        session,
        REFUSED,
        severity=Severity.CRITICAL,
        message=f"Exchange rates were refused and none is kept. {said} If they are so, "
        'POST /api/v1/fx/refresh with {"accept_jumps": true} takes them.',
        open_key=REFUSED,
    )


def _held(session: Session, fetch_id: UUID) -> FxFetch | None:
    """Return the question, locked, while nobody has ended it."""
    found = session.get(FxFetch, fetch_id, with_for_update=True)
    return found if found is not None and found.status == FetchStatus.OWED else None
