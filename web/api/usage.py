"""Use of modules: recorded one by one or many at once, and read back with its history."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, BeforeValidator, Field, StrictInt

from models import usage_history
from models.clock import now
from models.modules import Limits, Module, active
from models.tenants import Company, Permission
from models.usage import Outcome, Reading, Verdict
from models.usage_history import Used
from web.api.modules import ModuleLimits, ModulePath, known
from web.auth import allowed, caller
from web.problems import Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import Moment, cause, whole
from worker import usage
from worker.database import transaction

routes = Routes("usage", __name__, url_prefix="/api/v1/modules")

MOST_RECORDS = 1000
MOST_AT_ONCE = 10**12

Key = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="The caller's own name of this record: the same one is counted once.",
    ),
]
Quantity = Annotated[StrictInt, Field(ge=1, le=MOST_AT_ONCE), BeforeValidator(whole)]


class NewUse(Input):
    """Use to be recorded."""

    idempotency_key: Key
    quantity: Quantity
    at: Moment | None = Field(
        None, description="When it was used; now if left out. Late use counts in its own period."
    )
    user_id: UUID | None = Field(None, description="Who used it, of the company's people.")


class NewUseOf(NewUse):
    """Use of a module to be recorded."""

    module_id: UUID


class UseBatch(Input):
    """Many records; what one of them lacks does not hold up the others."""

    records: list[NewUseOf] = Field(min_length=1, max_length=MOST_RECORDS)


class UseAnswer(BaseModel):
    """Use as it was recorded."""

    id: UUID
    module_id: UUID
    idempotency_key: str
    quantity: int
    at: Moment
    user_id: UUID | None
    recorded_at: Moment


class UseResult(BaseModel):
    """What became of one record: `recorded`, `duplicate` or `refused`."""

    idempotency_key: str
    status: str
    id: UUID | None
    reason: Verdict | None = Field(description="Why it was refused.")
    message: str | None


class UseResults(BaseModel):
    """What became of each record, in the order in which they were sent."""

    recorded: int
    duplicates: int
    refused: int
    results: list[UseResult]


class UsedPeriod(BaseModel):
    """How much was used in a period, and when the company was told that it is much."""

    start: Moment
    end: Moment
    used: int
    warned_at: Moment | None
    critical_at: Moment | None


class CurrentUse(UsedPeriod):
    """The current period; `remaining` is what is left of the hard limit, if there is one."""

    remaining: int | None


class UsedDay(BaseModel):
    """How much was used on a day of the company's zone."""

    day: date
    used: int


class UsageAnswer(BaseModel):
    """How much of a module is used: now, in the twelve periods before, and by day."""

    module_id: UUID
    code: str
    name: str
    unit: str | None
    is_taken: bool
    time_zone: str
    limits: ModuleLimits
    period: CurrentUse
    days: list[UsedDay] = Field(description="Of the current period, the latest 31, up to today.")
    history: list[UsedPeriod] = Field(description="Newest first.")


# Why a record is refused: the problem it makes when it is the only one, and what is told.
REFUSALS = {
    Verdict.KEY_REUSED: "The key was used for another record.",
    Verdict.NOT_SUBSCRIBED: "The company does not have this module, or did not have it then.",
    Verdict.UNKNOWN_USER: "Nobody of the company has this id.",
    Verdict.LIMIT_REACHED: "The module's limit for the period would be exceeded.",
    Verdict.TOO_LATE: "It is more than 400 days ago.",
    Verdict.IN_THE_FUTURE: "It is more than 5 minutes ahead.",
}
# Of these the caller can tell which field to mend.
FIELDS = {Verdict.UNKNOWN_USER: "user_id", Verdict.TOO_LATE: "at", Verdict.IN_THE_FUTURE: "at"}


@routes.post("/<uuid:module_id>/usage", responses={201: UseAnswer})
@allowed(Permission.MODULES_WRITE)
def record_use(path: ModulePath, body: NewUse) -> Response:
    """Record use of a module. The same key and body are answered alike and counted once.

    With another body under the key: 409, `key-reused`. Beyond the hard limit: 409, `usage-limit`,
    and nothing is recorded; to send it again helps when the period is over or the limit is raised.
    """
    module = known(path.module_id)
    reading = _reading(module.id, body)
    recorded = usage.record(caller().company_id, [reading], because=cause("use was recorded"))
    [outcome] = recorded.outcomes
    if outcome.verdict in REFUSALS:
        raise _refusal(outcome, reading)
    return respond(_shown(outcome), 201)


@routes.post("/usage", responses={200: UseResults})
@allowed(Permission.MODULES_WRITE)
def record_uses(body: UseBatch) -> Response:
    """Record up to 1,000 uses in one transaction; each is recorded, a duplicate or refused."""
    readings = [_reading(each.module_id, each) for each in body.records]
    recorded = usage.record(caller().company_id, readings, because=cause("use was recorded"))
    pairs = zip(readings, recorded.outcomes, strict=True)
    results = [_result(reading, outcome) for reading, outcome in pairs]
    statuses = [each["status"] for each in results]
    return respond(
        {
            "recorded": statuses.count("recorded"),
            "duplicates": statuses.count("duplicate"),
            "refused": statuses.count("refused"),
            "results": results,
        }
    )


@routes.get("/<uuid:module_id>/usage", responses={200: UsageAnswer})
@allowed(Permission.MODULES_READ)
def read_usage(path: ModulePath) -> Response:
    """Return how much of a module the company uses: this period, those before, and by day."""
    found, moment, company_id = known(path.module_id), now(), caller().company_id
    with transaction(company_id=company_id) as session:
        zone = session.get_one(Company, company_id).time_zone
        module = session.get_one(Module, found.id)
        held = active(session, [module.id]).get(module.id)
        period = usage_history.current(session, module.id, held, moment=moment, zone=zone)
        history = usage_history.before(session, module.id, period.span.start)
        days = usage_history.by_day(session, module.id, period.span.until(moment), zone)
    limits = held.limits(module) if held else Limits.of(module)
    left = None if limits.hard_limit is None else max(0, limits.hard_limit - period.used)
    return respond(
        {
            "module_id": module.id,
            "code": module.code,
            "name": module.name,
            "unit": module.unit,
            "is_taken": held is not None,
            "time_zone": zone,
            "limits": asdict(limits),
            "period": {**_period(period), "remaining": left},
            "days": [{"day": day, "used": used} for day, used in days],
            "history": [_period(each) for each in history],
        }
    )


def _reading(module_id: UUID, body: NewUse) -> Reading:
    return Reading(
        module_id=module_id,
        key=body.idempotency_key,
        quantity=body.quantity,
        at=body.at,
        user_id=body.user_id,
    )


def _refusal(outcome: Outcome, reading: Reading) -> Problem:
    told = REFUSALS[outcome.verdict]
    if outcome.verdict in FIELDS:
        return invalid(FIELDS[outcome.verdict], f"{told[0].lower()}{told[1:].rstrip('.')}")
    if outcome.verdict is Verdict.KEY_REUSED:
        return Problem("key-reused", told, status=409)
    if outcome.total is None or outcome.limits is None:
        return Problem("conflict", told)
    return Problem(
        "usage-limit",
        told,
        extra={
            "limit": outcome.limits.hard_limit,
            "used": outcome.total.used,
            "quantity": reading.quantity,
            "period_end": outcome.total.period_end.isoformat(),
        },
    )


def _result(reading: Reading, outcome: Outcome) -> dict[str, Any]:
    is_refused = outcome.verdict in REFUSALS
    is_there = outcome.row is not None and not is_refused
    return {
        "idempotency_key": reading.key,
        "status": "refused" if is_refused else str(outcome.verdict),
        "id": outcome.row.id if is_there and outcome.row else None,
        "reason": outcome.verdict if is_refused else None,
        "message": REFUSALS.get(outcome.verdict),
    }


def _shown(outcome: Outcome) -> dict[str, Any]:
    row = outcome.row
    if row is None:
        raise LookupError("what was recorded has a row")
    return {
        "id": row.id,
        "module_id": row.module_id,
        "idempotency_key": row.idempotency_key,
        "quantity": row.quantity,
        "at": row.at,
        "user_id": row.user_id,
        "recorded_at": row.created_at,
    }


def _period(used: Used) -> dict[str, Any]:
    return {
        "start": used.span.start,
        "end": used.span.end,
        "used": used.used,
        "warned_at": used.warned_at,
        "critical_at": used.critical_at,
    }
