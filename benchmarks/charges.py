"""A thousand payments that are owed, charged by one worker of 64 threads at a provider of 20 ms.

From the ring of the first message until every payment is stored as paid and every event is out.
The provider's own webhooks are held back: what they cost is in `webhook_to_event`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from benchmarks.ear import Ear
from benchmarks.processes import cpu_s
from benchmarks.report import FOLDER, against_goal, keep, table, title
from models.base import across_companies
from models.transactions import Status, Transaction
from tests.faults.till import Till
from tests.system import System
from worker.dispatch import message_for

PAYMENTS = 1000
WARM = 64
COMPANIES = 4
THREADS = 64
ANSWER_MS = 20
ROUNDS = 3
NAME = "charges"
GOAL_S = 2.0


def run() -> None:
    """Measure and print."""
    title(f"{PAYMENTS} payments, one worker of {THREADS} threads, a provider of {ANSWER_MS} ms")
    folder = FOLDER / NAME
    shutil.rmtree(folder, ignore_errors=True)
    environ = {"OUTBOX_RESEND_AFTER_S": "30", "OUTBOX_SWEEP_EVERY_S": "5", "LOG_LEVEL": "INFO"}
    with System(folder, environ=environ, parts=("sandbox",)) as system:
        system.worker.argv = [str(THREADS) if word == "16" else word for word in system.worker.argv]
        system.worker.start()
        system.stripe.webhooks(is_paused=True)
        tills = [Till(system) for _ in range(COMPANIES)]
        system.stripe.fault("slow", delay_ms=ANSWER_MS, path="/v1/payment_intents", count=None)
        measure(system, tills, WARM)
        rows = [measure(system, tills, PAYMENTS) for _ in range(ROUNDS)]
    table(rows)
    for row in rows:
        keep(NAME, **row)
    best_s = min(float(row["s"]) for row in rows)
    against_goal(NAME, f"{PAYMENTS} payments, seconds", best_s, "<=", GOAL_S)


def measure(system: System, tills: Sequence[Till], number: int) -> dict[str, object]:
    """Charge so many payments; return the time, the rate and the worker's CPU a payment."""
    with system.session() as session:
        before = _paid(session)
    charged = len(system.stripe.charges())
    debts = [row for n in range(number) for row in tills[n % len(tills)].owe()[1]]
    messages = [message_for(row) for row in debts]
    ear = Ear(system.environ["REDIS_URL"], "channel:*", _invoice_of)
    used_s = cpu_s([system.worker.pid])
    began = time.time()
    for queue, message in messages:
        system.redis.lpush(queue, message)
    ear.wait(number)
    took_s = max(ear.heard_at.values()) - began
    used_s = cpu_s([system.worker.pid]) - used_s
    ear.close()
    with system.session() as session:
        paid = _paid(session) - before
    charged = len(system.stripe.charges()) - charged
    if not paid == charged == len(ear.heard_at) == number:
        raise SystemExit(
            f"of {number} payments {charged} were charged, {paid} stored, {len(ear.heard_at)} heard"
        )
    return {
        "payments": number,
        "s": took_s,
        "a second": number / took_s,
        "worker CPU ms each": used_s / number * 1000,
    }


def _paid(session: Session) -> int:
    query = select(func.count()).where(Transaction.status == Status.SUCCEEDED)
    return session.scalar(across_companies(query, because="a measurement counts")) or 0


def _invoice_of(data: bytes) -> str | None:
    message = json.loads(data)
    return str(message["data"]["invoice_id"]) if message["type"] == "invoice.paid" else None


if __name__ == "__main__":
    run()
