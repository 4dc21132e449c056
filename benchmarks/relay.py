"""The relay against others, side by side: memory a connection, CPU a delivery, tails, the most.

Each relay is one process; they take turns in one run, hear the same messages of 250 bytes by the
same Redis, and are heard by the same clients (benchmarks.sockets). Messages are published by our
script for all of them.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import redis

from benchmarks.contenders import COMPANIES, Contender, contenders
from benchmarks.processes import _with_children, cpu_s
from benchmarks.report import FOLDER, against_goal, keep, table, title
from benchmarks.sockets import MARK, raise_descriptors
from tests.system import System
from worker.channels import Channels

NAME = "relay"
HELD = 5000
WARM = 200
# Connections made and dropped before memory is looked at: what they load stays.
MESSAGE_BYTES = 250
RATE = 100
SECONDS = 4.0
STEPS = (30, 60, 90, 130, 200, 300, 450, 675)
STEP_S = 1.5
LATE_S = 1.0
# After the last message of a step all must have come within this.
SAMPLE, STALLED = 5, 3
# Of a hundred clients.
STALL_MESSAGES, STALL_BYTES = 20, 15_000
# Before it is measured: more than the kernels take for a client that reads nothing.
PUBLISHED = 1500
ROUNDS = 3
LIMITS = {
    name: str(2 * HELD) for name in ("WS_MAX_CONNECTIONS", "WS_MAX_PER_COMPANY", "WS_MAX_PER_USER")
}


@dataclass
class Figures:
    """What was measured of one relay."""

    name: str
    kb: float = 0.0
    cpu_us: float = 0.0
    p99_ms: float = 0.0
    p99_stalled_ms: float = 0.0
    delivered: float = 0.0
    delivered_stalled: float = 0.0
    most: int = 0
    client_cpu: dict[str, float] = field(default_factory=dict)
    load: float = 0.0


class Crowd:
    """The process with the clients."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sockets"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)

    def ask(self, do: str, **arguments: Any) -> Any:
        """Have it do something; return its answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the clients are gone")
        return json.loads(line)


class Speaker:
    """Publishes at a steady rate, each message with the moment at which it was sent."""

    def __init__(self, url: str) -> None:
        self._channels = Channels(url)

    def speak(
        self, companies: list[str], *, rate: float, seconds: float, size: int = MESSAGE_BYTES
    ) -> int:
        """Publish to the companies in turns; return how many."""
        number = round(rate * seconds)
        began = time.perf_counter()
        for n in range(number):
            due_s = began + n / rate - time.perf_counter()
            if due_s > 0:
                time.sleep(due_s)
            self._channels.publish({companies[n % len(companies)]: [message(size)]})
        return number


def message(size: int = MESSAGE_BYTES) -> bytes:
    """Return a message that is about so long once it has its id."""
    stamp = MARK.decode() + str(time.monotonic_ns()).zfill(19)
    event = {"type": "payment.succeeded", "data": {"sent": stamp, "pad": ""}}
    event["data"]["pad"] = "x" * (size - 24 - len(json.dumps(event)))
    return json.dumps(event).encode()


def run() -> None:
    """Measure and print."""
    title("Relays")
    shutil.rmtree(FOLDER / NAME, ignore_errors=True)
    if sentence := raise_descriptors(2 * HELD + 1000):
        raise SystemExit(sentence)
    with ExitStack() as held:
        system = held.enter_context(System(FOLDER / NAME, environ=LIMITS, parts=["web"]))
        members = [system.member() for _ in range(COMPANIES)]
        system.web.stop()
        tokens = {str(member.company_id): str(member.token) for member in members}
        speaker = Speaker(system.valkey.url)
        found = [
            measure(each, system, speaker, list(tokens)) for each in contenders(system, tokens)
        ]
        published = publishing(system)
    show(found)
    judge(found, published)


def measure(relay: Contender, system: System, speaker: Speaker, companies: list[str]) -> Figures:
    """Start one relay and measure everything of it."""
    figures = Figures(relay.name, load=os.getloadavg()[0])
    relay.start(system)
    try:
        measure_memory(relay, companies, figures)
        measure_cpu(relay, speaker, companies, figures)
        measure_tail(relay, speaker, companies[:1], figures)
        measure_most(relay, speaker, companies[:1], figures)
    finally:
        relay.stop()
    print(f"{relay.name}: done", flush=True)
    return figures


def measure_memory(relay: Contender, companies: list[str], figures: Figures) -> None:
    """What 5,000 connections that are silent add, a connection."""
    with Crowd() as crowd:
        crowd.ask("connect", port=relay.port, groups=relay.groups(companies, WARM // COMPANIES))
    settle(relay)
    before = memory_kb(relay.pid)
    with Crowd() as crowd:
        crowd.ask("connect", port=relay.port, groups=relay.groups(companies, HELD // COMPANIES))
        settle(relay)
        figures.kb = (memory_kb(relay.pid) - before) / HELD
    settle(relay)


def measure_cpu(relay: Contender, speaker: Speaker, companies: list[str], figures: Figures) -> None:
    """What a delivery costs: 10 companies of 100 clients, 100 messages a second in all."""
    with Crowd() as crowd:
        crowd.ask("connect", port=relay.port, groups=relay.groups(companies, 100))
        settle(relay)
        crowd.ask("count")
        used_s = cpu_s([relay.pid])
        number = speaker.speak(companies, rate=RATE, seconds=SECONDS)
        time.sleep(LATE_S)
        used_s = cpu_s([relay.pid]) - used_s
        counted = crowd.ask("count")
    if counted["messages"] != number * 100:
        print(f"{relay.name}: of {number * 100} came {counted['messages']}")
    figures.cpu_us = used_s / max(1, counted["messages"]) * 1e6
    figures.client_cpu["10 x 100"] = counted["own_cpu"]


def measure_tail(relay: Contender, speaker: Speaker, company: list[str], figures: Figures) -> None:
    """How late a message is for 1,000 clients of one company, at 100 messages a second."""
    for stalled in (0, STALLED):
        with Crowd() as crowd:
            groups = relay.groups(company, 1000)
            connected = crowd.ask(
                "connect", port=relay.port, groups=groups, sample=SAMPLE, stalled=stalled
            )
            if stalled:
                speaker.speak(company, rate=STALL_MESSAGES, seconds=1, size=STALL_BYTES)
            speaker.speak(company, rate=RATE, seconds=1)
            quiet(crowd)
            number = speaker.speak(company, rate=RATE, seconds=SECONDS)
            counted = quiet(crowd)
        share = counted["messages"] / (number * connected["reading"])
        if stalled:
            figures.p99_stalled_ms, figures.delivered_stalled = counted["p99_ms"], share
        else:
            figures.p99_ms, figures.delivered = counted["p99_ms"], share
            figures.client_cpu["1 x 1,000"] = counted["own_cpu"]


def measure_most(relay: Contender, speaker: Speaker, company: list[str], figures: Figures) -> None:
    """The highest rate at which all of 1,000 clients get all within a second of the last."""
    with Crowd() as crowd:
        crowd.ask("connect", port=relay.port, groups=relay.groups(company, 1000))
        settle(relay)
        for rate in STEPS:
            crowd.ask("count")
            began = time.perf_counter()
            number = speaker.speak(company, rate=rate, seconds=STEP_S)
            is_spoken = time.perf_counter() - began < STEP_S + LATE_S
            time.sleep(LATE_S)
            counted = crowd.ask("count")
            if counted["messages"] != number * 1000 or not is_spoken:
                return
            figures.most = rate


def quiet(crowd: Crowd) -> Any:
    """Return what came, with what comes late."""
    time.sleep(LATE_S)
    return crowd.ask("count")


def settle(relay: Contender) -> None:
    """Wait until the relay has nothing to do."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        before = cpu_s([relay.pid])
        time.sleep(0.5)
        if cpu_s([relay.pid]) - before < 0.05:
            return


def memory_kb(pid: int) -> float:
    """Return the proportional memory of a process with those that it started."""
    return sum(_pss_kb(each) for each in _with_children([pid]))


def _pss_kb(pid: int) -> int:
    for line in Path("/proc", str(pid), "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def publishing(system: System) -> float:
    """Return the rate of publishing with number and history, as a share of a bare PUBLISH's."""
    channels = Channels(system.valkey.url)
    body = message()
    shares = []
    with redis.Redis.from_url(system.valkey.url) as client:
        ways = (
            lambda: client.publish("channel:bare", body),
            lambda: channels.publish({"kept": [body]}),
        )
        for _ in range(ROUNDS):
            took_s = []
            for way in ways:
                began = time.perf_counter()
                for _ in range(PUBLISHED):
                    way()
                took_s.append(time.perf_counter() - began)
            shares.append(took_s[0] / took_s[1])
    return statistics.median(shares)


def show(found: list[Figures]) -> None:
    """Print and keep the figures."""
    rows: list[dict[str, Any]] = [
        {
            "relay": each.name,
            "KB a connection": each.kb,
            "CPU µs a delivery": each.cpu_us,
            "p99 ms": each.p99_ms,
            "delivered": each.delivered,
            "p99 ms, stalled": each.p99_stalled_ms,
            "delivered, stalled": each.delivered_stalled,
            "most a second": each.most,
            "clients' CPU": each.client_cpu["1 x 1,000"],
            "load": each.load,
        }
        for each in found
    ]
    table(rows)
    for row in rows:
        keep(NAME, **row)
    print("clients' CPU: the share of a core that the clients' own process used at 1 x 1,000")


def judge(found: list[Figures], published: float) -> None:
    """Print the ratios beside their goals."""
    ours, *peers = found
    against_goal(NAME, f"KB a connection at {HELD}", ours.kb, "<=", 4)
    for peer, goal in zip(peers, (0.45, 1.0, 0.8), strict=False):
        name = f"CPU a delivery, against {peer.name}"
        against_goal(NAME, name, ours.cpu_us / peer.cpu_us, "<=", goal)
        keep(NAME, ratio=f"p99, against {peer.name}", figure=ours.p99_ms / peer.p99_ms)
        keep(NAME, ratio=f"memory, against {peer.name}", figure=ours.kb / peer.kb)
        keep(NAME, ratio=f"most, against {peer.name}", figure=ours.most / max(1, peer.most))
    against_goal(NAME, "p99 ms, 1,000 clients, 100/s", ours.p99_ms, "<=", 50)
    against_goal(NAME, "delivered of it", ours.delivered, ">=", 1)
    against_goal(NAME, "delivered with 3 of 100 stalled", ours.delivered_stalled, ">=", 1)
    stalled = ours.p99_stalled_ms / ours.p99_ms
    against_goal(NAME, "p99 with 3 of 100 stalled, against none", stalled, "<=", 1.2)
    against_goal(NAME, "publishing with history, against a bare PUBLISH", published, ">=", 0.6)


if __name__ == "__main__":
    run()
