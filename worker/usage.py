"""Recording use of modules, and telling a company that it nears what it has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import usage
from models.analytics_events import day_of
from models.clock import now
from models.modules import Module
from models.notifications import owe_notice
from models.outbox import enqueue
from models.tenants import Company
from models.timeline import Cause, note
from models.tracking import track
from models.usage import Crossing, Level, ModuleUsage, Reading, Recorded, Verdict
from worker.database import DUPLICATE, error_number, in_transaction
from worker.events import announce

# Two that send the same keys at once: the second finds the first one's rows when it runs again.
TRIES = 5
# How long more late use of what has ended is waited for, to be billed by one invoice.
LATE_WAIT = timedelta(days=1)
# Which notice of a period it is.
NUMBERS = {Level.WARNING: 1, Level.CRITICAL: 2}


def record(company_id: UUID, readings: Sequence[Reading], *, because: Cause) -> Recorded:
    """Store and count what a company used, and owe what that crosses, in one transaction."""
    for _ in range(TRIES - 1):
        try:
            return in_transaction(_record, company_id, company_id, readings, because)
        except IntegrityError as error:
            if error_number(error) != DUPLICATE:
                raise
    return in_transaction(_record, company_id, company_id, readings, because)


def _record(
    session: Session, company_id: UUID, readings: Sequence[Reading], because: Cause
) -> Recorded:
    moment = now()
    recorded = usage.record(session, company_id, readings, moment=moment)
    for subscription_id in sorted(recorded.late):
        enqueue(
            session,
            "subscriptions.close",
            due_at=moment + LATE_WAIT,
            subscription_id=subscription_id,
        )
    _track(session, company_id, recorded)
    # Of what is crossed at once people are told the worse; programs hear of each.
    worst = {crossing.total.id: crossing for crossing in recorded.crossings}
    for crossing in recorded.crossings:
        _tell(session, crossing, because)
        if crossing is worst[crossing.total.id]:
            _owe_notice(session, crossing)
    return recorded


def _track(session: Session, company_id: UUID, recorded: Recorded) -> None:
    """Track what was used by module and day: a thousand readings are a few events."""
    zone = session.get_one(Company, company_id).time_zone
    found: dict[tuple[UUID, date], list[ModuleUsage]] = {}
    for outcome in recorded.outcomes:
        if outcome.verdict is Verdict.RECORDED and (row := outcome.row) is not None:
            found.setdefault((row.module_id, day_of(row.at, zone)), []).append(row)
    for (module_id, _), rows in found.items():
        track(
            session,
            "usage.recorded",
            rows[0],
            at=rows[0].at,
            quantity=sum(row.quantity for row in rows),
            dimension=session.get_one(Module, module_id).code,
            module_id=module_id,
        )


def _tell(session: Session, crossing: Crossing, because: Cause) -> None:
    total, module = crossing.total, crossing.module
    why = f"used {total.used}, {crossing.level} at {crossing.threshold}"
    note(session, crossing.held, what="usage_alert", because=because.but(why))
    announce(
        session,
        "module.usage_alert",
        crossing.held,
        company_id=total.company_id,
        module_id=module.id,
        code=module.code,
        name=module.name,
        usage=total.used,
        threshold=crossing.threshold,
        alert_type=str(crossing.level),
        period_start=total.period_start,
        period_end=total.period_end,
    )


def _owe_notice(session: Session, crossing: Crossing) -> None:
    total, module = crossing.total, crossing.module
    hard_limit = crossing.held.limits(module).hard_limit
    owe_notice(
        session,
        "usage_alert",
        total,
        number=NUMBERS[crossing.level],
        module_id=str(module.id),
        code=module.code,
        name=module.name,
        unit=module.unit,
        usage=str(total.used),
        threshold=str(crossing.threshold),
        level=str(crossing.level),
        hard_limit=None if hard_limit is None else str(hard_limit),
        period_start=total.period_start.isoformat(),
        period_end=total.period_end.isoformat(),
    )
