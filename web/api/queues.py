"""How far each queue is behind, for operators."""

from __future__ import annotations

from typing import Any

from flask import Response
from pydantic import BaseModel

from models import outbox
from models.clock import now
from models.outbox import Age
from models.tenants import Permission
from web.api.operations import PREFIX
from web.auth import allowed
from web.routes import Routes, respond
from worker import dispatch
from worker.cache import CacheAway
from worker.database import transaction
from worker.queues import SUBJECTS

routes = Routes("queues", __name__, url_prefix=f"{PREFIX}/queues")


class QueueAnswer(BaseModel):
    """One queue: what is owed, how much of it is late, what was given up.

    `waiting` is how many messages no worker has taken yet; null while Redis is away.
    """

    queue: str
    owed: int
    due: int
    oldest_due_s: float
    dead: int
    oldest_dead_s: float
    waiting: int | None


class QueuesAnswer(BaseModel):
    """Every queue."""

    data: list[QueueAnswer]


@routes.get("", responses={200: QueuesAnswer})
@allowed(Permission.OPERATIONS)
def list_queues() -> Response:
    """Return every queue's numbers, over all tenants: they share their workers.

    Where much is `due` or `waiting`, its workers are away or too few.
    """
    with transaction() as session:
        ages = outbox.ages(session, moment=now())
    waiting = _waiting()
    return respond({"data": [_shown(each, ages.get(each, Age()), waiting) for each in SUBJECTS]})


def _waiting() -> dict[str, int]:
    try:
        return dispatch.waiting(SUBJECTS)
    except CacheAway:
        return {}


def _shown(queue: str, age: Age, waiting: dict[str, int]) -> dict[str, Any]:
    return {
        "queue": queue,
        "owed": age.owed,
        "due": age.due,
        "oldest_due_s": age.oldest_due_s,
        "dead": age.dead,
        "oldest_dead_s": age.oldest_dead_s,
        "waiting": waiting.get(queue),
    }
