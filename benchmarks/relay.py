"""The relay against others, side by side: memory a connection, CPU a delivery, tails, the most.

Each relay is one process, and all run from the beginning to the end; they take turns. They hear
messages of 250 bytes by the same Redis, published by our script for all of them, each on channels
of its own, and are heard by the same clients (benchmarks.sockets).
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
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
SECONDS = 3.0
ROUNDS, ROUND_S = 3, 2.0
# Of what a delivery costs.
STEPS = (30, 60, 90, 130, 200, 300, 450, 675)
STEP_S = 1.5
LATE_S = 1.0
# After the last message of a step all must have come within this.
SAMPLE, STALLED = 5, 3
# Of a hundred clients.
STALL_MESSAGES, STALL_BYTES = 20, 15_000
# Before it is measured: more than the kernels take for a client that reads nothing.
PUBLISHED, TURNS = 200, 15
# At a time, each way in its turn.
LIMITS = {
    name: str(2 * HELD) for name in ("WS_MAX_CONNECTIONS", "WS_MAX_PER_COMPANY", "WS_MAX_PER_USER")
}


@dataclass
class Figures:
    """What was measured of one relay; `load` is what the machine had to do at the time of p99."""

    relay: Contender
    kb: float = 0.0
    cpu_us: float = 0.0
    p99_ms: float = 0.0
    delivered: float = 0.0
    p99_stalled_ms: float = 0.0
    delivered_stalled: float = 0.0
    most: int = 0
    clients_cpu: float = 0.0
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
        answer = json.loads(line)
        if do == "count" and answer["lost"]:
            print(f"{answer['lost']} clients were hung up on")
        return answer


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
        found = [Figures(relay) for relay in contenders(system, tokens)]
        for each in found:
            each.relay.start(system)
            held.callback(each.relay.stop)
        for each in found:
            measure_memory(each)
        measure_cpu(found, speaker)
        for each in found:
            measure_tail(each, speaker)
        for each in found:
            measure_most(each, speaker)
        published = publishing(system)
    show(found)
    judge(found, published)


def measure_memory(figures: Figures) -> None:
    """What 5,000 connections that are silent add, a connection."""
    relay = figures.relay
    with Crowd() as crowd:
        crowd.ask("connect", port=relay.port, groups=relay.groups(WARM // COMPANIES))
    settle(relay)
    before = memory_kb(relay.pid)
    with Crowd() as crowd:
        crowd.ask("connect", port=relay.port, groups=relay.groups(HELD // COMPANIES))
        settle(relay)
        figures.kb = (memory_kb(relay.pid) - before) / HELD
    settle(relay)


def measure_cpu(found: list[Figures], speaker: Speaker) -> None:
    """What a delivery costs: 10 companies of 100 clients, 100 messages a second in all."""
    used_s, delivered = [0.0] * len(found), [0] * len(found)
    with ExitStack() as held:
        crowds = [held.enter_context(Crowd()) for _ in found]
        for each, crowd in zip(found, crowds, strict=True):
            crowd.ask("connect", port=each.relay.port, groups=each.relay.groups(100))
            settle(each.relay)
        for _ in range(ROUNDS):
            for n, (each, crowd) in enumerate(zip(found, crowds, strict=True)):
                crowd.ask("count")
                before_s = cpu_s([each.relay.pid])
                number = speaker.speak(each.relay.companies, rate=RATE, seconds=ROUND_S)
                counted = quiet(crowd)
                used_s[n] += cpu_s([each.relay.pid]) - before_s
                delivered[n] += counted["messages"]
                if counted["messages"] != number * 100:
                    print(f"{each.relay.name}: of {number * 100} came {counted['messages']}")
    for each, used, number in zip(found, used_s, delivered, strict=True):
        each.cpu_us = used / max(1, number) * 1e6


def measure_tail(figures: Figures, speaker: Speaker) -> None:
    """How late a message is for 1,000 clients of one company, at 100 messages a second."""
    relay, company = figures.relay, figures.relay.companies[:1]
    figures.load = os.getloadavg()[0]
    for stalled in (0, STALLED):
        with Crowd() as crowd:
            groups = relay.groups(1000, companies=1)
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
            figures.clients_cpu = counted["own_cpu"]
    settle(relay)


def measure_most(figures: Figures, speaker: Speaker) -> None:
    """The highest rate at which all of 1,000 clients get all within a second of the last."""
    relay = figures.relay
    with Crowd() as crowd:
        crowd.ask("connect", port=relay.port, groups=relay.groups(1000, companies=1))
        settle(relay)
        for rate in STEPS:
            crowd.ask("count")
            began = time.perf_counter()
            number = speaker.speak(relay.companies[:1], rate=rate, seconds=STEP_S)
            is_spoken = time.perf_counter() - began < STEP_S + LATE_S
            counted = quiet(crowd)
            if counted["messages"] != number * 1000 or not is_spoken:
                break
            figures.most = rate
    settle(relay)


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
    """Return the rate of publishing with number and history, as a share of a bare PUBLISH's.

    Each way's best turn counts: what others do on the machine can only make one slower.
    """
    channels = Channels(system.valkey.url)
    body = message()
    with redis.Redis.from_url(system.valkey.url) as client:
        ways = (
            lambda: client.publish("channel:bare", body),
            lambda: channels.publish({"kept": [body]}),
        )
        best_s = [math.inf, math.inf]
        for _ in range(TURNS):
            for n, way in enumerate(ways):
                began = time.perf_counter()
                for _ in range(PUBLISHED):
                    way()
                best_s[n] = min(best_s[n], time.perf_counter() - began)
    return best_s[0] / best_s[1]


def show(found: list[Figures]) -> None:
    """Print and keep the figures."""
    rows: list[dict[str, Any]] = [
        {
            "relay": each.relay.name,
            "KB a connection": each.kb,
            "CPU µs a delivery": each.cpu_us,
            "p99 ms": each.p99_ms,
            "delivered": each.delivered,
            "p99 ms, stalled": each.p99_stalled_ms,
            "delivered, stalled": each.delivered_stalled,
            "most a second": each.most,
            "clients' CPU": each.clients_cpu,
            "load": each.load,
        }
        for each in found
    ]
    table(rows)
    for row in rows:
        keep(NAME, **{name: _or_none(value) for name, value in row.items()})
    print("clients' CPU: the share of a core that the clients' own process used at 1 x 1,000")


def _or_none(value: Any) -> Any:
    """Return what JSON has for a p99 of nothing."""
    return None if isinstance(value, float) and math.isnan(value) else value


def judge(found: list[Figures], published: float) -> None:
    """Print the ratios beside their goals."""
    ours, *peers = found
    against_goal(NAME, f"KB a connection at {HELD}", ours.kb, "<=", 4)
    for peer, goal in zip(peers, (0.45, 1.0, 0.8), strict=False):
        name = f"CPU a delivery, against {peer.relay.name}"
        against_goal(NAME, name, ours.cpu_us / peer.cpu_us, "<=", goal)
        keep(NAME, ratio=f"memory, against {peer.relay.name}", figure=ours.kb / peer.kb)
        keep(NAME, ratio=f"most, against {peer.relay.name}", figure=ours.most / max(1, peer.most))
    against_goal(NAME, "p99 ms, 1,000 clients, 100/s", ours.p99_ms, "<=", 50)
    against_goal(NAME, "delivered of it", ours.delivered, ">=", 1)
    against_goal(NAME, "delivered with 3 of 100 stalled", ours.delivered_stalled, ">=", 1)
    stalled = ours.p99_stalled_ms / ours.p99_ms
    against_goal(NAME, "p99 with 3 of 100 stalled, against none", stalled, "<=", 1.2)
    against_goal(NAME, "publishing with history, against a bare PUBLISH", published, ">=", 0.6)


if __name__ == "__main__":
    run()
