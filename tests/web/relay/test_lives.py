"""Ended sessions: seen, told and cut within five seconds, by the relay's own clock."""

from __future__ import annotations

from itertools import pairwise
from uuid import uuid4

import pytest

from models.clock import now
from models.tenants import Role
from tests.waiting import wait_for
from tests.web.relay.past import House
from web.relay.client import Bounds
from web.relay.codes import CHANGED, SESSION_ENDED
from web.relay.lives import ALL_EVERY, LOOK_EVERY_S, Guest, Lives

PROMISED_S = 5.0
SEEN_S = LOOK_EVERY_S * ALL_EVERY


class Waits:
    """Lets no time pass, and tells how much was waited for."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s, self.waited_s = limit_s, 0.0

    def wait(self, seconds: float) -> bool:
        self.waited_s += seconds
        return self.waited_s > self.limit_s


class Tab:
    def __init__(self, member: Guest) -> None:
        self.member = member


def test_every_session_is_asked_for_again_and_again_in_time():
    asked_at = []
    waits = Waits(20 * LOOK_EVERY_S)
    session_id = uuid4()
    member = Guest("c", uuid4(), session_id, None, now().timestamp() + 3600, Role.MEMBER)

    def living(asked):
        asked_at.append(waits.waited_s)
        return dict.fromkeys(asked, Role.MEMBER)

    lives = Lives(lambda *_: None, living=living)
    lives._leaving = waits
    lives.joined(Tab(member))
    lives.run()
    apart = [after - before for before, after in pairwise(asked_at)]
    assert len(apart) > 5
    assert max(apart) <= SEEN_S
    assert SEEN_S + Bounds().ended_s + Bounds().tick_s < PROMISED_S


@pytest.mark.parametrize("why", [SESSION_ENDED, CHANGED])
def test_who_answers_nothing_is_cut_in_time(house: House, why):
    session_id = uuid4()
    rude, other = house.welcome(session_id=session_id), house.welcome()
    rude.answers = False
    house.reactor.end_sessions([session_id], why.code, why.reason)
    house.pass_time(PROMISED_S - SEEN_S)
    assert house.reactor._connections.by_fd.keys() == {house.joined[1].fd}
    assert rude.end() == (why.code, why.reason)
    house.feed.say()
    other.until(lambda peer: peer.seqs == [1])


def test_who_is_gone_while_the_past_is_read_is_not_kept(house: House):
    house.feed.write(5)
    house.welcome()
    house.feed.holds_reads = True
    gone = [house.let_in("a1-1") for _ in range(20)]
    house.settle()
    for peer in gone:
        peer.sock.close()
    wait_for(lambda: len(house.left) == 20)
    back = house.let_in("a1-1")
    house.settle()
    [waiting] = house.reactor._channels["c"].reads.values()
    assert [client for client, _ in waiting.values()] == house.joined[-1:]
    house.feed.answer(*house.feed.asked[-1])
    back.until(lambda peer: peer.seqs == [2, 3, 4, 5])
