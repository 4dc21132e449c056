"""What a history happens in: real servers, the stand-in for Stripe, and a clock of its own."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

import orjson
import redis
import sqlalchemy
import urllib3
from sqlalchemy import func, select

from models import clock
from models.base import Base
from models.outbox import Owed, OwedStatus
from models.schema import upgrade
from sandbox.standin.control import Refused
from sandbox.stripe.control import Control
from sandbox.stripe.deliveries import signature
from schedules.beat import entries
from tests.simulation import crew
from web.app import create_app
from web.webhooks.stripe import SIGNATURE
from worker import app as worker_app
from worker import breaker, sweeper
from worker.app import app
from worker.database import engine, transaction
from worker.queues import SUBJECTS
from worker.settings import settings

TICK = timedelta(milliseconds=1)
# How far the clock goes each time it is read, so that no two things happen at once.
PAUSED = "http://127.0.0.1:9/webhooks"
# Where the stand-in would send events: they are fetched from it instead.
NOW_S = "simulation:now_s"
REDIS_TIME = "redis.call('TIME')"
OUR_TIME = f"{{redis.call('GET', '{NOW_S}'), 0}}"
# A breaker's pauses are in Redis's own seconds, which nobody can advance.
SETTINGS = {
    "RATE_LIMIT": "1000000 per minute",
    "LOGIN_RATE_LIMIT": "1000000 per minute",
    "WAIT_S": "0.001",
    "STRIPE_WEBHOOK_KEY": "whsec_simulation",
}


class Lean(Control):
    """The stand-in's control for a fifth of what requests costs by itself."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._pool = urllib3.PoolManager()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask for `/sandbox/<path>`."""
        sent = None if body is None else orjson.dumps(body)
        answer = self._pool.request(method, f"{self.url}/sandbox/{path}", body=sent)
        told = orjson.loads(answer.data)
        if answer.status >= 400:
            raise Refused(told["error"]["message"])
        return told


class World:
    """The servers and the processes on them, which stand still until a history moves them.

    Args:
        stripe: a stand-in of this world's own.
    """

    def __init__(self, stripe: Control, redis_url: str) -> None:
        self.stripe = Lean(stripe.url)
        self.redis: redis.Redis = redis.Redis.from_url(redis_url)
        self.errors: list[str] = []
        self.moment = datetime.now(UTC)
        upgrade(engine())
        app.loader.import_default_modules()
        self.app = create_app()
        self._events_seen = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Take this process's clock, its calls and its crash points in hand."""
        count_failure = worker_app._count_failure

        def told(session: Any, owed_id: UUID, error: str, on_failure: Any) -> Any:
            self.errors.append(error)
            return count_failure(session, owed_id, error, on_failure)

        with ExitStack() as held:
            held.enter_context(crew.points())
            held.enter_context(patch.object(worker_app, "_count_failure", told))
            # Between two tries within a call nothing else moves.
            held.enter_context(patch("tenacity.nap.time"))
            for script in ("_ASK", "_TELL"):
                in_our_time = getattr(breaker, script).replace(REDIS_TIME, OUR_TIME)
                held.enter_context(patch.object(breaker, script, in_our_time))
            held.enter_context(patch.object(breaker, "time", self))
            logging.disable(logging.CRITICAL)
            held.callback(logging.disable, logging.NOTSET)
            clock.advance_by(self._offset)
            held.callback(clock.advance_by, timedelta)
            yield

    def monotonic(self) -> float:
        """Return this world's seconds, for who counts them."""
        return self.moment.timestamp()

    def _offset(self) -> timedelta:
        self.moment += TICK
        return self.moment - datetime.now(UTC)

    def clean(self) -> None:
        """Forget all rows, messages and charges, as before the first history."""
        with engine().begin() as connection:
            connection.execute(sqlalchemy.text("SET FOREIGN_KEY_CHECKS = 0"))
            for table in Base.metadata.tables.values():
                connection.execute(table.delete())
            connection.execute(sqlalchemy.text("SET FOREIGN_KEY_CHECKS = 1"))
        self.stripe.reset()
        self.stripe.webhooks(url=PAUSED, is_paused=True)
        self._events_seen = 0

    def begin(self, seed: int) -> None:
        """Begin a history: nothing is in Redis, and all clocks tell the same."""
        random.seed(seed)  # of the jitter in what waits
        self.moment = datetime.fromtimestamp(self.stripe.clock()["now"], UTC)
        self.flush_broker()
        breaker.breaker_of.cache_clear()
        self.errors.clear()

    def advance(self, seconds: int) -> None:
        """Set all clocks forward."""
        self.stripe.advance(seconds)
        self.moment += timedelta(seconds=seconds)
        self._tell_redis()

    def _tell_redis(self) -> None:
        self.redis.set(NOW_S, int(self.moment.timestamp()))

    # --- Messages

    def waiting(self) -> dict[str, int]:
        """Return how many messages wait, by queue."""
        pipeline = self.redis.pipeline(transaction=False)
        for queue in SUBJECTS:
            pipeline.llen(queue)
        return {queue: n for queue, n in zip(SUBJECTS, pipeline.execute(), strict=True) if n}

    def take(self, queue: str) -> bytes:
        """Take the oldest message of a queue from the broker."""
        return self.redis.rpop(queue)  # type: ignore[no-any-return, return-value]

    def put(self, message: bytes) -> None:
        """Bring a message back, or bring it twice."""
        queue = orjson.loads(message)["properties"]["delivery_info"]["routing_key"]
        self.redis.lpush(queue, message)

    def flush_broker(self) -> None:
        """Lose all that is in Redis."""
        self.redis.flushdb()
        self._tell_redis()

    @staticmethod
    def name_of(message: bytes) -> str:
        """Return the task that a message rings for."""
        name: str = orjson.loads(message)["headers"]["task"]
        return name

    @staticmethod
    def handle(message: bytes, *, redelivered: bool) -> None:
        """Do what a worker does with a message."""
        headers = orjson.loads(message)["headers"]
        task = app.tasks[headers["task"]]
        task.push_request(
            id=headers["id"],
            delivery_info={"redelivered": redelivered},
            sends=headers["sends"],
            request_id=headers["request_id"],
        )
        try:
            task.run(headers["id"])
        finally:
            task.pop_request()

    @staticmethod
    def beat() -> list[str]:
        """Return what beat rings for."""
        return list(entries(sweep_every_s=settings().outbox_sweep_every_s))

    @staticmethod
    def ring(name: str) -> None:
        """Do what a worker does when beat rings."""
        app.tasks[name].run()

    # --- Events

    def new_events(self) -> list[dict[str, Any]]:
        """Return the provider's events since the last call."""
        found = self.stripe.events(after=self._events_seen)
        self._events_seen += len(found)
        return found

    def deliver(self, event: dict[str, Any]) -> None:
        """Bring an event to the door, signed now."""
        body = orjson.dumps(event)
        at = int(clock.now().timestamp())
        signed = signature(body, settings().stripe_webhook_key.encode(), at)
        answer = self.app.test_client().post(
            "/api/v1/webhooks/stripe",
            data=body,
            headers={SIGNATURE: signed, "Content-Type": "application/json"},
        )
        assert answer.status_code == 200, answer.text

    # --- What is owed

    def next_due(self) -> datetime | None:
        """Return when the next debt is due; None if nothing is owed."""
        with transaction() as session:
            return session.scalar(
                select(func.min(Owed.due_at)).where(
                    Owed.status == OwedStatus.OWED, Owed.queue.in_(SUBJECTS)
                )
            )

    def sweep_due(self) -> None:
        """Sweep the queues on which something is due: the sweeper would look at every one."""
        with transaction() as session:
            due = select(Owed.queue).where(
                Owed.status == OwedStatus.OWED, Owed.due_at <= clock.now()
            )
            queues = sorted(set(session.scalars(due)) & set(SUBJECTS))
        for queue in queues:
            sweeper._sweep_queue(queue)

    def owed(self) -> list[str]:
        """Return what is owed still."""
        with transaction() as session:
            found = session.scalars(select(Owed).where(Owed.status == OwedStatus.OWED))
            return [f"{owed.task} at {owed.due_at}: {owed.error}" for owed in found]

    def dead(self) -> list[str]:
        """Return what was given up, and why."""
        with transaction() as session:
            found = session.scalars(select(Owed).where(Owed.status == OwedStatus.DEAD))
            return [f"{owed.task}: {owed.error}" for owed in found]
