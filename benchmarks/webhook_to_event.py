"""From a committed webhook to the event that a browser hears, at a steady rate.

The whole way: gunicorn stores `payment_intent.succeeded`, a worker settles payment and invoice,
another task publishes. Its floor is a task that does nothing but publish, under the same worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from uuid import UUID

import sqlalchemy

from benchmarks.ear import Ear
from benchmarks.load import quantile
from benchmarks.processes import Gunicorn, cpu_s, start_worker
from benchmarks.report import FOLDER, against_goal, keep, table, title
from benchmarks.webhook_intake import KEY, make_empty
from models import schema
from sandbox.servers import PrivateMariaDB, PrivateValkey

RATES = (20, 200)
# The goal's rate, and one that a worker on two busy cores keeps up with.
SECONDS = 4
COMPANIES = 20
WARM = 20
AMOUNT = "2499.00"
# What the events of benchmarks.load say.
NAME = "webhook_to_event"


@dataclass(frozen=True)
class Measured:
    """The times of one way, and the CPU that its worker used."""

    way: str
    times_s: list[float]
    cpu_s: float


def run() -> None:
    """Measure and print."""
    title("Committed webhook to published event")
    rows: list[dict[str, Any]] = []
    with ExitStack() as held:
        engine, environ = start_servers(held)
        for rate in RATES:
            for measured in measure_floor(rate, environ), measure_whole(rate, engine, environ):
                rows.append(  # noqa: PERF401  a comprehension of six lines reads worse
                    {
                        "way": f"{measured.way}, {rate}/s",
                        "heard": len(measured.times_s),
                        "p50 ms": quantile(measured.times_s, 0.5) * 1000,
                        "p99 ms": quantile(measured.times_s, 0.99) * 1000,
                        "worker CPU µs": measured.cpu_s / max(1, len(measured.times_s)) * 1e6,
                    }
                )
    table(rows)
    for row in rows:
        keep(NAME, **row)
    for floor_row, row in zip(rows[::2], rows[1::2], strict=True):
        ratio = row["p50 ms"] / floor_row["p50 ms"]
        against_goal(NAME, f"p50, {row['way']}, against its floor", ratio, "<=", 3)


def start_servers(held: ExitStack) -> tuple[sqlalchemy.Engine, dict[str, str]]:
    """Start MariaDB and Valkey, empty, and let this process and its children use them."""
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
    return engine, environ


def measure_floor(rate: int, environ: dict[str, str]) -> Measured:
    """Measure from `apply_async` to what the task published."""
    from benchmarks.peers.tasks_app import FLOOR, publish

    with ExitStack() as held:
        worker = start_worker("peer_worker", "benchmarks.peers.tasks_app", environ)
        held.callback(worker.stop)
        ear = Ear(environ["REDIS_URL"], FLOOR, lambda data: data.decode())
        held.callback(ear.close)
        publish.apply_async((0.0,))
        ear.wait(1)
        used_s = cpu_s([worker.pid])
        started = time.monotonic()
        for number in range(rate * SECONDS):
            time.sleep(max(0.0, started + number / rate - time.monotonic()))
            publish.apply_async((time.time(),))
        ear.wait(rate * SECONDS + 1)
        used_s = cpu_s([worker.pid]) - used_s
    times_s = [heard - float(sent) for sent, heard in ear.heard_at.items() if sent != "0.0"]
    return Measured("task that publishes", times_s, used_s)


def measure_whole(rate: int, engine: sqlalchemy.Engine, environ: dict[str, str]) -> Measured:
    """Measure from the commit of a webhook to the event that was heard."""
    payments = make_payments(rate * SECONDS + WARM)
    with ExitStack() as held:
        server = Gunicorn("ours", "web.app:create_app()", environ)
        held.callback(server.stop)
        worker = start_worker("our_worker", "worker.app", environ, queues="webhooks,events")
        held.callback(worker.stop)
        ear = Ear(environ["REDIS_URL"], "channel:*", _transaction_of)
        held.callback(ear.close)
        # The first find the worker starting and its connections to be made: they do not count.
        _send(server, payments[:WARM], rate=WARM / 2)
        ear.wait(WARM)
        used_s = cpu_s([worker.pid])
        _send(server, payments[WARM:], rate=rate)
        ear.wait(len(payments))
        used_s = cpu_s([worker.pid]) - used_s
    with engine.connect() as connection:
        query = "SELECT transaction_id, created_at FROM payment_webhooks"
        stored = {
            str(UUID(bytes=row[0])): row[1].replace(tzinfo=UTC).timestamp()
            for row in connection.exec_driver_sql(query)
            if row[0]
        }
    counted = {payment for payment, _ in payments[WARM:]} & stored.keys() & ear.heard_at.keys()
    times_s = [ear.heard_at[payment] - stored[payment] for payment in counted]
    return Measured("webhook to event", times_s, used_s)


def _send(server: Gunicorn, payments: list[tuple[str, str]], *, rate: float) -> None:
    file = FOLDER / "payments.json"
    file.write_text(json.dumps(payments))
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(server.port)]
    command += ["--path", "/api/v1/webhooks/stripe", "--rate", str(rate)]
    command += ["--payments", str(file), "--seconds", str(len(payments) / rate + 5)]
    ran = subprocess.run(command, check=True, capture_output=True)
    answered = json.loads(ran.stdout)["answered"]
    if answered != len(payments):
        print(f"of {len(payments)} webhooks {answered} were taken")


def _transaction_of(data: bytes) -> str | None:
    message = json.loads(data)
    if message["type"] != "payment.succeeded":
        return None
    return str(message["data"]["transaction_id"])


def make_payments(number: int) -> list[tuple[str, str]]:
    """Make companies with payments that wait for their event; return (payment, company) ids."""
    from tests.factories import make_company, make_invoice, make_payment

    customers = [make_company() for _ in range(COMPANIES)]
    made = []
    for turn in range(number):
        customer = customers[turn % COMPANIES]
        invoice_id = make_invoice(customer.company_id, AMOUNT)
        payment_id = make_payment(customer, invoice_id, AMOUNT)
        made.append((str(payment_id), str(customer.company_id)))
    return made


if __name__ == "__main__":
    run()
