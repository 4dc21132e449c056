"""From a committed webhook to the event that a browser hears, at a steady rate.

The whole way: gunicorn stores `payment_intent.succeeded`, a worker settles payment and invoice,
another task publishes. Its floor is a task that does nothing but publish, under the same worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC
from uuid import UUID

import redis
import sqlalchemy

from benchmarks.load import quantile
from benchmarks.processes import Gunicorn, start_worker
from benchmarks.report import FOLDER, against_goal, keep, table, title
from benchmarks.webhook_intake import KEY, make_empty
from models import schema
from sandbox.servers import PrivateMariaDB, PrivateValkey

RATE = 200
SECONDS = 5
COMPANIES = 25
PAYMENTS = RATE * SECONDS
AMOUNT = "2499.00"
# What the events of benchmarks.load say.
QUIET_S = 60.0
NAME = "webhook_to_event"


class Ear:
    """Hears channels in a thread and keeps when each message came."""

    def __init__(self, url: str, pattern: str, read: Callable[[bytes], str | None]) -> None:
        self.heard_at: dict[str, float] = {}
        self._client = redis.Redis.from_url(url)
        self._channel = self._client.pubsub(ignore_subscribe_messages=True)
        self._channel.psubscribe(pattern)
        self._read = read
        self._is_open = True
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while self._is_open:
            message = self._channel.get_message(timeout=0.2)
            if message is not None and (name := self._read(message["data"])):
                self.heard_at.setdefault(name, time.time())

    def wait(self, number: int) -> None:
        """Return once so many were heard, or nothing new came for a while."""
        deadline = time.monotonic() + QUIET_S
        while len(self.heard_at) < number and time.monotonic() < deadline:
            time.sleep(0.05)

    def close(self) -> None:
        """Stop."""
        self._is_open = False
        self._thread.join()
        self._client.close()


def run() -> None:
    """Measure and print."""
    title(f"Committed webhook to published event, {RATE} a second")
    with ExitStack() as held:
        mariadb = held.enter_context(PrivateMariaDB(FOLDER / "mariadb"))
        valkey = held.enter_context(PrivateValkey(FOLDER / "valkey"))
        make_empty(mariadb, valkey)
        environ = {
            "DATABASE_URL": mariadb.url,
            "REDIS_URL": valkey.url,
            "BROKER_URL": valkey.url,
            "STRIPE_WEBHOOK_KEY": KEY,
        }
        # Before anything reads the settings of this process.
        os.environ.update(environ)
        engine = sqlalchemy.create_engine(mariadb.url, poolclass=sqlalchemy.NullPool)
        schema.upgrade(engine)
        floor = measure_floor(held, valkey, environ)
        whole = measure_whole(held, engine, valkey, environ)
    rows = [
        {
            "way": name,
            "heard": len(times_s),
            "p50 ms": quantile(times_s, 0.5) * 1000,
            "p99 ms": quantile(times_s, 0.99) * 1000,
        }
        for name, times_s in (("task that publishes", floor), ("webhook to event", whole))
    ]
    table(rows)
    for row in rows:
        keep(NAME, **row)
    ratio = rows[1]["p50 ms"] / rows[0]["p50 ms"]  # type: ignore[operator]
    against_goal(NAME, "p50 against the floor", ratio, "<=", 3)


def measure_floor(held: ExitStack, valkey: PrivateValkey, environ: dict[str, str]) -> list[float]:
    """Return the seconds from `apply_async` to what the task published."""
    from benchmarks.peers.tasks_app import FLOOR, publish

    worker = start_worker("peer_worker", "benchmarks.peers.tasks_app", environ)
    held.callback(worker.stop)
    ear = Ear(valkey.url, FLOOR, lambda data: data.decode())
    held.callback(ear.close)
    publish.apply_async((0.0,))
    ear.wait(1)
    started = time.monotonic()
    for number in range(PAYMENTS):
        time.sleep(max(0.0, started + number / RATE - time.monotonic()))
        publish.apply_async((time.time(),))
    ear.wait(PAYMENTS + 1)
    worker.stop()
    return [heard - float(sent) for sent, heard in ear.heard_at.items() if sent != "0.0"]


def measure_whole(
    held: ExitStack, engine: sqlalchemy.Engine, valkey: PrivateValkey, environ: dict[str, str]
) -> list[float]:
    """Return the seconds from the commit of a webhook to the event that was heard."""
    payments = make_payments()
    server = Gunicorn("ours", "web.app:create_app()", environ)
    held.callback(server.stop)
    worker = start_worker("our_worker", "worker.app", environ, queues="webhooks,events")
    held.callback(worker.stop)
    ear = Ear(valkey.url, "channel:*", _transaction_of)
    held.callback(ear.close)
    file = FOLDER / "payments.json"
    file.write_text(json.dumps(payments))
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(server.port)]
    command += ["--path", "/api/v1/webhooks/stripe", "--rate", str(RATE)]
    command += ["--seconds", str(SECONDS), "--payments", str(file)]
    sent = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if sent["failed"]:
        print(f"{sent['failed']} webhooks were not taken")
    ear.wait(PAYMENTS)
    with engine.connect() as connection:
        query = "SELECT transaction_id, created_at FROM payment_webhooks"
        stored = {
            str(UUID(bytes=row[0])): row[1] for row in connection.exec_driver_sql(query) if row[0]
        }
    return [
        heard - stored[payment].replace(tzinfo=UTC).timestamp()
        for payment, heard in ear.heard_at.items()
        if payment in stored
    ]


def _transaction_of(data: bytes) -> str | None:
    message = json.loads(data)
    if message["type"] != "payment.succeeded":
        return None
    return str(message["data"]["transaction_id"])


def make_payments() -> list[tuple[str, str]]:
    """Make companies with payments that wait for their event; return (payment, company) ids."""
    from tests.factories import make_company, make_invoice, make_payment

    made = []
    for _ in range(COMPANIES):
        customer = make_company()
        for _ in range(PAYMENTS // COMPANIES):
            invoice_id = make_invoice(customer.company_id, AMOUNT)
            payment_id = make_payment(customer, invoice_id, AMOUNT)
            made.append((str(payment_id), str(customer.company_id)))
    return made


if __name__ == "__main__":
    run()
