"""What clients say to the reactor, how they are kept alive, and how connections end."""

import re
import socket
import subprocess
import sys
from uuid import uuid4

import pytest

from tests.waiting import wait_for
from tests.web.relay.peer import by_hand
from web.relay.codec import CLOSE, PING, Parser


def test_a_ping_is_answered_both_ways(house):
    peer = house.welcome()
    peer.say(type="ping")
    peer.sock.sendall(by_hand(b"are you there", PING))
    peer.until(lambda p: p.pongs)
    assert peer.pongs == [b"are you there"]
    assert peer.heard[-1] == {"type": "relay.pong"}


def test_what_is_said_may_come_in_pieces_among_others(house):
    peer, other = house.welcome(), house.welcome()
    stream = by_hand(b'{"type":', final=False) + by_hand(b"x", PING) + by_hand(b'"ping"}', 0)
    for byte in stream:
        peer.sock.sendall(bytes((byte,)))
        house.settle()
    other.say(type="ping")
    other.until(lambda p: p.of("relay.pong"))
    peer.until(lambda p: p.of("relay.pong"))
    assert peer.pongs == [b"x"]
    house.settle()
    assert [client.parser for client in house.joined] == [None, None]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (by_hand(b"{"), 4000),
        (by_hand(b"[]"), 4000),
        (by_hand(b'{"type":"shout"}'), 4000),
        (by_hand(b'{"type":"resume"}'), 4000),
        (by_hand(b'{"type":"resume","since":7}'), 4000),
        (by_hand(b'{"type":"resume","since":"yesterday"}'), 4000),
        (by_hand(b'{"type":"ping"}', key=None), 1002),
        (by_hand(b"x", reserved=0x40), 1002),
        (by_hand(b"x", 2), 1003),
        (by_hand(b"\xff"), 1007),
        (by_hand(b"x" * (16 * 1024 + 1))[:8], 1009),
        (by_hand(b"x" * 70_000), 1009),
    ],
)
def test_what_is_not_understood_ends_the_connection_with_its_code(house, said, code):
    peer, other = house.welcome(), house.welcome()
    peer.sock.sendall(said)
    closed = peer.end()
    assert closed is not None
    assert closed[0] == code
    house.feed.say()
    other.until(lambda p: p.seqs == [1])
    peer.sock.close()
    wait_for(lambda: len(house.reactor._connections.by_fd) == 1)
    assert house.ready() == []


def test_a_flood_is_ended_and_others_hear_meanwhile(house):
    peer, other = house.welcome(), house.welcome()
    peer.sock.settimeout(0)
    flood, sent = by_hand(b'{"type":"ping"}') * 1000, 0
    while sent < 50:
        try:
            peer.sock.sendall(flood)
        except BlockingIOError:
            house.settle()
        except OSError:
            break
        house.feed.say()
        other.until(lambda p: len(p.seqs) == len(house.feed.bodies))
        sent += 1
    peer.sock.settimeout(60)
    assert peer.end() == (4104, "too many messages")
    assert len(peer.of("relay.pong")) <= house.reactor.bounds.inbound_burst


def test_empty_pieces_are_a_flood_too(house):
    peer = house.welcome()
    peer.sock.sendall(by_hand(b"", final=False) + by_hand(b"", 0, final=False) * 200)
    assert peer.end() == (4104, "too many messages")


def test_who_speaks_within_the_rate_may_speak_for_ever(house):
    peer = house.welcome()
    for round_ in range(1, 7):
        for _ in range(30):
            peer.say(type="ping")
        peer.until(lambda p, n=round_ * 30: len(p.of("relay.pong")) == n)
        house.clock.now += 3
    assert peer.closed is None


def test_who_was_quiet_for_long_may_not_say_all_of_it_at_once(house):
    peer = house.welcome()
    # A pong is one more that it says, and a heartbeat may be due.
    peer.answers = False
    house.clock.now += 1000
    for number in range(1, 41):
        peer.say(type="ping")
        peer.until(lambda p, n=number: len(p.of("relay.pong")) == n)
    peer.say(type="ping")
    assert peer.end() == (4104, "too many messages")


def test_who_asks_for_all_the_past_again_and_again_is_closed(house):
    house.feed.write(5)
    peer = house.welcome()
    for number in range(1, 5):
        peer.say(type="resume", since="a1-0")
        peer.until(lambda p, n=number: len(p.seqs) == n * 5)
    peer.say(type="resume", since="a1-0")
    assert peer.end() == (4104, "too many messages")
    assert len(house.feed.asked) == 4


def test_pongs_do_not_pile_up_for_who_does_not_read(make_house):
    house = make_house(queue_messages=8)
    peer = house.welcome(buffer=1)
    house.feed.say(8, size=1024)
    for _ in range(9):
        for _ in range(30):
            peer.say(type="ping")
        house.settle()
        house.clock.now += 3
    [client] = house.reactor._outbound.slow.values()
    assert len(client.behind.frames) <= 9


def test_each_is_asked_once_a_heartbeat_and_not_all_at_once(house):
    peers = [house.welcome() for _ in range(50)]
    asked_at_once = []
    for _ in range(25):
        before = sum(peer.pings for peer in peers)
        house.pass_time(1)
        for peer in peers:
            peer.say(type="ping")
            peer.until(lambda p: p.of("relay.pong"))
            peer.heard.clear()
        asked_at_once.append(sum(peer.pings for peer in peers) - before)
    assert [peer.pings for peer in peers] == [1] * 50
    assert max(asked_at_once) <= 25


def test_who_answers_stays_and_who_is_silent_is_dropped(house):
    silent, alive = house.welcome(), house.welcome()
    for _ in range(4):
        house.pass_time(25)
        alive.until(lambda p: p.pings)
        alive.pings = 0
        house.settle()
    assert [client.member.user_id for client in house.left] == [house.joined[0].member.user_id]
    silent.end()
    assert silent.closed is None
    assert alive.closed is None


def test_nobody_is_dropped_unasked_after_the_process_stood_still(house):
    peer = house.welcome()
    house.clock.now += 600
    house.settle()
    house.pass_time(25)
    peer.until(lambda p: p.pings)
    assert house.left == []


@pytest.mark.parametrize("goodbye", [b"", (1000).to_bytes(2, "big"), b"\x0f\xa1bye"])
def test_a_goodbye_is_answered_with_its_code(house, goodbye):
    peer = house.welcome()
    peer.sock.sendall(by_hand(goodbye, CLOSE))
    code, _ = peer.end()
    assert code == (int.from_bytes(goodbye[:2], "big") or 1005)
    wait_for(lambda: house.left)


def test_a_goodbye_amid_a_frame_is_answered_after_the_rest_of_it(house):
    peer = house.welcome(buffer=1)
    house.feed.say(100, size=1024)
    house.settle()
    peer.sock.sendall(by_hand((1000).to_bytes(2, "big"), CLOSE))
    assert peer.end() == (1000, "")
    assert peer.seqs == list(range(1, len(peer.seqs) + 1))
    assert len(peer.seqs) < 100
    wait_for(lambda: house.reactor._connections.by_fd == {})


def test_a_goodbye_that_crosses_ours_ends_it_once_ours_is_out(house):
    session = uuid4()
    peer = house.welcome(buffer=1, session_id=session)
    peer.answers = False
    house.feed.say(100, size=1024)
    house.reactor.end_sessions([session], 4001, "the session has ended")
    house.settle()
    peer.sock.sendall(by_hand((1000).to_bytes(2, "big"), CLOSE))
    house.settle()
    # Nobody waits for the answer that came already.
    assert peer.end() == (4001, "the session has ended")
    assert house.reactor.stats.closed == {4001: 1}


def test_who_is_told_to_go_twice_is_told_once_and_has_no_more_time_for_it(house):
    session = uuid4()
    rude = house.welcome(session_id=session)
    rude.answers = False
    for _ in range(2):
        house.reactor.end_sessions([session], 4001, "the session has ended")
        house.settle()
        house.pass_time(3)
    house.settle()
    assert house.reactor._connections.by_fd == {}
    assert house.left == house.joined
    assert rude.end() == (4001, "the session has ended")
    assert house.reactor.stats.closed == {4001: 1}


def test_a_drop_cuts_at_once_is_told_once_and_hits_nobody_else(house):
    gone, other = house.welcome(), house.welcome()
    client = house.joined[0]
    drop = house.reactor._connections.drop
    house.reactor._inbox.put(drop, client)
    assert gone.end() is None
    house.settle()
    # Its number is another's by now.
    client.fd = house.joined[1].fd
    house.reactor._inbox.put(drop, client)
    house.feed.say()
    other.until(lambda p: p.seqs == [1])
    assert house.left == [client]


def test_a_socket_that_somebody_else_holds_too_wakes_nobody_once_it_is_dropped(house):
    peer = house.welcome()
    held = house.joined[0].sock.dup()
    house.reactor._inbox.put(house.reactor._connections.drop, house.joined[0])
    house.settle()
    peer.say(type="ping")
    assert house.ready() == []
    held.close()


def test_the_relay_waits_for_the_answer_to_its_goodbye_but_not_for_ever(house):
    session = uuid4()
    polite, rude = (house.welcome(session_id=session) for _ in range(2))
    rude.answers = False
    house.reactor.end_sessions([session], 4001, "the session has ended")
    assert polite.end() == (4001, "the session has ended")
    rude.until(lambda p: p.closed)
    house.settle()
    assert len(house.reactor._connections.by_fd) == 1
    assert len(house.left) == 2
    house.pass_time(7)
    assert rude.end() == (4001, "the session has ended")
    assert house.reactor._connections.by_fd == {}


def test_only_the_sessions_that_ended_are_closed(house):
    gone, other = uuid4(), uuid4()
    closed = [house.welcome(session_id=gone) for _ in range(3)]
    open_ = [house.welcome(session_id=other) for _ in range(3)]
    house.reactor.end_sessions({gone, uuid4()}, 4001, "the session has ended")
    for peer in closed:
        assert peer.end() == (4001, "the session has ended")
    house.feed.say()
    for peer in open_:
        peer.until(lambda p: p.seqs == [1])


def test_at_the_end_all_are_told_to_come_back_each_at_its_moment(house):
    peers = [house.welcome() for _ in range(20)]
    house.reactor._inbox.put(house.reactor._leave_all, 10.0, 60.0)
    late = house.let_in()
    delays = []
    for peer in [*peers, late]:
        code, reason = peer.end()
        assert code == 4200
        delays.append(int(re.fullmatch(r"retry_ms=(\d+)", reason)[1]))
    assert sorted(delays[:-1]) == list(range(0, 10_000, 500))
    assert 0 <= delays[-1] <= 10_000
    house.reactor.join(60)
    assert not house.reactor.is_alive()
    assert house.reactor._connections.by_fd == {}


def test_draining_waits_for_nobody_for_longer_than_it_may(make_house):
    house = make_house()
    rude = house.welcome()
    house.reactor.drain(spread_s=1, within_s=0)
    assert not house.reactor.is_alive() or house.reactor.join(60) is None
    assert rude.end()[0] == 4200
    assert house.let_in().end() is None


def test_who_comes_in_the_last_moment_is_not_left_hanging(make_house):
    house = make_house(is_running=False)
    peer = house.let_in()
    # As when the reactor had made its last turn before the peer was handed over.
    house.reactor._leave()
    assert peer.end() is None
    assert house.let_in().end() is None


def test_a_channel_that_nobody_hears_is_forgotten_after_a_while(house):
    house.welcome().sock.close()
    wait_for(lambda: house.left)
    house.pass_time(20)
    back = house.welcome()
    house.pass_time(20)
    assert house.feed.closed == []
    back.sock.close()
    wait_for(lambda: len(house.left) == 2)
    house.pass_time(32)
    assert (house.feed.opened, house.feed.closed) == (["c"], ["c"])
    assert house.reactor._channels == {}
    house.welcome()
    assert house.feed.opened == ["c", "c"]


def test_what_fails_for_one_client_costs_only_it(house):
    unlucky, lucky = house.welcome(), house.welcome()
    house.joined[0].send = None
    house.feed.say()
    assert unlucky.end() is None
    lucky.until(lambda p: p.seqs == [1])
    house.joined[1].parser = object()
    lucky.say(type="ping")
    assert lucky.end() is None
    house.welcome()


class Failing:
    """A watcher of whom nothing is to be had."""

    def joined(self, client):
        raise RuntimeError

    left = joined


def test_a_watcher_that_fails_harms_neither_the_client_nor_the_others(house):
    house.reactor._watchers.insert(0, Failing())
    peer, other = house.welcome(), house.welcome()
    house.feed.say()
    peer.until(lambda p: p.seqs == [1])
    assert len(house.joined) == 2
    peer.sock.close()
    wait_for(lambda: house.left == house.joined[:1])
    house.feed.say()
    other.until(lambda p: p.seqs == [1, 2])


def test_who_cannot_be_held_was_there_for_those_who_hear_that_it_left(house):
    other = house.welcome()
    sock, peer = socket.socketpair()
    sock.close()
    house.reactor.adopt(sock, house.joined[0].member, None)
    house.settle()
    assert len(house.joined) == 2
    assert house.left == house.joined[1:]
    house.feed.say()
    other.until(lambda p: p.seqs == [1])
    peer.close()


def test_half_of_what_one_client_said_never_becomes_anothers(house):
    first, second = house.welcome(), house.welcome()
    failures = []

    class Failing(Parser):
        def feed(self, data):
            failures.append(data)
            super().feed(data[:5])
            raise RuntimeError

    house.reactor._connections._parser = Failing(1000)
    first.say(type="ping")
    assert first.end() is None
    second.say(type="ping")
    second.until(lambda p: p.of("relay.pong"))
    assert len(failures) == 1


def test_a_reactor_that_cannot_go_on_ends_its_process():
    program = (
        "from web.relay.reactor import Reactor\n"
        "import threading\n"
        "reactor = Reactor(None)\n"
        "reactor.start()\n"
        "reactor._inbox.put(int, 'not a number')\n"
        "threading.Event().wait(60)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 70
    assert "the relay's reactor died" in ended.stderr
