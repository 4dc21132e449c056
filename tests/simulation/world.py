"""What a history happens in: real servers, both stand-ins, and a clock of its own."""

from __future__ import annotations

import logging
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

import orjson
import redis
import sqlalchemy
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.test import TestResponse

from models import clock
from models.base import Base
from models.outbox import Owed, OwedStatus
from models.schema import upgrade
from sandbox.paypal.book import ORDER_KEY_S, PAYMENT_KEY_S
from sandbox.stripe.book import Book as StripeBook
from schedules.beat import entries
from tests.sandbox_fixture import PayPalProcess, SandboxProcess
from tests.simulation import crew
from tests.simulation.providers import Event, PayPalSide, Side, StripeSide
from web.app import create_app
from worker import app as worker_app
from worker import breaker, sweeper
from worker.app import app
from worker.database import engine, is_conflict, transaction
from worker.gateways.wire import NEVER_SENT
from worker.queues import SUBJECTS
from worker.settings import Settings, settings

TICK = timedelta(milliseconds=1)
# How far the clock goes each time it is read, so that no two things happen at once.
NOW_S = "simulation:now_s"
REDIS_TIME = "redis.call('TIME')"
OUR_TIME = f"{{redis.call('GET', '{NOW_S}'), 0}}"
# A breaker's pauses are in Redis's own seconds, which nobody can advance.
SETTINGS = {
    "RATE_LIMIT": "1000000 per minute",
    "LOGIN_RATE_LIMIT": "1000000 per minute",
    "WAIT_S": "0.001",
    # As in production: other tests have no breaker.
    "BREAKER_FAILURES": str(Settings.breaker_failures),
    "STRIPE_WEBHOOK_KEY": "whsec_simulation",
    "PAYPAL_WEBHOOK_ID": PayPalProcess.webhook_id,
}
# One request of these has one key, however often it is sent: with another it would pay again.
MOVES_MONEY = re.compile(
    r".*(/v1/payment_intents|/v1/refunds|/v2/checkout/orders|/v2/payments/captures/[^/]+/refund)"
)
NOT_EXECUTED = (401, 403, 409, 429)
# So the same request may be sent again at any time.
KEYS = ("Idempotency-Key", "PayPal-Request-Id")
LIVES = {"/v1/": StripeBook.key_life_s, "/v2/checkout/": ORDER_KEY_S, "/refund": PAYMENT_KEY_S}
BUSY, BUSY_S, TRIES = 503, 0.1, 50


def persist(ask: Callable[[], TestResponse]) -> TestResponse:
    """Ask until something is answered: who is told that all is busy asks the same again."""
    for _ in range(TRIES):
        answer = ask()
        if answer.status_code != BUSY:
            break
        time.sleep(BUSY_S)
    return answer


def environ_of(stripe: SandboxProcess, paypal: PayPalProcess) -> dict[str, str]:
    """Return the settings of a process that lives in such a world."""
    return SETTINGS | {
        "STRIPE_API_BASE": stripe.url,
        "PAYPAL_API_BASE": paypal.url,
        "PAYPAL_TRUST_STORE": str(paypal.folder / "root.pem"),
    }


class World:
    """The servers and the processes on them, which stand still until a history moves them.

    Args:
        stripe: a stand-in of this world's own, as is `paypal`.
    """

    def __init__(self, stripe: SandboxProcess, paypal: PayPalProcess, redis_url: str) -> None:
        self.stripe, self.paypal = StripeSide(stripe), PayPalSide(paypal)
        self.sides: dict[str, Side] = {side.name: side for side in (self.stripe, self.paypal)}
        self.keys: dict[tuple[str, bytes | str | None], set[str]] = defaultdict(set)
        self.first_sent: dict[str, datetime] = {}
        self.sent_late: list[str] = []
        self.redis: redis.Redis = redis.Redis.from_url(redis_url)
        self.errors: list[str] = []
        self.moment = datetime.now(UTC)
        upgrade(engine())
        app.loader.import_default_modules()
        self.app = create_app()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Take this process's clock, its calls and its crash points in hand."""
        count_failure = worker_app._count_failure

        def told(session: Any, owed_id: UUID, error: str, on_failure: Any) -> Any:
            self.errors.append(error)
            return count_failure(session, owed_id, error, on_failure)

        with ExitStack() as held:
            held.enter_context(crew.points(self._call))
            held.enter_context(patch.object(worker_app, "_count_failure", told))
            # Between two tries within a call nothing else moves.
            held.enter_context(patch("tenacity.nap.time"))
            held.enter_context(patch("tenacity.time", self))
            for script in ("_ASK", "_TELL"):
                in_our_time = getattr(breaker, script).replace(REDIS_TIME, OUR_TIME)
                held.enter_context(patch.object(breaker, script, in_our_time))
            held.enter_context(patch.object(breaker, "time", self))
            logging.disable(logging.CRITICAL)
            held.callback(logging.disable, logging.NOTSET)
            clock.advance_by(self._offset)
            held.callback(clock.advance_by, timedelta)
            yield

    def _call(
        self, send: Callable[[], Any], method: str, url: str, *, headers: Any, body: Any
    ) -> Any:
        """Make a call to a provider, and note it if it may have been executed."""
        is_executed, moment = True, self.moment
        try:
            answer = send()
            is_executed = answer[1] not in NOT_EXECUTED
        except NEVER_SENT:
            is_executed = False
            raise
        finally:
            if is_executed and method == "POST" and MOVES_MONEY.fullmatch(url):
                self._note(url, headers, body, moment)
        return answer

    def _note(self, url: str, headers: Any, body: Any, moment: datetime) -> None:
        life_s = next(life_s for part, life_s in LIVES.items() if part in url)
        for key in (headers[name] for name in KEYS if name in headers):
            self.keys[url, body].add(key)
            age = moment - self.first_sent.setdefault(key, moment)
            if age > timedelta(seconds=life_s):
                self.sent_late.append(f"{key} was sent again after {age}")

    def keys_misused(self) -> list[str]:
        """Return the requests that were sent under more than one key, or under a forgotten one."""
        return self.sent_late + [
            f"{url} was sent under {sorted(keys)}"
            for (url, _), keys in self.keys.items()
            if keys and len(keys) > 1
        ]

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
        for side in self.sides.values():
            side.reset()
        self.keys.clear()
        self.first_sent.clear()
        self.sent_late.clear()

    def begin(self, seed: int) -> None:
        """Begin a history: nothing is in Redis, and all clocks tell the same."""
        random.seed(seed)  # of the jitter in what waits
        self.moment = datetime.fromtimestamp(self.stripe.control.clock()["now"], UTC)
        self.flush_broker()
        breaker.breaker_of.cache_clear()
        self.errors.clear()

    def advance(self, seconds: int) -> None:
        """Set all clocks forward."""
        for side in self.sides.values():
            side.control.advance(seconds)
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
        return self.redis.rpop(queue)  # type: ignore[return-value]

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
        """Do what a worker does when beat rings; of two that are in each other's way one does."""
        try:
            app.tasks[name].run()
        except SQLAlchemyError as error:
            if not is_conflict(error):
                raise

    # --- Events

    def new_events(self) -> list[Event]:
        """Return the providers' events since the last call."""
        return [event for side in self.sides.values() for event in side.new_events()]

    def taken(self, events: list[Event]) -> None:
        """Have the providers know that these were delivered."""
        for side in self.sides.values():
            if ids := [event.id for event in events if event.provider is side]:
                side.control.taken(ids)

    def deliver(self, event: Event) -> None:
        """Bring an event to the door, signed now."""
        body, headers = event.provider.delivery(event)
        path = f"/api/v1/webhooks/{event.provider.name}"
        answer = persist(lambda: self.app.test_client().post(path, data=body, headers=headers))
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
