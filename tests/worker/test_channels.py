"""Numbering: without a hole, and no number twice, whatever Redis loses."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from redis import Redis

from sandbox.servers import PrivateValkey
from tests.waiting import wait_for
from worker.cache import CacheAway
from worker.channels import HISTORY, KEPT_S, RENEWED_EVERY, Channels, Place, channel_of, stream_of

# What Redis answers for the time that a key which does not exist has left.
GONE = -2
BODY = b'{"type":"invoice.paid"}'


def publish(channels: Channels, channel: str = "a", count: int = 1) -> Place:
    assert channels.publish({channel: [BODY] * count}) == {}
    return channels.position(channel)


def kill(server: PrivateValkey) -> None:
    """End it as a crash does; it starts with what it had last saved."""
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    server.start()


def again(work):
    """Return what it returns once Redis is asked again."""
    found = []

    def is_done() -> bool:
        try:
            found.append(work())
        except CacheAway:
            return False
        return True

    wait_for(is_done)
    return found[0]


@pytest.mark.parametrize(
    "text", ["", "a", "a-", "-1", "a-01", "A-1", "a-1 ", "a-b-1", "g-1", "a--1"]
)
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ValueError, match="a place is"):
        Place.parse(text)


def test_a_place_is_written_as_it_is_read():
    assert str(Place.parse("0f-0")) == "0f-0"
    assert Place.parse("abc123-42") == Place("abc123", 42)


def test_a_channels_numbers_run_on_from_call_to_call(channels):
    assert channels.position("a").seq == 0
    epoch = publish(channels, "a", 2).epoch
    assert publish(channels, "b", 1) == Place(epoch, 1)
    assert channels.publish({"a": [BODY], "b": [BODY, BODY]}) == {}
    assert channels.position("a") == channels.position("b") == Place(epoch, 3)


def test_publishers_at_once_leave_no_hole_and_no_double(own_valkey, channels):
    heard = channels.cache.client.pubsub()
    heard.subscribe(channel_of("a"))
    heard.get_message(timeout=5)
    go = threading.Barrier(4)

    def publish_many() -> None:
        mine = Channels(own_valkey.url)
        go.wait()
        for _ in range(50):
            again(lambda: mine.publish({"a": [BODY, BODY]}))

    threads = [threading.Thread(target=publish_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    head = channels.position("a")
    assert head.seq == 400
    messages = channels.since("a", Place(head.epoch, 0)).messages
    assert [seq for seq, _ in messages] == list(range(1, 401))
    # The same bytes are kept and published, in the same order.
    assert [heard.get_message(timeout=5)["data"] for _ in messages] == [b for _, b in messages]
    assert [Place.of(body).seq for _, body in messages] == list(range(1, 401))
    heard.close()


def test_history_is_what_came_after_or_why_not(channels):
    head = publish(channels, "a", 5)
    found = channels.since("a", Place(head.epoch, 3))
    assert (found.head, [seq for seq, _ in found.messages], found.lost) == (head, [4, 5], None)
    assert channels.since("a", head) == channels.read({"a": None})["a"]
    assert channels.since("a", Place("0", 5)).lost == "epoch"
    assert channels.since("a", Place(head.epoch, 6)).lost == "ahead"
    assert channels.since("b", Place(head.epoch, 0)).lost is None
    publish(channels, "a", HISTORY + 200)
    assert channels.since("a", Place(head.epoch, 3)).lost == "trimmed"
    last = channels.since("a", Place(head.epoch, 205))
    assert len(last.messages) == HISTORY
    assert last.lost is None


def test_after_a_flush_everything_is_numbered_anew(channels):
    before = publish(channels, "a", 3)
    channels.do(lambda r: r.flushall())
    after = publish(channels, "a")
    assert after.seq == 1
    assert after.epoch != before.epoch
    assert channels.since("a", before) == channels.since("a", Place("0", 0))
    assert channels.since("a", before).lost == "epoch"
    # Who knows the old epoch only goes on in the new one.
    assert publish(channels, "b") == Place(after.epoch, 1)


def test_a_lost_numbering_leaves_no_old_message_behind(channels):
    before = publish(channels, "a", 3)
    channels.do(lambda r: r.delete("events:heads"))
    after = publish(channels, "a", 2)
    assert (after.seq, after.epoch != before.epoch) == (2, True)
    assert [seq for seq, _ in channels.since("a", Place(after.epoch, 0)).messages] == [1, 2]


def test_a_stream_that_was_evicted_takes_the_history_and_no_number(channels):
    before = publish(channels, "a", 3)
    channels.do(lambda r: r.delete(stream_of("a")))
    assert channels.since("a", Place(before.epoch, 1)).lost == "trimmed"
    assert publish(channels, "a") == Place(before.epoch, 4)
    assert [seq for seq, _ in channels.since("a", before).messages] == [4]


def test_the_stream_of_a_channel_that_goes_quiet_expires(channels):
    def left_s() -> int:
        return channels.do(lambda r: r.ttl(stream_of("a")))

    def is_renewed_by(count: int) -> bool:
        channels.do(lambda r: r.expire(stream_of("a"), 60))
        publish(channels, "a", count)
        return left_s() > 60

    publish(channels, "a", 3)
    assert 60 < left_s() <= KEPT_S
    assert not is_renewed_by(RENEWED_EVERY - 4)
    assert is_renewed_by(1)
    assert not is_renewed_by(1)
    assert is_renewed_by(RENEWED_EVERY)
    head = channels.position("a")
    channels.do(lambda r: r.pexpire(stream_of("a"), 1))
    wait_for(lambda: left_s() == GONE)
    assert channels.since("a", Place(head.epoch, head.seq - 1)).lost == "trimmed"
    assert channels.since("a", head).lost is None
    # Whoever has all goes on without a hole, in a stream that ends as well.
    assert publish(channels, "a", 2) == Place(head.epoch, head.seq + 2)
    assert [seq for seq, _ in channels.since("a", head).messages] == [head.seq + 1, head.seq + 2]
    assert channels.since("a", Place(head.epoch, head.seq - 1)).lost == "trimmed"
    assert left_s() > 60


def test_forgotten_scripts_are_sent_again_and_change_nothing(channels):
    before = publish(channels, "a")
    channels.do(lambda r: r.script_flush())
    assert channels.publish({"a": [BODY], "b": [BODY]}) == {}
    assert channels.position("a") == Place(before.epoch, 2)
    assert channels.position("b") == Place(before.epoch, 1)


def test_an_older_snapshot_is_another_epoch(own_valkey, channels):
    saved = publish(channels, "a", 2)
    channels.do(lambda r: r.save())
    lost = publish(channels, "a", 2)
    kill(own_valkey)
    # Whoever comes first, a reader or a publisher.
    assert again(lambda: channels.since("a", lost)).lost == "epoch"
    after = publish(channels, "a")
    assert (after.seq, after.epoch != saved.epoch) == (1, True)
    channels.do(lambda r: r.save())
    kill(own_valkey)
    again(lambda: channels.publish({"a": [BODY]}))
    last = channels.position("a")
    assert (last.seq, last.epoch != after.epoch) == (1, True)
    assert [seq for seq, _ in channels.since("a", Place(last.epoch, 0)).messages] == [1]


def test_failover_to_a_replica_and_back_takes_no_number_twice(own_valkey, channels, fresh_valkey):
    """The replica lags: it has not heard of the last messages."""
    replica = fresh_valkey()
    publish(channels, "a", 2)
    follow(own_valkey, None)
    other = Channels(replica.url)
    follow(replica, own_valkey)
    wait_for(lambda: head_on(replica) == head_on(own_valkey))
    follow(replica, None)
    lost = publish(channels, "a", 2)
    assert other.since("a", lost).lost == "epoch"
    after = publish(other, "a", 4)
    assert after.epoch != lost.epoch
    # And back, to a server that runs since then, over connections that were open all the time.
    follow(own_valkey, replica)
    wait_for(lambda: head_on(replica) == head_on(own_valkey))
    with pytest.raises(CacheAway):
        channels.publish({"a": [BODY]})
    unheard = publish(other, "b", 1)
    follow(own_valkey, None)
    again(lambda: channels.publish({"a": [BODY]}))
    last = channels.position("a")
    assert last.seq == 1
    assert last.epoch not in {lost.epoch, after.epoch, unheard.epoch}


def follow(server: PrivateValkey, master: PrivateValkey | None) -> None:
    with Redis.from_url(server.url) as client:
        # It would wait 5 s for other replicas to ask too.
        client.config_set("repl-diskless-sync-delay", 0)
        if master is None:
            client.replicaof("NO", "ONE")
        else:
            client.config_set("masterauth", master.password)
            client.replicaof("127.0.0.1", master.port)


def head_on(server: PrivateValkey) -> dict[bytes, bytes]:
    with Redis.from_url(server.url) as client:
        return client.hgetall("events:heads")


def test_a_stream_that_cannot_be_written_costs_no_number(channels):
    before = publish(channels, "a", 2)
    channels.do(lambda r: r.set(stream_of("a"), "not a stream"))
    refused = channels.publish({"a": [BODY] * 3, "b": [BODY]})
    assert "WRONGTYPE" in str(refused["a"])
    assert list(refused) == ["a"]
    assert "WRONGTYPE" in str(channels.publish({"a": [BODY]})["a"])
    assert channels.since("a", Place(before.epoch, 1)).lost == "trimmed"
    channels.do(lambda r: r.delete(stream_of("a")))
    assert publish(channels, "a") == Place(before.epoch, 3)


def test_a_redis_that_is_away_is_said_to_be(own_valkey, channels):
    before = publish(channels, "a")
    own_valkey.stop()
    for ask in (
        lambda: channels.publish({"a": [BODY]}),
        lambda: channels.position("a"),
        lambda: channels.since("a", before),
    ):
        with pytest.raises(CacheAway):
            ask()
