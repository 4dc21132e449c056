"""From where a client left off until it is live: no hole, or it is told to fetch all again."""

import random
from uuid import uuid4

import pytest

from tests.waiting import wait_for
from tests.web.relay.past import House
from tests.web.relay.peer import Peer
from web.relay import reactor
from web.relay.channel import Ring
from web.relay.client import Bounds
from web.relay.codec import closing
from worker.channels import Place

KB = 1024


def hears(seq: int):
    return lambda peer: peer.seqs and peer.seqs[-1] >= seq


def test_who_is_at_the_head_is_live_at_once(house):
    house.feed.write(5)
    peer = house.welcome("a1-5")
    assert peer.of("relay.hello") == [{"position": "a1-5", "resumed": True, "heartbeat_s": 25.0}]
    house.feed.say(2)
    peer.until(hears(7))
    assert peer.seqs == [6, 7]
    assert house.feed.asked == []


def test_what_was_heard_lately_needs_no_read(house):
    house.welcome()
    house.feed.say(20)
    house.feed.say(20)
    peer = house.let_in("a1-3")
    peer.until(hears(40))
    house.feed.say()
    peer.until(hears(41))
    assert peer.seqs == list(range(4, 42))
    assert peer.heard[0]["data"]["resumed"] is True
    assert house.feed.asked == []


def test_the_ring_holds_what_it_may_but_always_the_newest():
    ring = Ring(Bounds(ring_messages=4, ring_bytes=100), 10)
    ring.append([b"1", b"2", b"3"])
    ring.append([b"4", b"5"])
    assert (ring.after(10), ring.after(11), ring.after(15)) == (None, [b"2", b"3", b"4", b"5"], [])
    assert ring.after(16) is None
    ring.append([b"x" * 98])
    assert (ring.after(12), ring.after(13)) == (None, [b"4", b"5", b"x" * 98])
    ring.append([b"y" * 200])
    assert (ring.after(15), ring.after(16)) == (None, [b"y" * 200])
    assert ring.size == 200


def test_what_was_before_is_read_once_for_all_who_ask_for_the_same(house):
    house.feed.write(50)
    house.feed.holds_reads = True
    house.welcome()
    peers = [house.let_in("a1-10") for _ in range(5)]
    house.feed.say(3)
    wait_for(lambda: len(house.feed.asked) == 1)
    house.settle()
    house.feed.answer(*house.feed.asked[0])
    for peer in peers:
        peer.until(hears(53))
        assert peer.seqs == list(range(11, 54))
    assert len(house.feed.asked) == 1


def test_a_read_that_could_not_be_asked_is_asked_for_the_next_client(house):
    house.feed.write(50)
    house.welcome()
    read, house.feed.read = house.feed.read, None
    assert house.let_in("a1-10").end() is None
    house.feed.read = read
    peer = house.let_in("a1-10")
    peer.until(hears(50))
    assert peer.seqs == list(range(11, 51))


def test_the_hello_waits_until_the_channel_is_open(house):
    house.feed.holds_openings = True
    fresh, back = house.let_in(), house.let_in("a1-1")
    house.reactor.heard("c", house.feed.write(3))
    house.settle()
    house.reactor.opened("c", house.feed.place)
    fresh.until(lambda p: p.of("relay.hello"))
    back.until(hears(3))
    assert fresh.of("relay.hello")[0]["position"] == "a1-3"
    assert back.seqs == [2, 3]


def test_what_is_heard_before_the_channel_is_open_is_neither_lost_nor_doubled(house):
    house.feed.write(4)
    house.feed.holds_openings = True
    fresh, back = house.let_in(), house.let_in("a1-3")
    house.feed.say(2)
    house.settle()
    house.reactor.opened("c", house.feed.place)
    house.feed.say()
    for peer, seqs in ((fresh, [7]), (back, [4, 5, 6, 7])):
        peer.until(hears(7))
        assert peer.seqs == seqs
        assert peer.of("relay.refetch") == []


def test_a_reset_before_the_channel_is_open_opens_it_and_nobody_fetches_anew(house):
    house.feed.write(4)
    house.feed.holds_openings = True
    fresh, back = house.let_in(), house.let_in("a1-3")
    house.reactor.reset("c", house.feed.place, "epoch")
    fresh.until(lambda p: p.of("relay.hello"))
    house.reactor.opened("c", house.feed.place)
    house.feed.say()
    for peer, seqs in ((fresh, [5]), (back, [4, 5])):
        peer.until(hears(5))
        assert peer.seqs == seqs
        assert peer.of("relay.refetch") == []
    assert fresh.of("relay.hello")[0]["position"] == "a1-4"


def test_what_is_told_of_a_channel_that_nobody_hears_any_more_is_nothing(house):
    peer = house.welcome()
    place = Place("a1", 9)
    house.reactor.opened("gone", place)
    house.reactor.heard("gone", [(10, b"{}")])
    house.reactor.reset("gone", place, "epoch")
    house.settle()
    house.feed.say()
    peer.until(hears(1))
    assert list(house.reactor._channels) == ["c"]


@pytest.mark.parametrize(
    ("since", "reason"), [("b2-5", "epoch"), ("a1-2", "trimmed"), ("a1-11", "ahead")]
)
def test_what_cannot_be_told_is_to_be_fetched_again(house, since, reason):
    house.feed.write(10)
    house.feed.kept_from = 4
    peer = house.let_in(since)
    peer.until(lambda p: p.of("relay.refetch"))
    house.feed.say(2)
    peer.until(hears(12))
    assert [message["type"] for message in peer.heard[:2]] == ["relay.hello", "relay.refetch"]
    assert peer.of("relay.hello")[0]["resumed"] is False
    assert peer.of("relay.refetch") == [{"reason": reason, "position": "a1-10"}]
    assert peer.seqs == [11, 12]


def test_who_is_ahead_of_this_relay_waits_until_it_has_caught_up(house):
    house.feed.write(3)
    house.welcome()
    unheard = house.feed.write(4)
    peer = house.let_in("a1-5")
    peer.until(lambda p: p.of("relay.hello"))
    for message in unheard:
        house.reactor.heard("c", [message])
    house.feed.say()
    peer.until(hears(8))
    assert peer.seqs == [6, 7, 8]
    assert peer.heard[0]["data"] == {"position": "a1-5", "resumed": True, "heartbeat_s": 25.0}


def test_what_is_said_while_the_past_is_read_follows_it(make_house):
    house = make_house(ring_messages=4)
    house.feed.write(20)
    house.feed.holds_reads = True
    peer = house.let_in("a1-5")
    wait_for(lambda: house.feed.asked)
    ref, since = house.feed.asked.pop()
    old, place = house.feed.after(5), house.feed.place
    # More than the ring holds: what was read does not reach it.
    house.feed.say(10)
    house.reactor.told(ref, since, old, place, None)
    wait_for(lambda: house.feed.asked)
    house.feed.say()
    house.feed.answer(*house.feed.asked[0])
    peer.until(hears(31))
    assert peer.seqs == list(range(6, 32))
    assert house.feed.asked == [(1, Place("a1", 20))]


def test_a_long_past_is_sent_as_fast_as_it_is_taken(make_house):
    house = make_house(queue_bytes=100 * KB, queue_messages=8)
    house.feed.write(400, size=KB)
    peer = house.let_in("a1-0", buffer=1)
    reader = house.welcome()
    for _ in range(10):
        house.feed.say()
        peer.read(5 * KB)
        house.settle()
        for client in house.reactor._outbound.slow.values():
            assert client.behind.size <= 70 * KB
            past = client.catching.past if client.catching else ()
            assert sum(map(len, past)) <= 110 * KB
    peer.until(hears(410))
    assert peer.seqs == list(range(1, 411))
    assert peer.of("relay.gap") == []
    reader.until(hears(410))


def test_who_is_live_may_ask_again(house):
    peer = house.welcome()
    house.feed.say(10)
    peer.until(hears(10))
    peer.heard.clear()
    peer.say(type="resume", since="a1-4")
    peer.until(hears(10))
    house.feed.say()
    peer.until(hears(11))
    assert peer.seqs == list(range(5, 12))
    assert peer.of("relay.hello") == []
    assert house.reactor.stats.resumes == 1


def test_who_asks_again_before_a_gap_was_told_is_told_of_none(make_house):
    house = make_house(queue_messages=4)
    peer = house.welcome(buffer=1)
    house.feed.say(20, size=2 * KB)
    house.settle()
    [client] = house.reactor._outbound.slow.values()
    assert client.behind.gap_after is not None
    peer.say(type="resume", since="a1-0")
    wait_for(lambda: client.catching)
    house.feed.say()
    peer.until(hears(21))
    peer.say(type="ping")
    peer.until(lambda p: p.of("relay.pong"))
    assert peer.of("relay.gap") == []


def test_an_answer_comes_too_late_for_who_was_closed(house):
    house.feed.write(9)
    house.feed.holds_reads = True
    session = uuid4()
    peer = house.let_in("a1-2", session_id=session)
    wait_for(lambda: house.feed.asked)
    house.reactor.end_sessions([session], 4001, "bye")
    house.reactor.told(house.feed.asked[0][0], Place("a1", 2), None, house.feed.place, "trimmed")
    house.settle()
    assert peer.sock.recv(1 << 16) == closing(4001, "bye")


def test_who_asks_live_for_another_epoch_must_fetch_again(house):
    peer = house.welcome()
    house.feed.say(3)
    peer.until(hears(3))
    peer.say(type="resume", since="b2-4")
    peer.until(lambda p: p.of("relay.refetch"))
    assert peer.of("relay.refetch") == [{"reason": "epoch", "position": "a1-3"}]


def test_a_new_epoch_is_told_to_all(house):
    house.feed.write(9)
    live, slow = house.welcome(), house.welcome(buffer=1)
    house.feed.say(20, size=KB)
    house.feed.holds_reads = True
    catching = house.let_in("a1-2")
    wait_for(lambda: house.feed.asked)
    house.feed.begin_anew("b2")
    house.feed.say(2)
    for peer in (live, slow, catching):
        peer.until(lambda p: p.of("relay.refetch"))
        peer.until(lambda p: p.seqs[-2:] == [1, 2])
        told = {"reason": "epoch", "position": "b2-0", "spread_ms": 6}
        assert peer.of("relay.refetch") == [told]
        assert peer.heard[-3]["type"] == "relay.refetch"
    # The answer of the old epoch comes too late for anything.
    house.reactor.told(house.feed.asked[0][0], Place("a1", 2), [(3, b"{}")], Place("a1", 9), None)
    house.feed.say()
    catching.until(hears(3))
    assert catching.seqs == [1, 2, 3]
    # What had waited for the slow one is gone, but for what was begun.
    assert len(slow.seqs) < 15


def test_an_answer_that_is_of_no_use_is_not_handed_on(house):
    house.feed.write(9)
    house.feed.holds_reads = True
    useless = [
        ([], Place("a1", 9), "lost"),
        ([(5, b"{}")], Place("a1", 9), "lost"),
        ([(3, b"{}")], Place("b2", 9), "epoch"),
    ]
    for messages, place, reason in useless:
        peer = house.let_in("a1-2")
        wait_for(lambda: house.feed.asked)
        ref, since = house.feed.asked.pop()
        house.reactor.told(ref, since, messages, place, None)
        peer.until(lambda p: p.of("relay.refetch"))
        assert peer.of("relay.refetch") == [{"reason": reason, "position": "a1-9"}]


def test_a_hole_that_the_feed_leaves_is_no_hole_for_clients(house):
    peer = house.welcome()
    house.feed.say(2)
    peer.until(hears(2))
    house.reactor.heard("c", house.feed.write(3)[2:])
    peer.until(lambda p: p.of("relay.refetch"))
    assert peer.of("relay.refetch") == [{"reason": "lost", "position": "a1-5", "spread_ms": 2}]
    house.reactor.heard("c", house.feed.after(3))
    house.feed.say()
    peer.until(hears(6))
    assert peer.seqs == [1, 2, 6]


def test_a_channel_opened_elsewhere_than_it_stood_is_to_be_fetched_again(house):
    peer = house.welcome()
    house.feed.say(2)
    house.reactor.opened("c", house.feed.place)
    house.feed.write(2)
    house.reactor.opened("c", house.feed.place)
    peer.until(lambda p: p.of("relay.refetch"))
    assert peer.seqs == [1, 2]
    assert peer.of("relay.refetch") == [{"reason": "lost", "position": "a1-4", "spread_ms": 2}]


def test_however_many_are_here_all_have_fetched_anew_within_ten_seconds(house, monkeypatch):
    monkeypatch.setattr(reactor, "RETURNS_PER_S", 0.001)
    peer = house.welcome()
    house.feed.begin_anew("b2")
    peer.until(lambda p: p.of("relay.refetch"))
    assert peer.of("relay.refetch")[0]["spread_ms"] == 10_000


class Follower:
    """A client as the protocol wants it, which never takes a message out of turn."""

    def __init__(self, house: House, chance: random.Random, last: int) -> None:
        self.house, self.chance, self.last = house, chance, last
        self.buffer = chance.choice([1, None])
        self.seen = 0
        self.peer = self.connect()

    def connect(self) -> Peer:
        self.seen = 0
        return self.house.let_in(f"a1-{self.last}", buffer=self.buffer)

    def read(self, size: int) -> None:
        self.peer.sock.settimeout(0.001)
        try:
            assert self.peer.read(size)
        except TimeoutError:
            return
        for message in self.peer.heard[self.seen :]:
            self.seen += 1
            if message["type"] == "relay.hello":
                assert message["data"]["resumed"]
            elif message["type"] == "relay.gap":
                self.peer.say(type="resume", since=f"a1-{self.last}")
            elif int(message["id"][3:]) == self.last + 1:
                self.last += 1

    def reconnect(self) -> None:
        self.peer.sock.close()
        self.peer = self.connect()


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_in_whatever_order_everyone_hears_everything(make_house, seed):
    chance = random.Random(seed)
    house = make_house(queue_messages=4, ring_messages=6, inbound_burst=1_000_000)
    house.feed.write(10)
    house.feed.holds_reads = True
    house.welcome()
    followers = [Follower(house, chance, chance.randrange(11)) for _ in range(8)]
    for _ in range(150):
        act = chance.random()
        follower = chance.choice(followers)
        if act < 0.3:
            house.feed.say(chance.randrange(1, 9), size=chance.choice([0, 400]))
        elif act < 0.5 and house.feed.asked:
            house.feed.answer(*house.feed.asked.pop(chance.randrange(len(house.feed.asked))))
        elif act < 0.6:
            follower.reconnect()
        else:
            follower.read(chance.choice([50, 5000]))
    head = len(house.feed.bodies)
    house.feed.holds_reads = False
    house.settle()
    while house.feed.asked:
        house.feed.answer(*house.feed.asked.pop())
    wait_for(lambda: not any(f.read(1 << 16) or f.last < head for f in followers))
