"""A thousand connections on one relay: all hear all, and who reads nothing costs nobody.

`make chaos` holds five thousand.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator

import pytest

from tests.faults.relay.crowd import Crowd, Ear, Person, raise_descriptors
from tests.faults.relay.house import House, Relay

pytestmark = pytest.mark.xdist_group("tests/faults/relay")

IS_LONG = "PAYBEAT_RELAY_LONG" in os.environ
HELD = 5000 if IS_LONG else 1000
SAID = 2000 if IS_LONG else 300
EVERY_S = 0.01
USERS = 50
STALLED = 3  # of a hundred
STUCK = 30 if IS_LONG else 10
LARGE = 32_000
SAID_MB = 20 * 10 * LARGE // 1_000_000
QUEUE_KB = 1024 + 256
# What waits for a client at most, and the past of its company.
SPARE_KB = 16_000


def body(number: int, size: int = 120) -> bytes:
    told = b'{"type":"invoice.updated","data":{"number":%d,"more":"%s"}}'
    return told % (number, b"x" * size)


class Hall:
    """A thousand clients of one company, some of whom read nothing."""

    def __init__(self, house: House, crowd: Crowd, relay: Relay, people: list[Person]) -> None:
        self.house, self.crowd, self.relay, self.people = house, crowd, relay, people
        self.channel = people[0].channel
        self.reading = [ear for ear in crowd.ears if not ear.is_stalled]
        self.stalled = [ear for ear in crowd.ears if ear.is_stalled]


def catch_up(house: House, crowd: Crowd, ears: list[Ear]) -> None:
    """Let them hear all that has been said to their company."""
    head = house.head(ears[0].person.channel)
    crowd.until(lambda: crowd.are_at(head, ears))


@pytest.fixture(scope="module")
def hall(house) -> Iterator[Hall]:
    relay = house.relay("first")
    people = house.people(USERS)
    crowd = Crowd([relay.url])
    raise_descriptors(HELD)
    crowd.add(
        Ear(people[number % USERS], is_stalled=number % 100 < STALLED) for number in range(HELD)
    )
    crowd.until(lambda: all(ear.is_upgraded for ear in crowd.ears))
    hall = Hall(house, crowd, relay, people)
    catch_up(house, crowd, hall.reading)
    yield hall
    crowd.leave()


def test_too_few_descriptors_are_a_failure():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("as many as one likes are allowed here")
    with pytest.raises(pytest.fail.Exception, match="descriptors are allowed here"):
        raise_descriptors(hard)


def test_a_hundred_events_a_second_reach_all_of_a_thousand(hall, record_property):
    crowd, began = hall.crowd, time.monotonic()
    first, before = hall.house.head(hall.channel), [ear.heard for ear in hall.reading]
    for number in range(SAID):
        hall.house.say(hall.channel, [body(number)])
        while (left_s := began + number * EVERY_S - time.monotonic()) > 0:
            crowd.turn(left_s)
    catch_up(hall.house, crowd, hall.reading)
    took_s = time.monotonic() - began
    # What was said fits into what waits for a client, however late it reads.
    assert IS_LONG or not any(ear.gaps for ear in hall.reading)
    assert not any(ear.refetches or ear.ends for ear in hall.reading)
    last = hall.house.head(hall.channel)
    assert last.epoch == first.epoch
    assert last.seq - first.seq >= SAID
    # Without a hole, as the crowd has seen.
    assert all(e.heard - had >= SAID for e, had in zip(hall.reading, before, strict=True))
    rate = f"{SAID / took_s:.0f} events a second"
    record_property("told", f"{len(crowd.ears)} clients of one relay, {rate}: all heard by all")


def test_who_reads_nothing_costs_the_others_and_the_memory_nothing(hall, record_property):
    house, crowd, relay = hall.house, hall.crowd, hall.relay
    # In each of some companies one reads and one does not: of their own, since what waits for
    # several of one company is the same memory.
    people = [house.people(1)[0] for _ in range(STUCK)]
    few, stuck = [Ear(each) for each in people], [Ear(each, is_stalled=True) for each in people]
    before_kb = relay.memory_kb
    crowd.add([*few, *stuck])
    crowd.until(lambda: all(ear.is_upgraded for ear in [*few, *stuck]))
    for number in range(20):
        for person in people:
            house.say(person.channel, [body(number, LARGE)] * 10)
        house.say(hall.channel, [body(number)])
        # As fast as those who read do.
        for ear in few:
            catch_up(house, crowd, [ear])
    catch_up(house, crowd, hall.reading)
    grown_kb = relay.memory_kb - before_kb
    assert grown_kb < STUCK * QUEUE_KB + SPARE_KB
    assert not any(ear.gaps and not IS_LONG for ear in [*few, *hall.reading])
    assert not any(ear.refetches or ear.ends for ear in [*few, *hall.reading])
    record_property("told", f"{STUCK} who read nothing of {SAID_MB} MB each: {grown_kb} KB more")
    # They read again, are told what they missed, and ask for it.
    crowd.wake()
    for ear in stuck:
        catch_up(house, crowd, [ear])
    catch_up(house, crowd, [*hall.reading, *hall.stalled])
    assert all(ear.gaps or ear.ends for ear in stuck)


def test_ended_sessions_are_closed_among_a_thousand_and_no_others(hall, record_property):
    crowd, leaving = hall.crowd, hall.people[-5:]
    ears = [ear for ear in crowd.ears if ear.person in leaving]
    others = [ear for ear in crowd.ears if ear.person not in leaving]
    ends = [list(ear.ends) for ear in others]
    began = time.monotonic()
    hall.house.end_sessions(leaving)
    crowd.until(lambda: all(ear.is_ended for ear in ears))
    took_s = time.monotonic() - began
    assert {ear.ends[-1] for ear in ears} == {4001}
    assert [ear.ends for ear in others] == ends
    assert all(ear.is_greeted for ear in others)
    told = f"{len(ears)} sockets of ended sessions of {len(crowd.ears)} closed in {took_s:.1f} s"
    record_property("told", told)
