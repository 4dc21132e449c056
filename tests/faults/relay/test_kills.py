"""Whatever dies, every client hears what follows or is told to fetch, and all get to the end.

Clients, relays, subscriptions and Redis are killed at random while events go on.

    PAYBEAT_SEED=4711 .venv/bin/python -m pytest tests/faults/relay/test_kills.py

`make chaos` runs several seeds, and has the worker publish what is owed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from uuid import UUID

import pytest
from sqlalchemy import func, select

from models.outbox import Owed
from tests.faults.relay.crowd import Crowd, Ear
from tests.faults.relay.house import House, Relay
from tests.web.relay.harm import harm, publish
from worker.events import announce_to

pytestmark = pytest.mark.xdist_group("tests/faults/relay")

IS_LONG = "PAYBEAT_RELAY_LONG" in os.environ
ACTS = ["kill", "flush", "save", "restart", "relay"]
LONG_ACTS = ["leave", "hang"]
SEEDS = 10 if IS_LONG else 1
CLIENTS = 30
LARGE = 60_000
# So that who reads nothing soon has more waiting than may wait.


class Speaker:
    """Says to companies what happens."""

    def __init__(self, house: House, chance: random.Random) -> None:
        self.house, self.chance, self.said = house, chance, 0

    def say(self, channel: str) -> None:
        """Publish some events; with Redis away some or all are lost, for nobody has numbered them.

        `owe` is for what must not be.
        """
        count = self.chance.randint(1, 6)
        sizes = [LARGE if self.chance.random() < 0.4 else 100 for _ in range(count)]
        bodies = [b'{"type":"invoice.updated","data":"%s"}' % (b"x" * size) for size in sizes]
        self.said += self.house.say(channel, bodies) * count

    def owe(self, channel: str) -> None:
        """Have the worker publish an event from the outbox."""
        with self.house.system.session() as session:
            # Nobody sends it after the commit: the sweeper does.
            session.info["resend_after_s"] = 0
            announce_to(session, UUID(channel), "invoice.updated", more="x" * 1000)
        self.said += 1


class Chaos:
    """Lives through acts of a seed, then waits for quiet."""

    def __init__(self, house: House, crowd: Crowd, speaker: Speaker) -> None:
        self.house, self.crowd, self.speaker = house, crowd, speaker
        self.chance = speaker.chance
        self.relays = house.only("first", "second")
        crowd.urls = [relay.url for relay in self.relays]
        self.people = [each for _ in range(2) for each in house.people(5)]
        self.channels = sorted({each.channel for each in self.people})
        crowd.add(
            Ear(self.people[number % 10], is_stalled=number < CLIENTS // 10)
            for number in range(CLIENTS)
        )
        crowd.until(lambda: all(ear.is_upgraded for ear in crowd.ears))

    def live_through(self, acts: list[str], say) -> None:
        for act in acts:
            for _ in range(self.chance.randint(5, 20)):
                say(self.chance.choice(self.channels))
                self.crowd.turn(0.01)
            for ear in self.chance.sample(self.crowd.ears, 3):
                self.crowd.drop(ear)
            self._do(act)

    def _do(self, act: str) -> None:
        relay: Relay = self.chance.choice(self.relays)
        if act == "relay":
            relay.kill()
        elif act == "leave":
            relay.part.signal(signal.SIGTERM)
            self.crowd.until(lambda: not relay.part.is_running)
            relay.part.launch()
        elif act == "hang":
            os.kill(self.house.system.valkey.pid, signal.SIGSTOP)
            until = time.monotonic() + self.chance.uniform(0.5, 6)
            self.crowd.until(lambda: time.monotonic() > until)
            os.kill(self.house.system.valkey.pid, signal.SIGCONT)
        else:
            harm(act, self.house.system.valkey, self.house.channels)

    def quiet(self) -> None:
        """Let all hear all there is, and those who read nothing too."""
        for relay in self.relays:
            relay.part.wait_ready()
        for channel in self.channels:
            publish(self.house.channels, channel)
        self.crowd.wake()
        for channel in self.channels:
            head = self.house.head(channel)
            ears = [ear for ear in self.crowd.ears if ear.person.channel == channel]
            self.crowd.until(lambda head=head, ears=ears: self.crowd.are_at(head, ears))

    def __str__(self) -> str:
        ears = self.crowd.ears
        ends = Counter(end for ear in ears for end in ear.ends)
        told = f"{self.speaker.said} events to {len(ears)} clients, connections ended {dict(ends)}"
        fetches = dict(sum((ear.reasons for ear in ears), Counter()))
        return f"{told}, told to fetch for {fetches}, {sum(ear.gaps for ear in ears)} gaps"


@pytest.fixture
def publisher(house):
    """The worker that publishes what is owed, with the beat that has it look."""
    parts = [house.system.worker, house.system.beat]
    for part in parts:
        part.launch()
    for part in parts:
        part.wait_ready()
    yield
    for part in parts:
        part.stop()


@pytest.mark.parametrize("number", range(SEEDS))
def test_whatever_dies_all_hear_what_follows_or_are_told_to_fetch(
    house, gather, record_property, number
):
    chance, told = chance_of(number)
    chaos = Chaos(house, gather(), Speaker(house, chance))
    chaos.live_through(acts := some(chance), chaos.speaker.say)
    chaos.quiet()
    record_property("told", f"{told}, {' '.join(acts)}: {chaos}")


if IS_LONG:

    @pytest.mark.parametrize("number", range(SEEDS // 2))
    def test_whatever_dies_what_is_owed_is_published_to_all(
        house, publisher, gather, record_property, number
    ):
        chance, told = chance_of(number)
        chaos = Chaos(house, gather(), Speaker(house, chance))
        chaos.live_through(acts := some(chance), chaos.speaker.owe)
        chaos.crowd.until(lambda: not owed(house))
        chaos.quiet()
        record_property("told", f"{told}, {' '.join(acts)}: {chaos}")


def chance_of(number: int) -> tuple[random.Random, str]:
    seed = int(os.environ.get("PAYBEAT_SEED", random.randrange(10**9))) + number
    told = f"PAYBEAT_SEED={seed}"
    # Shown if it fails; what held is told at the end.
    sys.stdout.write(f"{told}\n")
    return random.Random(seed), told


def some(chance: random.Random) -> list[str]:
    """Return what is done, in which order."""
    acts = [*ACTS, *LONG_ACTS] * 2 if IS_LONG else list(ACTS)
    chance.shuffle(acts)
    return acts


def owed(house: House) -> int:
    with house.system.session() as session:
        return session.scalar(select(func.count()).select_from(Owed))
