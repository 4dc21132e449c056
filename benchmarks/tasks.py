"""What it costs to owe a task's message, and how long who waits for its answer waits.

Messages: `worker.dispatch` against Celery's `apply_async`, plain and with a producer that is held.
Answers: a reply key and BLPOP against `AsyncResult.get`, both through one real Celery worker.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import redis

from benchmarks.load import quantile
from benchmarks.processes import start_worker
from benchmarks.report import FOLDER, against_goal, keep, table, title
from models.ids import new_id
from sandbox.servers import PrivateValkey

ROUNDS = 5
MESSAGES = 600
GROUP = 200
ANSWERS = 300
WAITERS = 8


def run() -> None:
    """Measure and print."""
    with ExitStack() as held:
        valkey = held.enter_context(PrivateValkey(FOLDER / "valkey"))
        with redis.Redis.from_url(valkey.url) as client:
            client.flushdb()
        environ = {"REDIS_URL": valkey.url, "BROKER_URL": valkey.url}
        # Before anything reads the settings of this process.
        os.environ.update(environ)
        measure_messages()
        measure_answers(held, environ)


def measure_messages() -> None:
    """Measure the CPU that one message costs its sender."""
    from benchmarks.peers.tasks_app import app, nothing
    from worker import dispatch

    title("Sending a task's message")
    bell = dispatch.Doorbell(os.environ["BROKER_URL"])
    ways: dict[str, Callable[[], None]] = {
        "apply_async": partial(_apply, nothing),
        "apply_async, held producer": partial(_apply_held, app, nothing),
        "dispatch, one a round trip": partial(_ring, bell, 1),
        f"dispatch, {GROUP} a round trip": partial(_ring, bell, GROUP),
    }
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, send in ways.items():
            costs[name].append(_cost(send))
            if bell.client.llen("peer") != MESSAGES:
                raise SystemExit(f"{name} did not send all of its messages")
            bell.client.delete("peer")
    rows = [
        {
            "way": name,
            "CPU µs": statistics.median(cpu for cpu, _ in costs[name]),
            "µs": statistics.median(wall for _, wall in costs[name]),
        }
        for name in ways
    ]
    table(rows)
    for row in rows:
        keep("enqueue", **row)
    plain, _, alone, together = (float(row["CPU µs"]) for row in rows)
    against_goal("enqueue", "CPU, one message, against apply_async", alone / plain, "<=", 1)
    against_goal("enqueue", f"CPU, {GROUP} at once, against apply_async", together / plain, "<=", 1)


def _apply(task: Any) -> None:
    for _ in range(MESSAGES):
        task.apply_async((str(new_id()),))


def _apply_held(app: Any, task: Any) -> None:
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(MESSAGES):
            task.apply_async((str(new_id()),), producer=producer)


def _ring(bell: Any, together: int) -> None:
    from worker import dispatch

    for _ in range(MESSAGES // together):
        bell.ring(
            [("peer", dispatch.message(new_id(), "peer.nothing", "peer")) for _ in range(together)]
        )


def _cost(send: Callable[[], None]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    send()
    return (
        (time.process_time() - cpu) / MESSAGES * 1e6,
        (time.perf_counter() - wall) / MESSAGES * 1e6,
    )


def measure_answers(held: ExitStack, environ: Mapping[str, str]) -> None:
    """Measure how long a request waits for a worker's answer."""
    from benchmarks.peers.tasks_app import answer_by_key, answer_by_result
    from worker import replies

    title("Waiting for a worker's answer")
    worker = start_worker("peer_worker", "benchmarks.peers.tasks_app", environ)
    held.callback(worker.stop)

    def by_key() -> None:
        key = replies.new_key()
        answer_by_key.apply_async((key,))
        if replies.wait(key, timeout_s=30) is None:
            raise SystemExit("the worker does not answer: var/bench/peer_worker.log")

    def by_result() -> None:
        answer_by_result.apply_async((0.0,)).get(timeout=30)

    ways: dict[str, tuple[Callable[[], None], int]] = {
        "reply key, one waiter": (by_key, 1),
        "AsyncResult.get, one waiter": (by_result, 1),
        f"reply key, {WAITERS} waiters": (by_key, WAITERS),
    }
    for ask, _ in ways.values():
        ask()
    rows = []
    for name, (ask, waiters) in ways.items():
        # AsyncResult.get is not safe across threads, so it is measured with one waiter only.
        times_s = _ask_many(ask, waiters)
        rows.append(
            {
                "way": name,
                "p50 ms": quantile(times_s, 0.5) * 1000,
                "p99 ms": quantile(times_s, 0.99) * 1000,
            }
        )
    table(rows)
    for row in rows:
        keep("answer", **row)
    ratio = rows[0]["p50 ms"] / rows[1]["p50 ms"]  # type: ignore[operator]
    against_goal("answer", "p50, reply key against AsyncResult.get", ratio, "<=", 1)


def _ask_many(ask: Callable[[], None], waiters: int) -> list[float]:
    times_s: list[float] = []

    def work() -> None:
        for _ in range(ANSWERS // waiters):
            started = time.perf_counter()
            ask()
            times_s.append(time.perf_counter() - started)

    threads: list[Any] = [threading.Thread(target=work) for _ in range(waiters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times_s


if __name__ == "__main__":
    run()
