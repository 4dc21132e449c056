"""A relay through which many come and go: nothing is left of them.

`make chaos` has a thousand come and go ten times.
"""

from __future__ import annotations

import os

import pytest

from tests.faults.relay.crowd import Crowd, Ear, Person, raise_descriptors
from tests.faults.relay.house import House

pytestmark = pytest.mark.xdist_group("tests/faults/relay")

ROUNDS, COMING = (10, 1000) if "PAYBEAT_RELAY_LONG" in os.environ else (3, 250)
USERS = 25
OTHER_DESCRIPTORS = 200
# Connections to servers, a few for each of 32 threads, and what Python holds open.


def test_nothing_is_left_of_many_who_come_and_go(house, gather, record_property):
    relay = house.relay("first")
    people = house.people(USERS)
    crowd = gather(relay.url)
    raise_descriptors(COMING)
    sizes = []
    for _ in range(ROUNDS + 1):
        come_and_go(house, crowd, people)
        crowd.until(lambda: relay.descriptors < OTHER_DESCRIPTORS)
        sizes.append((relay.memory_kb, relay.threads))
    (kb, threads), (last_kb, last_threads) = sizes[0], sizes[-1]
    # The first round may not have needed all threads that there are for handshakes.
    assert last_threads <= threads + 32
    assert last_kb - kb < 12_000
    told = f"{ROUNDS} times {COMING} came and went: {last_kb - kb} KB more"
    record_property("told", f"{told}, {relay.descriptors} descriptors, {last_threads} threads")


def come_and_go(house: House, crowd: Crowd, people: list[Person]) -> None:
    crowd.add(Ear(people[number % USERS]) for number in range(COMING))
    crowd.until(lambda: all(ear.is_greeted for ear in crowd.ears))
    house.say(people[0].channel, [b'{"type":"invoice.updated"}'])
    head = house.head(people[0].channel)
    crowd.until(lambda: crowd.are_at(head))
    crowd.leave()
