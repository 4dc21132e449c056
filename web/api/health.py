"""Whether the process lives, and whether it can do its work."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from flask import Response
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models import outbox
from models.base import across_companies
from models.clock import now
from models.outbox import Age
from web.auth import public
from web.routes import Routes, respond
from web.schemas import Moment
from worker import dispatch, telemetry
from worker.breaker import Standing, standings
from worker.cache import CacheAway, shared
from worker.database import transaction
from worker.settings import settings

routes = Routes("health", __name__)


class Health(BaseModel):
    """That the process answers."""

    status: str


class ProviderStanding(BaseModel):
    """How a provider's breaker stands; while it is open or half open, what needs it waits."""

    state: Literal["closed", "open", "half_open", "unknown"]
    since: Moment | None
    failures: int
    next_probe_at: Moment | None


class DeadLetters(BaseModel):
    """What was given up and waits for a person."""

    number: int
    oldest_s: float


class Readiness(BaseModel):
    """How what it needs is doing; backlog: rows owed and dead, a queue.

    A provider that is away does not make it degraded: requests are accepted and their payments
    wait.
    """

    status: Literal["ok", "degraded", "unavailable"]
    database: Literal["ok", "away", "not migrated"]
    cache: Literal["ok", "away"]
    queues: Literal["ok", "away"]
    backlog: dict[str, dict[str, int]]
    dead_letters: DeadLetters
    providers: dict[str, ProviderStanding]


@routes.get("/healthz", responses={200: Health})
@public
def healthz() -> Response:
    """Tell that this process answers."""
    return respond({"status": "ok"})


@routes.get("/readyz", responses={200: Readiness, 503: Readiness})
@public
def readyz() -> Response:
    """Tell whether requests can be accepted; without Redis they are, only slower."""
    database, backlog = _database()
    redis = {"cache": _is_reachable(_ping_cache), "queues": _is_reachable(_ping_queues)}
    is_ready = database == "ok"
    health = "ok" if all(redis.values()) else "degraded"
    parts = {name: "ok" if is_up else "away" for name, is_up in redis.items()}
    body = {
        "status": health if is_ready else "unavailable",
        "database": database,
        **parts,
        "backlog": {queue: _counts(age) for queue, age in backlog.items()},
        "dead_letters": {
            "number": sum(age.dead for age in backlog.values()),
            "oldest_s": max((age.oldest_dead_s for age in backlog.values()), default=0.0),
        },
        "providers": {each.provider: _standing(each) for each in standings()},
    }
    headers = None if is_ready else {"Retry-After": "2"}
    return respond(body, 200 if is_ready else 503, headers)


def _counts(age: Age) -> dict[str, int]:
    counts = {"owed": age.owed, "dead": age.dead}
    return {status: number for status, number in counts.items() if number}


def _standing(standing: Standing) -> dict[str, Any]:
    shown = asdict(standing)
    del shown["provider"]
    return shown


def _database() -> tuple[str, dict[str, Age]]:
    """Return how the database is, and what each queue has."""
    from models import schema  # Alembic is slow to import, and nobody else here needs it

    try:
        with transaction() as session:
            asked = text("SELECT version_num FROM alembic_version")
            revision = session.scalar(across_companies(asked, because="it is no company's"))
            if revision != schema.head():
                return "not migrated", {}
            return "ok", outbox.ages(session, moment=now())
    except SQLAlchemyError as error:
        missing_table = 1146
        number = getattr(getattr(error, "orig", None), "args", [None])[0]
        return ("not migrated" if number == missing_table else "away"), {}


def _is_reachable(ping: Any) -> bool:
    try:
        return bool(ping())
    except CacheAway:
        return False


def _ping_cache() -> Any:
    return shared().do(lambda redis: redis.ping())


def _ping_queues() -> Any:
    bell = dispatch.doorbell()
    return bell.breaker.call(bell.client.ping)


def metrics() -> Response:
    """Return this machine's counters for Prometheus; routed only with METRICS_ENABLED."""
    from worker.telemetry.prometheus import CONTENT_TYPE

    return Response(telemetry.metrics_page(settings()) or b"", content_type=CONTENT_TYPE)


__all__ = ["metrics", "routes"]
