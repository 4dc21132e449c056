"""What the days came to: roll-ups of days that changed, and their check.

metrics.roll_up    beat's ring: rolls up the days that changed
metrics.check      beat's ring: once a night, owes a look through all days
metrics.compare    looks through the days of some companies, and owes the next
"""

from __future__ import annotations

import logging
import time
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import daily_metrics
from models.analytics_events import mark_days
from models.clock import now
from models.daily_metrics import Claim, ClaimLost, MetricsCheck, Written
from models.outbox import enqueue
from models.tenants import Company
from models.timeline import Cause
from worker import crash, telemetry
from worker.app import periodic, task
from worker.caching import invalidate_after_commit
from worker.database import DUPLICATE, error_number, in_transaction, transaction
from worker.figures import series_of

log = logging.getLogger(__name__)

# A run leaves the rest to the next ring, so that a worker can be told to go.
MOST_S = 60.0
# Companies of one debt, and days of one look: a transaction that sees one moment stays short.
COMPANIES = 20
DAYS = 92
NIGHT_HOUR_UTC = 2


@periodic("metrics.roll_up")
def roll_up() -> None:
    """Roll up the days that changed. Safe in any number of copies: a day is claimed by one."""
    ends_at, began = time.monotonic() + MOST_S, now()
    while time.monotonic() < ends_at:
        claimed = in_transaction(_claim, None, began)
        if claimed is None:
            return
        crash.point("metrics.claimed")
        try:
            written = in_transaction(_roll_up, None, claimed)
        except ClaimLost as error:
            log.warning("another rolls up: %s", error)
        else:
            telemetry.count("metrics.rolled_up", len(claimed.days) - written.dirty)


def _claim(session: Session, began: datetime) -> Claim | None:
    """What changed while it was rolled up comes with the next ring."""
    return daily_metrics.claim(session, before=began)


def _roll_up(session: Session, claimed: Claim) -> Written:
    written = daily_metrics.roll_up(session, claimed)
    companies = {company_id for company_id, _ in written.changed}
    invalidate_after_commit(session, *(series_of(each, "*") for each in sorted(companies)))
    return written


@periodic("metrics.check")
def check() -> None:
    """Owe the night's look through all days. Safe in any number of copies: there is one a day."""
    moment = now()
    if moment.hour < NIGHT_HOUR_UTC:
        return
    try:
        in_transaction(_owe_check, None, moment.date())
    except IntegrityError as error:
        if error_number(error) != DUPLICATE:
            raise


def _owe_check(session: Session, day: date) -> None:
    if session.scalar(select(MetricsCheck.id).where(MetricsCheck.day == day)) is not None:
        return
    session.add(MetricsCheck(day=day))
    enqueue(session, "metrics.compare", after=None)


@task("metrics.compare")
def compare(session: Session, cause: Cause, after: str | None) -> None:  # noqa: ARG001
    """Mark the days whose roll-ups differ from their events. Safe twice: it marks them again."""
    query = select(Company.id).order_by(Company.id).limit(COMPANIES)
    if after is not None:
        query = query.where(Company.id > UUID(after))
    companies = session.scalars(query).all()
    for company_id in companies:
        wrong = _wrong_days(company_id)
        if wrong:
            telemetry.count("metrics.differed", len(wrong))
            days = ", ".join(map(str, sorted(wrong)[:10]))
            log.error("roll-ups of company %s differ on %d days: %s", company_id, len(wrong), days)
            mark_days(session, [(company_id, day) for day in wrong])
    if len(companies) == COMPANIES:
        enqueue(session, "metrics.compare", after=companies[-1])


def _wrong_days(company_id: UUID) -> set[date]:
    """Return the days that differ, each look at one moment: see `daily_metrics.differing`."""
    with transaction(company_id=company_id) as session:
        span = daily_metrics.span_of(session, company_id)
    wrong: set[date] = set()
    if span is None:
        return wrong
    since, last = span
    while since <= last:
        until = min(since + timedelta(days=DAYS - 1), last)
        wrong |= _differing(company_id, since, until)
        since = until + timedelta(days=1)
    return wrong


def _differing(company_id: UUID, since: date, until: date) -> set[date]:
    with transaction(company_id=company_id) as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        found, _ = daily_metrics.differing(session, company_id, since, until)
    return found
