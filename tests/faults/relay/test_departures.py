"""Relays that are killed: who is told to be offline, and who is not.

`make chaos` waits until what a killed relay held expires by itself.
"""

from __future__ import annotations

import pytest

from tests.faults.relay.crowd import Ear
from tests.faults.relay.online import held, let_expire, offline, reaping

pytestmark = pytest.mark.xdist_group("tests/faults/relay")


def test_a_relay_that_dies_alone_is_told_of_once_another_starts(house, gather):
    [relay] = house.only("first")
    stays, goes = house.people(2)
    crowd = gather(relay.url)
    ears = [Ear(stays), Ear(goes), Ear(goes)]
    crowd.add(ears)
    crowd.until(lambda: len(held(house, stays.channel)) == 2)
    [dead] = held(house, stays.channel)[goes.user_id]
    for ear in ears[1:]:
        ear.comes_back = False
    relay.kill()
    crowd.until(lambda: all(ear.ends for ear in ears))
    let_expire(house, [goes], dead)
    crowd.until(lambda: offline(house, stays.channel))
    assert offline(house, stays.channel) == {goes.user_id: 1}
    head = house.head(stays.channel)
    # It resumed at the one that started, and was told.
    crowd.until(lambda: crowd.are_at(head, ears[:1]))
    assert ears[0].refetches == 0
    assert ears[0].ends == [None]


def test_a_killed_relay_is_told_of_once_for_each_who_was_only_there(house, gather):
    first, second = house.only("first", "second")
    people = house.people(12)
    only, both, elsewhere = people[:4], people[4:8], people[8:]
    crowd = gather(first.url, second.url)
    dying = [Ear(each, url=first.url) for each in [*only, *only, *both]]
    living = [Ear(each, url=second.url) for each in [*both, *elsewhere]]
    crowd.add([*dying, *living])
    channel = people[0].channel

    def are_held() -> bool:
        found = held(house, channel)
        return sum(map(len, found.values())) == len(only) + 2 * len(both) + len(elsewhere)

    crowd.until(are_held)
    [dead] = held(house, channel)[only[0].user_id]
    for ear in dying:
        ear.comes_back = False
    first.kill()
    crowd.until(lambda: all(ear.ends for ear in dying))
    let_expire(house, [*only, *both], dead)
    crowd.until(lambda: len(offline(house, channel)) == len(only))
    # Another reaping finds nobody again.
    crowd.until(reaping(house))
    assert offline(house, channel) == {each.user_id: 1 for each in only}
    head = house.head(channel)
    crowd.until(lambda: crowd.are_at(head, living))
    assert not any(ear.ends or ear.refetches for ear in living)
