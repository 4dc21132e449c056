"""The feed: contiguous or reset, whatever becomes of the connection or of Redis."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress

import pytest
import redis

from tests.waiting import wait_for
from tests.web.relay.harm import harm, publish
from tests.web.relay.ledger import Ledger
from web.relay.feed import RedisFeed, _Line
from worker.cache import CacheAway
from worker.channels import Channels, Place, channel_of, stream_of


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def feed(own_valkey, ledger):
    feed = RedisFeed(Channels(own_valkey.url), quiet_s=0.5, linger_s=0.3)
    feed.start(ledger)
    yield feed
    feed.stop()


def opened(feed, ledger: Ledger, channel: str) -> Place:
    feed.open(channel)
    wait_for(lambda: channel in ledger.places)
    return ledger.places[channel]


def test_what_is_published_is_heard_in_order_on_its_own_channel(feed, channels, ledger):
    publish(channels, "a", 3)
    assert opened(feed, ledger, "a").seq == 3
    assert opened(feed, ledger, "b").seq == 0
    publish(channels, "a", 2)
    publish(channels, "b", 600)
    publish(channels, "c")
    wait_for(lambda: len(ledger.seqs("b")) == 600)
    assert (ledger.seqs("a"), ledger.seqs("b")) == ([4, 5], list(range(1, 601)))
    assert ledger.broken == ledger.resets == []
    assert "c" not in ledger.heard_ids


def test_a_killed_subscription_misses_nothing(feed, channels, ledger):
    opened(feed, ledger, "a")
    for kill in range(3):
        assert channels.do(lambda r: r.client_kill_filter(_type="pubsub")) == 1
        publish(channels, "a", 2)
        wait_for(lambda kill=kill: len(ledger.seqs("a")) == 2 * (kill + 1))
        wait_for(lambda: channels.do(lambda r: r.pubsub_numsub(channel_of("a")))[0][1] == 1)
    assert ledger.seqs("a") == [1, 2, 3, 4, 5, 6]
    assert ledger.broken == ledger.resets == []


def test_a_connection_that_breaks_takes_nothing_along_that_was_read(
    feed, channels, ledger, monkeypatch
):
    opened(feed, ledger, "a")
    take, taken = _Line.take, []

    def take_some(line):
        if len(taken) == 3:
            taken.append(None)
            raise redis.ConnectionError("it breaks")
        answer = take(line)
        if answer is not None and answer[0] == b"message":
            taken.append(answer)
        return answer

    monkeypatch.setattr(_Line, "take", take_some)
    publish(channels, "a", 8)
    wait_for(lambda: ledger.seqs("a") == list(range(1, 9)))
    assert ledger.broken == ledger.resets == []


def test_a_number_that_is_missing_is_fetched(feed, channels, ledger):
    """As after a server that dropped what it had published."""
    opened(feed, ledger, "a")
    publish(channels, "a")
    wait_for(lambda: ledger.seqs("a") == [1])
    place = ledger.places["a"]
    feed._topics["a"].place = Place(place.epoch, 0)
    ledger.places["a"] = Place(place.epoch, 0)
    publish(channels, "a")
    wait_for(lambda: ledger.seqs("a") == [1, 1, 2])
    assert ledger.broken == ledger.resets == []


def test_what_has_no_number_is_not_handed_on(feed, channels, ledger, caplog):
    opened(feed, ledger, "a")
    for junk in (b"", b"{}", b'{"id":"', b'{"id":"x-1"}', b"\xff" * 20):
        channels.do(lambda r, junk=junk: r.publish(channel_of("a"), junk))
    publish(channels, "a")
    wait_for(lambda: ledger.seqs("a") == [1])
    assert ledger.broken == ledger.resets == []
    assert "begins anew" not in caplog.text


def test_after_a_flush_the_channel_is_reset_once_and_goes_on(feed, channels, ledger):
    opened(feed, ledger, "a")
    publish(channels, "a", 5)
    wait_for(lambda: len(ledger.seqs("a")) == 5)
    channels.do(lambda r: r.flushall())
    publish(channels, "a", 2)
    wait_for(lambda: ledger.resets)
    publish(channels, "a")
    wait_for(lambda: ledger.seqs("a")[-1] == 3)
    assert ledger.resets == [("a", "epoch")]
    assert ledger.broken == []


def test_a_hole_that_cannot_be_filled_is_told(feed, channels, ledger):
    opened(feed, ledger, "a")
    publish(channels, "a", 2)
    wait_for(lambda: len(ledger.seqs("a")) == 2)
    place = ledger.places["a"]
    feed._topics["a"].place = ledger.places["a"] = Place(place.epoch, 0)
    channels.do(lambda r: r.delete(stream_of("a")))
    publish(channels, "a")
    wait_for(lambda: ledger.resets == [("a", "trimmed")])
    assert ledger.broken == []


def test_a_redis_that_hangs_is_noticed_and_what_it_missed_is_heard(
    feed, own_valkey, channels, ledger
):
    opened(feed, ledger, "a")
    wait_for(lambda: feed.is_connected)
    os.kill(own_valkey.pid, signal.SIGSTOP)
    try:
        feed.open("b")
        feed.read("a", "me", ledger.places["a"])
        wait_for(lambda: not feed.is_connected)
    finally:
        os.kill(own_valkey.pid, signal.SIGCONT)
    publish(channels, "a", 2)
    wait_for(lambda: ledger.seqs("a") == [1, 2])
    wait_for(lambda: "b" in ledger.places and ledger.answers)
    assert ledger.answers[0][0] == "me"
    assert ledger.broken == ledger.resets == []


def test_a_feed_without_channels_keeps_its_connection(feed):
    # It asks for a sign of life, and gets it.
    wait_for(lambda: (line := feed._line) is not None and line._heard_at > line._pinged_at)


def test_hundreds_who_ask_the_same_are_answered_by_one_look(feed, channels, ledger, monkeypatch):
    publish(channels, "a", 3)
    since = Place(channels.position("a").epoch, 1)
    looks = []
    is_let = threading.Event()
    found = feed._channels.since

    def look(channel, place):
        looks.append(place)
        is_let.wait()
        return found(channel, place)

    monkeypatch.setattr(feed._channels, "since", look)
    for client in range(300):
        feed.read("a", client, since)
    for reason, place in (("epoch", Place("e", 1)), ("ahead", Place(since.epoch, 9))):
        feed.read("a", reason, place)
    is_let.set()
    wait_for(lambda: len(ledger.answers) == 302)
    assert len(looks) == 3
    head = Place(since.epoch, 3)
    same = [answer for answer in ledger.answers if answer[1] == since]
    assert [ref for ref, *_ in same] == list(range(300))
    assert {str(answer[2:]) for answer in same} == {str(([2, 3], head, None))}
    assert {answer[0]: answer[2:] for answer in ledger.answers if answer[1] != since} == {
        "epoch": (None, head, "epoch"),
        "ahead": (None, head, "ahead"),
    }


def test_a_channel_that_nobody_hears_is_left_after_a_while(feed, channels, ledger):
    def subscribers() -> int:
        return channels.do(lambda r: r.pubsub_numsub(channel_of("a")))[0][1]

    opened(feed, ledger, "a")
    assert subscribers() == 1
    feed.close("a")
    wait_for(lambda: subscribers() == 0)
    ledger.places.clear()
    publish(channels, "a", 4)
    assert opened(feed, ledger, "a").seq == 4
    assert ledger.heard_ids == {}


def test_a_channel_that_is_opened_again_at_once_has_no_hole(feed, channels, ledger):
    opened(feed, ledger, "a")
    for _ in range(20):
        feed.close("a")
        publish(channels, "a")
        feed.open("a")
    wait_for(lambda: ledger.seqs("a") == list(range(1, 21)))
    opened_at = time.monotonic()
    wait_for(lambda: time.monotonic() > opened_at + 0.5)
    publish(channels, "a")
    wait_for(lambda: len(ledger.seqs("a")) == 21)
    assert ledger.broken == ledger.resets == []


def test_through_kills_flushes_and_restarts_every_channel_is_contiguous_or_reset(
    feed, own_valkey, channels, ledger
):
    names = ["a", "b", "c"]
    is_over = threading.Event()
    publishers = [
        threading.Thread(target=publish_on, args=(Channels(own_valkey.url), names, is_over))
        for _ in range(2)
    ]
    for name in names:
        opened(feed, ledger, name)
    for publisher in publishers:
        publisher.start()
    try:
        for act in ["kill", "flush", "kill", "restart", "save", "kill", "restart", "kill", "flush"]:
            hear_more(ledger, names)
            harm(act, own_valkey, channels)
    finally:
        is_over.set()
        for publisher in publishers:
            publisher.join()
    for name in names:
        publish(channels, name)
        wait_for(lambda name=name: ledger.places[name] == channels.position(name))
    assert ledger.broken == []
    # On a slow machine more than the stream holds may be said while the feed is away.
    assert "epoch" in {reason for _, reason in ledger.resets} <= {"epoch", "trimmed"}
    # Two flushes, two restarts; a kill is none.
    assert all(1 <= ledger.resets.count((name, "epoch")) <= 4 for name in names)


def publish_on(channels: Channels, names: list[str], is_over: threading.Event) -> None:
    numbers = iter(range(10**9))
    while not is_over.wait(0.002):
        with suppress(CacheAway):
            bodies = [
                b'{"by":%d,"number":%d}' % (threading.get_ident(), next(numbers))
                for _ in range(random.randint(1, 3))
            ]
            channels.publish({random.choice(names): bodies})


def hear_more(ledger: Ledger, names: list[str]) -> None:
    counts = {name: len(ledger.seqs(name)) for name in names}
    wait_for(lambda: all(len(ledger.seqs(name)) > counts[name] + 10 for name in names))
