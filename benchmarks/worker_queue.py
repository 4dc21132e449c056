"""How fast one worker gets through its queue, and what a task costs it: ours, Celery's, dramatiq's.

Tasks that do nothing, and tasks that wait 20 ms. The messages come all at once when the clock
starts; it stops when none is left, waiting or unacknowledged.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack

import redis

from benchmarks.processes import bench_python, cpu_s
from benchmarks.report import FOLDER, against_goal, keep, table, title
from models.ids import new_id
from sandbox.children import Child
from sandbox.servers import PrivateValkey

ROUNDS = 3
NOTHING, WAIT = "bench.nothing", "bench.wait"
MESSAGES = {NOTHING: 3000, WAIT: 1500}
QUEUE = "bench"
DONE_S = 180.0
NAME = "worker_queue"
LOG = FOLDER / "worker_queue.log"


class CeleryWorker:
    """A Celery worker to measure.

    Args:
        environ: tells benchmarks.peers.queue_app which transport and settings.
        flags: of `celery worker`.
    """

    def __init__(self, name: str, flags: str, **environ: str) -> None:
        self.name = name
        self.flags = flags
        self.environ: Mapping[str, str] = environ
        self.rates: dict[str, list[float]] = {}
        self.costs: dict[str, list[float]] = {}

    def start(self, url: str) -> Child:
        """Start it without what talks to other workers."""
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.peers.queue_app", "worker"]
        command += [*self.flags.split(), "-l", "warning", "-n", "bench@%h"]
        command += ["--without-mingle", "--without-gossip"]
        return self._child(command, url)

    def prepare(self, client: redis.Redis, url: str, task: str, number: int) -> None:  # noqa: ARG002
        """Make messages and keep them aside."""
        # Late, as it reads settings.
        from worker import dispatch

        made = [dispatch.message(new_id(), task, QUEUE) for _ in range(number)]
        client.lpush(f"aside:{QUEUE}", *made)

    def push(self, client: redis.Redis) -> None:
        """Give the worker what is kept aside."""
        client.rename(f"aside:{QUEUE}", QUEUE)

    def left(self, client: redis.Redis) -> int:
        """Return how many messages wait or are unacknowledged."""
        pipe = client.pipeline(transaction=False)
        pipe.llen(QUEUE)
        pipe.hlen("unacked")
        return sum(pipe.execute())

    def _child(self, command: list[str], url: str) -> Child:
        environ = {**os.environ, "BROKER_URL": url, **self.environ}
        with LOG.open("ab") as log:
            return Child(command, env=environ, output=log, grace_s=20)


class DramatiqWorker(CeleryWorker):
    """A dramatiq worker to measure."""

    def start(self, url: str) -> Child:
        """Start it."""
        command = [bench_python(), "-m", "dramatiq", "benchmarks.peers.dramatiq_app"]
        return self._child([*command, *self.flags.split()], url)

    def prepare(self, client: redis.Redis, url: str, task: str, number: int) -> None:
        """Send messages and take them away again at once, while no worker runs."""
        script = [bench_python(), "-m", "benchmarks.peers.dramatiq_app", task, str(number)]
        aside = {**os.environ, "BROKER_URL": url.removesuffix("/0") + "/1"}
        subprocess.run(script, check=True, env=aside)
        for key in (f"dramatiq:{QUEUE}", f"dramatiq:{QUEUE}.msgs"):
            # To the worker's database, under another name.
            client.execute_command("SELECT", 1)
            client.copy(key, f"aside:{key}", destination_db=0)
            client.delete(key)
            client.execute_command("SELECT", 0)

    def push(self, client: redis.Redis) -> None:
        """Give the worker what is kept aside."""
        pipe = client.pipeline()
        for key in (f"dramatiq:{QUEUE}.msgs", f"dramatiq:{QUEUE}"):
            pipe.rename(f"aside:{key}", key)
        pipe.execute()

    def left(self, client: redis.Redis) -> int:
        """Return how many messages wait or are unacknowledged."""
        return client.hlen(f"dramatiq:{QUEUE}.msgs")


SHIPPED = CeleryWorker("Celery as it ships, prefork 2", "-P prefork -c 2")
STOCK = CeleryWorker("kombu's transport, 16 threads", "-P threads -c 16", QUEUE_SETTINGS="ours")
OURS = CeleryWorker(
    "our transport, 16 threads",
    "-P threads -c 16",
    QUEUE_SETTINGS="ours",
    QUEUE_TRANSPORT="ours",
)
STOCK_TOLD = CeleryWorker(
    "kombu's transport, 16 threads, events", "-P threads -c 16 -E", QUEUE_SETTINGS="ours"
)
OURS_TOLD = CeleryWorker(
    "our transport, 16 threads, events",
    "-P threads -c 16 -E",
    QUEUE_SETTINGS="ours",
    QUEUE_TRANSPORT="ours",
)
DRAMATIQ = DramatiqWorker("dramatiq 2.2, 16 threads", "-p 1 -t 16")
WORKERS = (SHIPPED, STOCK, OURS, STOCK_TOLD, OURS_TOLD, DRAMATIQ)


def run() -> None:
    """Measure and print."""
    title("A worker and its queue")
    bench_python()
    with ExitStack() as held:
        valkey = held.enter_context(PrivateValkey(FOLDER / "valkey"))
        # One connection, as one of them is told to SELECT.
        client = redis.Redis.from_url(valkey.url, single_connection_client=True)
        held.enter_context(client)
        client.flushall()
        for _ in range(ROUNDS):
            for worker in WORKERS:
                measure(worker, client, valkey.url)
    for task in MESSAGES:
        rows = [
            {
                "worker": each.name,
                f"{task}/s": statistics.median(each.rates[task]),
                "CPU µs": statistics.median(each.costs[task]),
            }
            for each in WORKERS
        ]
        table(rows)
        for row in rows:
            keep(NAME, **row)
    judge()


def judge() -> None:
    """Print the ratios beside their goals."""

    def ratio(over: CeleryWorker, under: CeleryWorker, task: str, what: str = "rates") -> float:
        first, second = getattr(over, what)[task], getattr(under, what)[task]
        return statistics.median(first) / statistics.median(second)

    nothing = "tasks/s that do nothing, against"
    against_goal(NAME, f"{nothing} Celery as it ships", ratio(OURS, SHIPPED, NOTHING), ">=", 4)
    against_goal(NAME, f"{nothing} kombu's transport", ratio(OURS, STOCK, NOTHING), ">=", 1)
    cost = ratio(OURS, STOCK, NOTHING, "costs")
    against_goal(NAME, "CPU a task, against kombu's transport", cost, "<=", 1)
    against_goal(NAME, "tasks/s of 20 ms, against dramatiq", ratio(OURS, DRAMATIQ, WAIT), ">=", 1)


def measure(worker: CeleryWorker, client: redis.Redis, url: str) -> None:
    """Let one worker work through each kind of task once."""
    child = worker.start(url)
    try:
        # The first task finds the worker starting; it does not count.
        for task, number in [(WAIT, 1), *MESSAGES.items()]:
            worker.prepare(client, url, task, number)
            used_s, began = cpu_s([child.pid]), time.perf_counter()
            worker.push(client)
            wait_until_done(worker, client, child)
            took_s = time.perf_counter() - began
            used_s = cpu_s([child.pid]) - used_s
            if number > 1:
                worker.rates.setdefault(task, []).append(number / took_s)
                worker.costs.setdefault(task, []).append(used_s / number * 1e6)
    finally:
        child.stop()


def wait_until_done(worker: CeleryWorker, client: redis.Redis, child: Child) -> None:
    """Return when no message is left."""
    deadline = time.monotonic() + DONE_S
    while worker.left(client):
        if child.exit_code() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the worker does not work: {LOG}")
        time.sleep(0.01)


if __name__ == "__main__":
    run()
