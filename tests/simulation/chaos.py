"""`make chaos`: ten thousand histories, shown as they go, and gone on with where they ended.

    python -m tests.simulation.chaos [--histories 10000] [--seconds 14400] [--processes 2] [--again]

Each process has servers of its own and takes every n-th batch of seeds. What held stands in
`var/chaos/done.json`, for as long as the code is the same; a seed that broke something is told at
once with its whole history, in `var/chaos/broken.txt` too, and the others go on. It is run again
the next time. Ends with 1 if any broke or is left.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty

from sandbox.children import VAR
from tests.sandbox_fixture import PayPalProcess, SandboxProcess, end_with_parent
from tests.servers import Servers, make_empty_database
from tests.simulation.batch import run_batch
from tests.simulation.history import Broken
from tests.simulation.world import World, environ_of

BATCH = 20
FOLDER = VAR / "chaos"
DONE, BROKEN = FOLDER / "done.json", FOLDER / "broken.txt"
ROOMS = ("models", "sandbox", "schedules", "tasks", "tests/simulation", "web", "worker")
STOPPED = 130
Told = tuple[int, str]
SPAWNING = multiprocessing.get_context("spawn")
# Each process reads its settings for itself.


class Progress:
    """What has been run, of all that is asked for, and how fast it goes."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.code = _fingerprint()
        self.held = set() if asked.again or asked.batch != BATCH else self._before()
        self.wanted = [n for n in range(0, asked.histories, asked.batch) if n not in self.held]
        self.broken: list[int] = []
        self._todo = len(self.wanted) * int(asked.batch)
        self._ran = 0
        self._began = time.monotonic()

    def _before(self) -> set[int]:
        before = json.loads(DONE.read_text()) if DONE.exists() else {}
        return set(before["held"]) if before.get("code") == self.code else set()

    def add(self, first: int, trouble: str) -> None:
        """Note what became of a batch."""
        self._ran += self.asked.batch
        if trouble:
            self.broken.append(first)
            say(trouble)
            with BROKEN.open("a") as file:
                file.write(f"{trouble}\n\n")
        else:
            self.held.add(first)
            if self.asked.batch == BATCH:
                self._keep()
        say(str(self))

    def _keep(self) -> None:
        """Write down what held; whoever is killed meanwhile leaves what was there before."""
        beside = DONE.with_suffix(".new")
        beside.write_text(json.dumps({"code": self.code, "held": sorted(self.held)}))
        beside.replace(DONE)

    @property
    def left(self) -> int:
        """How many histories have not been run."""
        return self._todo - self._ran

    def __str__(self) -> str:
        """Say how many, how many broke, and the rate."""
        took_s = time.monotonic() - self._began
        done = (len(self.held) + len(self.broken)) * self.asked.batch
        rate = self._ran / took_s
        told = f"{done} of {self.asked.histories} histories, {len(self.broken)} broken"
        return f"{told}, {took_s:.0f} s, {rate:.1f} a second"


def main() -> int:
    """Run what has not been run."""
    asked = _options()
    FOLDER.mkdir(parents=True, exist_ok=True)
    _sweep()
    progress = Progress(asked)
    say(
        f"{asked.histories} histories, seeds from 0; "
        f"{len(progress.held) * asked.batch} have held before with this code"
    )
    if not progress.wanted:
        return 0
    told: Queue[Told] = SPAWNING.Queue()
    workers = [
        SPAWNING.Process(
            target=work,
            args=(progress.wanted[number :: asked.processes], asked, told),
            daemon=True,
        )
        for number in range(asked.processes)
    ]
    for worker in workers:
        worker.start()
    for first, trouble in _answers(workers, told):
        progress.add(first, trouble)
    return _ended(progress, [worker.exitcode for worker in workers])


def _sweep() -> None:
    """Remove what killed runs left."""
    for folder in (*FOLDER.glob("stripe-*"), *FOLDER.glob("paypal-*")):
        if not Path("/proc", folder.name.rpartition("-")[2]).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _ended(progress: Progress, exits: Sequence[int | None]) -> int:
    """Sum up; return the exit code."""
    if any(exits):
        say("a process of it has ended before its time")
    if progress.broken:
        say(f"broken: those from {sorted(progress.broken)}; see {BROKEN}")
    if progress.left:
        say(f"{progress.left} histories are left; the same command goes on with them")
    is_well = not (any(exits) or progress.broken or progress.left)
    say(f"{'all held' if is_well else 'not all held'}: {progress}")
    return 0 if is_well else 1


def _fingerprint() -> str:
    """Return what is the same as long as no code is changed that histories run through."""
    seen = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((VAR.parent / room).rglob("*.py")):
            seen.update(path.read_bytes())
    return seen.hexdigest()


def _answers(workers: Sequence[SpawnProcess], told: Queue[Told]) -> Iterator[Told]:
    while any(worker.is_alive() for worker in workers) or not told.empty():
        try:
            yield told.get(timeout=1)
        except Empty:
            continue


def work(firsts: Sequence[int], asked: argparse.Namespace, told: Queue[Told]) -> None:
    """Run these batches in a world of this process's own, which ends with the one that began it."""
    end_with_parent()
    _end_when_told()
    until = time.monotonic() + asked.seconds
    with world() as running:
        for first in firsts:
            if time.monotonic() > until:
                return
            try:
                run_batch(running, range(first, first + asked.batch))
            except Broken as error:
                told.put((first, str(error)))
                if asked.until_broken:
                    return
            else:
                told.put((first, ""))


def _end_when_told() -> None:
    """Have SIGTERM end this process as Ctrl-C does: with what it has started, and quietly."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(STOPPED))


@contextmanager
def world() -> Iterator[World]:
    """Start servers and stand-ins, and make a world on them."""
    servers = Servers()
    urls = servers.urls().of_process("master")
    make_empty_database(urls.database)
    stripe = SandboxProcess(FOLDER / f"stripe-{os.getpid()}")
    paypal = PayPalProcess(FOLDER / f"paypal-{os.getpid()}")
    os.environ |= environ_of(stripe, paypal) | {
        "DATABASE_URL": urls.database,
        "REDIS_URL": urls.redis,
        "BROKER_URL": urls.broker,
    }
    try:
        made = World(stripe, paypal, urls.redis)
        with made.running():
            yield made
    finally:
        for process in (stripe, paypal):
            process.stop()
            shutil.rmtree(process.folder)
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
    parser.add_argument("--batch", type=int, default=BATCH, help="judged together")
    parser.add_argument("--until-broken", action="store_true", help="then begin no other")
    parser.add_argument("--again", action="store_true", help="forget what was done before")
    return parser.parse_args()


if __name__ == "__main__":
    _end_when_told()
    sys.exit(main())
