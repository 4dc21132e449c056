"""`make chaos`: ten thousand histories, shown as they go, and gone on with where they ended.

    python -m tests.simulation.chaos [--histories 10000] [--seconds 3600] [--processes 2] [--again]

Each process has servers of its own and takes every n-th batch of seeds. What is done stands in
`var/chaos/done.json`; a seed that broke something is told at once with its whole history, in
`var/chaos/broken.txt` too, and the others go on. Ends with 1 if any did.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from queue import Empty

from sandbox.children import VAR
from tests.sandbox_fixture import SandboxProcess
from tests.servers import Servers, make_empty_database
from tests.simulation.batch import run_batch
from tests.simulation.history import Broken
from tests.simulation.world import SETTINGS, World

BATCH = 20
FOLDER = VAR / "chaos"
DONE, BROKEN = FOLDER / "done.json", FOLDER / "broken.txt"
STOPPED = 130
Told = tuple[int, str]
SPAWNING = multiprocessing.get_context("spawn")
# Each process reads its settings for itself.


def main() -> int:
    """Run what has not been run."""
    asked = _options()
    FOLDER.mkdir(parents=True, exist_ok=True)
    done: set[int] = set()
    if DONE.exists() and not asked.again:
        done |= set(json.loads(DONE.read_text()))
    wanted = [first for first in range(0, asked.histories, BATCH) if first not in done]
    say(f"{asked.histories} histories, {len(done) * BATCH} of them done before; seeds from 0")
    told: Queue[Told] = SPAWNING.Queue()
    began, broken = time.monotonic(), 0
    workers = [
        SPAWNING.Process(
            target=work, args=(wanted[number :: asked.processes], asked.seconds, told), daemon=True
        )
        for number in range(asked.processes)
    ]
    for worker in workers:
        worker.start()
    for first, trouble in _answers(workers, told):
        broken += bool(trouble)
        if trouble:
            say(trouble)
            with BROKEN.open("a") as file:
                file.write(f"{trouble}\n\n")
        done.add(first)
        DONE.write_text(json.dumps(sorted(done)))
        took_s = time.monotonic() - began
        say(f"{len(done) * BATCH} of {asked.histories} histories, {broken} broken, {took_s:.0f} s")
    if any(worker.exitcode for worker in workers):
        say("a process of it has ended before its time")
        return 1
    left = len(wanted) - sum(first in done for first in wanted)
    if left:
        say(f"{left * BATCH} histories are left; the same command goes on with them")
    return 1 if broken else 0


def _answers(workers: Sequence[SpawnProcess], told: Queue[Told]) -> Iterator[Told]:
    while any(worker.is_alive() for worker in workers) or not told.empty():
        try:
            yield told.get(timeout=1)
        except Empty:
            continue


def work(firsts: Sequence[int], seconds: float, told: Queue[Told]) -> None:
    """Run these batches in a world of this process's own."""
    until = time.monotonic() + seconds
    with world() as running:
        for first in firsts:
            if time.monotonic() > until:
                return
            try:
                run_batch(running, range(first, first + BATCH))
            except Broken as error:
                told.put((first, str(error)))
            else:
                told.put((first, ""))


@contextmanager
def world() -> Iterator[World]:
    """Start servers and a stand-in, and make a world on them."""
    servers = Servers()
    urls = servers.urls().of_process("master")
    make_empty_database(urls.database)
    stripe = SandboxProcess(FOLDER / f"stripe-{os.getpid()}")
    os.environ |= SETTINGS | {
        "DATABASE_URL": urls.database,
        "REDIS_URL": urls.redis,
        "BROKER_URL": urls.broker,
        "STRIPE_API_BASE": stripe.url,
    }
    try:
        made = World(stripe.control, urls.redis)
        with made.running():
            yield made
    finally:
        stripe.stop()
        servers.stop()


def say(text: str) -> None:
    """Tell whoever watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.chaos")
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=4 * 3600.0, help="begin no batch later")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="forget what was done before")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(STOPPED)
