"""The reactor over real sockets: all hear all, and who is slow costs nobody but himself."""

import gc
import random
import select
import tracemalloc
from uuid import uuid4

import pytest

from tests.waiting import wait_for
from tests.web.relay.peer import Peer
from web.relay.client import Backlog, Bounds, Client

KB = 1024


def hears(seq: int):
    return lambda peer: peer.seqs and peer.seqs[-1] >= seq


def is_contiguous(seqs: list[int]) -> bool:
    return seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_all_hear_all_in_order(house):
    house.feed.write(7)
    peers = [house.welcome() for _ in range(30)]
    for count in (1, 5, 1, 13):
        house.feed.say(count)
    for peer in peers:
        peer.until(hears(27))
        assert peer.seqs == list(range(8, 28))
        assert peer.of("relay.hello") == [
            {"position": "a1-7", "resumed": False, "heartbeat_s": 25.0}
        ]
    house.settle()
    stats = house.reactor.stats
    assert (stats.deliveries, stats.skipped) == (600, 0)


def test_what_is_heard_at_one_go_is_sent_at_one_go(house):
    peer = house.welcome()
    with_one = house.reactor.stats.sends
    house.feed.say(40)
    peer.until(hears(40))
    house.settle()
    assert house.reactor.stats.sends == with_one + 1


def test_a_company_hears_nothing_of_another(house):
    other = house.welcome(channel="d")
    ours = house.welcome()
    house.feed.say(3)
    ours.until(hears(3))
    house.reactor.heard("d", [(1, b'{"id":"a1-1","type":"of.d"}')])
    other.until(hears(1))
    assert [message["type"] for message in other.heard] == ["relay.hello", "of.d"]


def test_who_reads_by_dribs_gets_whole_messages(house):
    peer = house.welcome(buffer=1)
    house.feed.say(60, size=3 * KB)
    house.feed.say(60, size=3 * KB)
    while not hears(120)(peer):
        assert peer.read(random.Random(4).randrange(1, 999))
    assert peer.seqs == list(range(1, 121))
    wait_for(lambda: house.reactor._outbound.slow == {})
    # Watched for room for ever, a socket that has it would keep the reactor turning.
    wait_for(lambda: house.ready() == [])


def test_three_stalled_readers_of_a_hundred_change_nothing_for_the_rest(make_house):
    house = make_house(queue_messages=16, queue_bytes=20 * KB)
    stalled = [house.welcome(buffer=1) for _ in range(3)]
    readers = [house.welcome() for _ in range(97)]
    for _ in range(10):
        house.feed.say(10, size=KB)
        for reader in readers:
            reader.until(hears(len(house.feed.bodies)))
    for reader in readers:
        assert reader.seqs == list(range(1, 101))
        assert reader.of("relay.gap") == []
    house.settle()
    behind = [client.behind for client in house.reactor._outbound.slow.values()]
    assert len(behind) == 3
    for backlog in behind:
        assert 0 < len(backlog.frames) <= 16
        assert sum(map(len, backlog.frames)) == backlog.size <= 20 * KB
    for peer in stalled:
        catch_up(peer, 100)
    assert house.reactor.stats.skipped > 0


def number(place: str) -> int:
    return int(place.rpartition("-")[2])


def catch_up(peer: Peer, through: int) -> None:
    """Do what a client does: take what follows, and ask again from there after a gap."""
    last, gaps = 0, 0
    while last < through:
        for message in peer.heard:
            if "id" in message and number(message["id"]) == last + 1:
                last += 1
        peer.heard = [m for m in peer.heard if m["type"] == "relay.gap"]
        for gap in peer.of("relay.gap"):
            gaps += 1
            assert number(gap["after"]) < number(gap["through"])
            peer.say(type="resume", since=f"a1-{last}")
        peer.heard.clear()
        assert last == through or peer.read()
    assert gaps


def test_the_bound_counts_bytes_too(make_house):
    house = make_house(queue_bytes=30 * KB)
    peer = house.welcome(buffer=1)
    house.feed.say(100, size=KB)
    house.settle()
    [client] = house.reactor._outbound.slow.values()
    assert 28 * KB < client.behind.size <= 30 * KB
    catch_up(peer, 100)


def test_a_message_larger_than_every_bound_passes(make_house):
    house = make_house(queue_bytes=10 * KB, ring_bytes=10 * KB)
    peer = house.welcome(buffer=1)
    house.feed.say(3, size=50 * KB)
    house.feed.say(2, size=500 * KB)
    house.settle()
    catch_up(peer, 5)
    late = house.let_in("a1-0")
    late.until(hears(5))
    assert late.seqs == [1, 2, 3, 4, 5]


def test_where_nothing_waits_any_message_may():
    backlog = Backlog(Bounds(queue_messages=1, queue_bytes=10), 0.0)
    assert backlog.take([b"x" * 50, b"y"], 7) == 1
    assert (backlog.size, backlog.gap_after) == (50, 8)


def test_a_gap_names_what_was_skipped(make_house):
    house = make_house(queue_messages=4)
    peer = house.welcome(buffer=1)
    for _ in range(20):
        house.feed.say(2, size=2 * KB)
    peer.until(lambda p: p.of("relay.gap"))
    [gap] = peer.of("relay.gap")
    assert gap == {"after": f"a1-{peer.seqs[-1]}", "through": "a1-40"}
    assert is_contiguous(peer.seqs)
    house.feed.say(1)
    peer.until(hears(41))
    assert peer.seqs[-2:] == [number(gap["after"]), 41]


def test_who_takes_nothing_for_too_long_is_told_so(house):
    stuck, slow = house.welcome(buffer=1), house.welcome(buffer=1)
    house.feed.say(100, size=KB)
    house.settle()
    # So that what is sent ends within a frame again, one that had waited whole.
    stuck.read(6 * KB)
    house.settle()
    for _ in range(3):
        house.pass_time(11)
        slow.read(9 * KB)
        house.settle()
    # A frame that was begun is ended first, and nothing but the close frame follows.
    assert stuck.end() == (4103, "too slow")
    assert is_contiguous(stuck.seqs)
    assert len(stuck.seqs) < 100
    slow.until(hears(100))
    assert slow.closed is None


def test_who_takes_some_now_and_then_and_answers_no_ping_is_there_all_the_same(house):
    slow = house.welcome(buffer=1)
    # Its pings wait behind the rest.
    slow.answers = False
    house.feed.say(200, size=KB)
    for _ in range(4):
        house.pass_time(25)
        slow.read(9 * KB)
        house.settle()
    assert (slow.closed, house.left) == (None, [])
    slow.until(hears(200))


def test_who_takes_less_than_makes_room_is_not_stuck(house):
    # The kernel tells of room once three quarters of such a buffer are free.
    slow, stuck = house.welcome(buffer=100 * KB), house.welcome(buffer=100 * KB)
    house.feed.say(200, size=4 * KB)
    house.settle()
    for _ in range(3):
        house.pass_time(11)
        assert slow.read(36 * KB)
    house.settle()
    assert stuck.end() == (4103, "too slow")
    assert house.left == house.joined[1:]
    slow.until(hears(200))


def test_who_takes_nothing_even_then_is_cut(house):
    house.welcome(buffer=1)
    house.feed.say(100, size=KB)
    house.settle()
    house.pass_time(40)
    assert house.reactor._connections.by_fd == {}


def test_a_peer_that_hung_up_costs_nobody_else(house):
    peers = [house.welcome() for _ in range(20)]
    for peer in peers[::2]:
        peer.sock.close()
    house.feed.say(3)
    for peer in peers[1::2]:
        peer.until(hears(3))
    wait_for(lambda: len(house.left) == 10)
    assert house.ready() == []


def test_who_hangs_up_without_having_read_is_gone_too(house):
    peers = [house.let_in() for _ in range(5)]
    wait_for(lambda: len(house.reactor._connections.by_fd) == 5)
    house.settle()
    # With something unread, closing resets the connection.
    for peer in peers:
        peer.sock.close()
    wait_for(lambda: len(house.left) == 5)
    assert house.reactor._connections.by_fd == {}
    assert house.ready() == []


@pytest.mark.parametrize("event", [select.EPOLLHUP, select.EPOLLERR])
def test_a_socket_of_which_only_an_error_is_told_is_dropped(house, event):
    peer = house.welcome()
    connections = house.reactor._connections
    house.reactor._inbox.put(connections.attend, house.joined[0], event, 0.0)
    assert peer.end() is None


def test_an_idle_connection_costs_little(house):
    house.welcome()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            house.let_in()
        wait_for(lambda: len(house.reactor._channels["c"].live) == 201)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert (after - before) / 200 < 4 * KB


def test_of_those_who_came_and_went_nothing_is_left(house):
    house.welcome()
    session = uuid4()
    for turn in range(5):
        peers = [house.let_in(session_id=session) for _ in range(150)]
        house.feed.say(3)
        for number, peer in enumerate(peers):
            if number % 3 == 0:
                peer.until(hears(3 * turn + 3))
            peer.sock.close()
        wait_for(lambda: len(house.reactor._connections.by_fd) == 1)
    assert len(house.left) == 750
    assert {client.sock.fileno() for client in house.left} == {-1}
    house.left.clear()
    del house.joined[1:]
    house.settle()
    gc.collect()
    clients = [thing for thing in gc.get_objects() if isinstance(thing, Client)]
    assert [client for client in clients if client.member.session_id == session] == []
    assert house.ready() == []
