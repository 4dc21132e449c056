"""A relay that is told to go, of two: where everybody comes back to."""

from __future__ import annotations

import signal

import pytest

from tests.faults.relay.crowd import Ear
from tests.faults.relay.online import held, let_expire, offline, unhurried

pytestmark = pytest.mark.xdist_group("tests/faults/relay")

LEAVING = 300
USERS = 30
SAID = 400
# Fewer than are kept for who comes back last.


def test_all_of_a_relay_that_leaves_come_back_to_another_without_missing_anything(house, gather):
    leaving, staying = house.only("second", "first")
    people = house.people(USERS)
    channel = people[0].channel
    crowd = gather(leaving.url)
    ears = [Ear(people[number % USERS]) for number in range(LEAVING)]
    crowd.add(ears)
    crowd.until(lambda: all(ear.is_greeted for ear in ears))
    crowd.until(lambda: len(held(house, channel)) == USERS)
    [left] = set().union(*held(house, channel).values())
    crowd.urls = [staying.url]
    first = house.head(channel)

    bodies = [b'{"type":"invoice.updated"}'] * SAID

    def are_back() -> bool:
        if bodies:
            assert house.say(channel, [bodies.pop()])
        return all(ear.ends and ear.is_greeted for ear in ears)

    def are_held() -> bool:
        found = held(house, channel)
        return len(found) == USERS and all(relays - {left} for relays in found.values())

    with unhurried(house):
        leaving.part.signal(signal.SIGTERM)
        crowd.until(are_back)
        crowd.until(are_held)
        let_expire(house, people, left)
    head = house.head(channel)
    crowd.until(lambda: crowd.are_at(head))
    assert {tuple(ear.ends) for ear in ears} == {(4200,)}
    assert not crowd.refused
    assert not any(ear.refetches for ear in ears)
    assert head.epoch == first.epoch
    waits_ms = sorted(ear.waits_ms[0] for ear in ears)
    # Spread evenly, whoever sat where.
    assert len(set(waits_ms)) > LEAVING / 2
    assert waits_ms[LEAVING // 2] > waits_ms[-1] / 4
    # What the other holds of them is what counts.
    crowd.until(lambda: all(left not in relays for relays in held(house, channel).values()))
    assert not offline(house, channel)
    leaving.part.wait_dead()
    assert "Traceback" not in leaving.part.said
