"""Our transport under kombu, against a real Valkey."""

from __future__ import annotations

import gc
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import kombu
import pytest
import redis
from kombu.transport.redis import Transport as StockTransport

from tests.waiting import PATIENCE_S, wait_for
from worker import transport
from worker.app import app
from worker.transport import channel
from worker.transport.scripts import PUT_BACK

# No test lasts as long; `grow_old` has it pass at once.
VISIBLE_AFTER_S = 600
OPTIONS = {
    "visibility_timeout": VISIBLE_AFTER_S,
    "unacked_restore_interval": 0.2,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
}
QUEUES = ("one", "two", "three")


class Shop:
    """One consumer's connection, and what it was given."""

    def __init__(self, url: str, *, room: int = 0, kind: Any = transport.Transport) -> None:
        self.connection = kombu.Connection(url, transport=kind, transport_options=dict(OPTIONS))
        self.channel = self.connection.channel()
        self.got: list[Any] = []
        self.messages: list[Any] = []
        self._room = room

    def consume(self, *queues: str, no_ack: bool = False) -> Shop:
        names = queues or QUEUES
        self.consumer = kombu.Consumer(
            self.channel,
            [kombu.Queue(name, routing_key=name) for name in names],
            callbacks=[self._keep],
            accept=["json", "text/plain"],
            no_ack=no_ack,
        )
        self.consumer.qos(prefetch_count=self._room)
        self.consumer.consume()
        return self

    def _keep(self, body: Any, message: Any) -> None:
        self.got.append(body)
        self.messages.append(message)

    def drain(self, number: int, timeout_s: float = PATIENCE_S) -> list[Any]:
        """Return the bodies of the next messages."""
        before = len(self.got)
        while len(self.got) < before + number:
            self.connection.drain_events(timeout=timeout_s)
        return self.got[before:]

    def is_given_nothing(self, timeout_s: float = 0.3) -> bool:
        before = len(self.got)
        with suppress(socket.timeout):
            self.connection.drain_events(timeout=timeout_s)
        return len(self.got) == before

    def ack_all(self) -> None:
        for message in self.messages:
            if not message.acknowledged:
                message.ack()

    def die(self) -> None:
        """End as a killed process does: sockets closed, nothing told."""
        self.channel._disconnect_pools()
        self.channel.qos._delivered.clear()
        self.channel._taken.clear()
        self.channel._unheard.clear()
        self.channel._acks.clear()
        self.connection.release()


@pytest.fixture
def client(broker_url) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker_url, decode_responses=True) as connected:
        connected.flushdb()
        yield connected
        connected.flushdb()


@pytest.fixture
def shop(broker_url, client) -> Iterator[Callable[..., Shop]]:
    with ExitStack() as opened:

        def open_shop(url: str = broker_url, **options: Any) -> Shop:
            made = Shop(url, **options)
            opened.callback(made.connection.release)
            return made

        yield open_shop


@pytest.fixture
def send(broker_url, client) -> Iterator[Callable[..., None]]:
    with kombu.Connection(broker_url, transport=transport.Transport) as connection:
        producer = connection.Producer()

        def send_to(queue: str, *bodies: Any) -> None:
            for body in bodies:
                producer.publish(body, exchange="", routing_key=queue)

        yield send_to


def held(client: redis.Redis) -> tuple[int, int]:
    """What is unacknowledged: bodies and entries of the index."""
    return client.hlen("unacked"), client.zcard("unacked_index")


def grow_old(client: redis.Redis) -> None:
    """Let what is unacknowledged have been so for longer than it may."""
    for tag in client.zrange("unacked_index", 0, -1):
        client.zincrby("unacked_index", -VISIBLE_AFTER_S - 1, tag)


def test_messages_come_in_order_and_leave_nothing_behind(shop, send, client):
    send("one", *range(50))
    mine = shop(room=7).consume()
    while len(mine.got) < 50:
        mine.drain(1)
        mine.ack_all()
    assert mine.got == list(range(50))
    assert held(client) == (0, 0)
    assert client.llen("one") == 0


def test_a_message_is_kept_as_unacknowledged_before_anybody_sees_it(shop, send, client):
    send("one", "a")
    mine = shop().consume()
    seen = []
    mine.consumer.register_callback(lambda *_: seen.append((client.llen("one"), held(client))))
    mine.drain(1)
    assert seen == [(0, (1, 1))]
    mine.ack_all()
    assert held(client) == (0, 0)


def test_no_more_is_taken_than_there_is_room_for(shop, send, client):
    send("one", *range(10))
    mine = shop(room=3).consume()
    mine.drain(3)
    assert mine.is_given_nothing()
    assert client.llen("one") == 7
    mine.messages[0].ack()
    assert mine.drain(1) == [3]
    assert client.llen("one") == 6


def test_a_busy_queue_starves_no_other(shop, send):
    send("one", *["busy"] * 200)
    mine = shop(room=1).consume()
    mine.drain(1)
    mine.ack_all()
    send("two", "rare")
    send("three", "rarer")
    taken = []
    for _ in range(6):
        taken += mine.drain(1)
        mine.ack_all()
    assert {"rare", "rarer"} <= set(taken)


def test_queues_take_turns_within_one_round_trip(shop, send):
    for queue in QUEUES:
        send(queue, *[queue] * 4)
    mine = shop(room=6).consume()
    taken = mine.drain(6)
    assert {queue: taken.count(queue) for queue in QUEUES} == dict.fromkeys(QUEUES, 2)


@pytest.mark.parametrize("queue", QUEUES)
def test_whoever_pushes_wakes_a_waiting_consumer_at_once(shop, send, client, queue, monkeypatch):
    monkeypatch.setattr(channel, "WAIT_S", 2 * PATIENCE_S)
    send("kept", "a")
    raw = client.rpop("kept")
    mine = shop().consume()
    assert mine.is_given_nothing()
    push = threading.Timer(0.2, client.lpush, (queue, raw))
    push.start()
    # Not just when the wait is over and begun anew.
    assert mine.drain(1) == ["a"]
    push.join()


@pytest.mark.parametrize("messages", [0, 10], ids=["idle", "full"])
def test_a_consumer_that_waits_leaves_redis_alone(shop, fresh_valkey, monkeypatch, messages):
    # Else it looks now and then for what dead workers held.
    monkeypatch.setitem(OPTIONS, "unacked_restore_interval", PATIENCE_S)
    valkey = fresh_valkey()
    mine = shop(valkey.url, room=1).consume()
    for number in range(messages):
        mine.connection.Producer().publish(number, exchange="", routing_key="one")
    with suppress(socket.timeout):
        mine.drain(1, timeout_s=0.5)
    with redis.Redis.from_url(valkey.url) as there:
        before = there.info("stats")["total_commands_processed"]
        assert mine.is_given_nothing(timeout_s=1)
        # One of them is ours here; a consumer that asked again and again would have sent hundreds.
        assert there.info("stats")["total_commands_processed"] - before <= 5


def test_of_two_that_wait_one_gets_the_message(shop, send, client):
    first, second = shop().consume(), shop().consume()
    assert first.is_given_nothing()
    assert second.is_given_nothing()
    send("two", "a")
    assert first.drain(1) == ["a"]
    assert second.is_given_nothing()
    send("two", "b")
    assert second.drain(1) == ["b"]
    assert first.is_given_nothing()


def test_what_a_dead_consumer_held_comes_back_as_redelivered(shop, send, client):
    send("one", "a", "b")
    dead = shop().consume()
    dead.drain(2)
    assert not dead.messages[0].delivery_info.get("redelivered")
    dead.die()
    grow_old(client)
    mine = shop().consume()
    assert mine.drain(2) == ["a", "b"]
    for message in mine.messages:
        assert message.delivery_info["redelivered"] is True
        assert message.headers["redelivered"] is True
    mine.ack_all()
    assert held(client) == (0, 0)


def test_what_kombus_own_transport_held_comes_back_too(shop, send, client):
    send("one", "a")
    old = shop(kind=StockTransport).consume()
    old.drain(1)
    old.channel._disconnect_pools()
    old.channel.qos._delivered.clear()
    assert held(client) == (1, 1)
    grow_old(client)
    mine = shop().consume()
    assert mine.drain(1) == ["a"]
    mine.ack_all()
    assert held(client) == (0, 0)


def test_more_than_one_round_trip_of_messages_comes_back(shop, send, client):
    send("one", *range(120))
    dead = shop().consume()
    dead.drain(120)
    dead.die()
    grow_old(client)
    mine = shop()
    mine.channel.qos.restore_visible()
    assert held(client) == (0, 0)
    assert client.llen("one") == 120
    assert sorted(mine.consume().drain(120)) == list(range(120))


def test_of_many_that_bring_a_message_back_one_does(shop, send, client):
    send("one", "a")
    dead = shop().consume()
    dead.drain(1)
    [(tag, kept)] = client.hgetall("unacked").items()
    back = [PUT_BACK, 3, "unacked_index", "unacked", "one", tag, kept, "RPUSH"]
    # All of them read it before the first was done.
    assert [client.eval(*back) for _ in range(3)] == [1, 0, 0]
    assert client.llen("one") == 1


def test_a_consumer_that_closes_puts_back_what_it_holds_in_order(shop, send, client):
    send("one", *range(5))
    leaving = shop(room=4).consume()
    leaving.drain(4)
    leaving.messages[0].ack()
    leaving.connection.release()
    assert held(client) == (0, 0)
    assert shop().consume().drain(4) == [1, 2, 3, 4]


def test_what_was_taken_but_not_seen_goes_back_on_close(shop, send, client):
    send("one", "a")
    leaving = shop().consume()
    leaving.channel.work()
    wait_for(lambda: held(client) == (1, 1))
    leaving.connection.release()
    assert held(client) == (0, 0)
    assert client.llen("one") == 1


def test_what_was_taken_as_the_connection_broke_goes_back_on_close(shop, send, client):
    send("one", "a")
    leaving = shop().consume()
    leaving.channel.work()
    wait_for(lambda: held(client) == (1, 1))
    leaving.channel.client.connection.disconnect()
    leaving.connection.release()
    assert held(client) == (0, 0)
    assert client.llen("one") == 1


def test_a_consumer_that_is_cut_off_puts_back_what_it_holds_at_once(shop, send, client):
    send("one", "done", "held")
    cut = shop().consume()
    cut.drain(2)
    exchange = kombu.Exchange("news", type="fanout")
    cut.connection.Producer(cut.channel).publish(1, exchange=exchange, declare=[exchange])
    cut.channel.connection.cycle.add_reader = lambda *_: None
    cut.messages[0].ack()
    # Other processes of tests have their databases in the same server.
    here = str(client.get_connection_kwargs().get("db", 0))
    for each in client.client_list():
        if each["cmd"] != "client|list" and each["db"] == here:
            client.client_kill_filter(_id=each["id"])
    with pytest.raises(cut.connection.connection_errors):
        cut.drain(1)
    cut.connection.release()
    assert held(client) == (0, 0)
    assert shop().consume().drain(1) == ["held"]


def test_a_rejected_message_is_gone_or_last_in_its_queue(shop, send, client):
    send("one", "drop", "later", "next")
    mine = shop(room=1).consume()
    mine.drain(1)
    mine.messages[-1].reject()
    mine.drain(1)
    mine.messages[-1].requeue()
    assert mine.drain(1) == ["next"]
    mine.ack_all()
    assert mine.drain(1) == ["later"]
    mine.ack_all()
    assert mine.got == ["drop", "later", "next", "later"]
    assert held(client) == (0, 0)


def test_without_acknowledgement_nothing_is_kept(shop, send, client):
    send("one", "a")
    mine = shop().consume(no_ack=True)
    assert mine.drain(1) == ["a"]
    assert held(client) == (0, 0)


def test_a_message_can_be_asked_for(shop, send, client):
    send("one", "a")
    mine = shop()
    message = mine.channel.basic_get("one")
    assert message.payload == "a"
    assert held(client) == (1, 1)
    message.ack()
    assert held(client) == (0, 0)
    assert mine.channel.basic_get("one") is None


def test_what_is_no_message_is_set_aside(shop, send, client, caplog):
    for raw in ("{", "[]", "{}", '{"properties": null}'):
        client.lpush("one", raw)
    send("one", "a")
    with caplog.at_level(logging.CRITICAL):
        assert shop().consume().drain(1) == ["a"]
    assert client.lrange("unreadable", 0, -1)[::-1] == ["{", "[]", "{}", '{"properties": null}']
    assert held(client) == (1, 1)
    assert len(caplog.records) == 4


def test_a_cancelled_queue_is_left_alone(shop, send, client):
    mine = shop().consume()
    assert mine.is_given_nothing()
    mine.consumer.cancel_by_queue("two")
    send("two", "a")
    send("one", "b")
    assert mine.drain(1) == ["b"]
    assert client.llen("two") == 1


def test_a_closed_channel_is_forgotten(shop, send):
    mine = shop()
    for _ in range(3):
        channel = mine.connection.channel()
        with kombu.Consumer(channel, [kombu.Queue("one")], callbacks=[mine._keep]):
            assert mine.is_given_nothing(0.05)
        channel.close()
    cycle = mine.connection.transport.cycle
    gc.collect()
    assert {channel for channel, _, _ in cycle._chan_to_sock} <= {mine.channel}
    assert {channel for channel, _ in cycle._fd_to_chan.values()} <= {mine.channel}


def test_scripts_that_redis_forgot_are_sent_again(shop, send, client):
    mine = shop().consume()
    for turn in range(3):
        client.script_flush()
        send("one", turn)
        assert mine.drain(1) == [turn]
        mine.ack_all()
    assert held(client) == (0, 0)


def test_after_a_flush_new_messages_come(shop, send, client):
    send("one", "lost")
    mine = shop().consume()
    mine.drain(1)
    client.flushdb()
    mine.ack_all()
    send("two", "a")
    assert mine.drain(1) == ["a"]


def test_a_redis_that_stops_is_a_lost_connection(shop, fresh_valkey):
    valkey = fresh_valkey()
    mine = shop(valkey.url).consume()
    with redis.Redis.from_url(valkey.url) as there:
        producer = mine.connection.Producer()
        producer.publish("a", exchange="", routing_key="one")
        mine.drain(1)
        valkey.stop()
        lost = mine.connection.connection_errors
        with pytest.raises(lost) as raised:
            mine.drain(1)
        assert not isinstance(raised.value, (socket.timeout, KeyError))
        # As Celery clears up after that, in two steps.
        with suppress(*lost):
            mine.connection.collect(socket_timeout=1)
        mine.connection.release()
        mine.messages[0].ack_log_error(logging.getLogger(), lost)
        valkey.start()
        again = shop(valkey.url).consume()
        assert again.is_given_nothing()
        again.connection.Producer().publish("b", exchange="", routing_key="one")
        assert again.drain(1) == ["b"]
        assert there.ping()


def test_a_channel_whose_connection_was_given_up_says_so(shop):
    mine = shop()
    transport_ = mine.connection.transport
    mine.channel._disconnect_pools()
    given_up, transport_.client = transport_.client, None
    # Celery takes an AttributeError here for the end of the worker.
    with pytest.raises(transport.ChannelClosed):
        mine.channel.put_back(["a"])
    assert issubclass(transport.ChannelClosed, mine.connection.connection_errors)
    transport_.client = given_up


def refuse_without_replicas(client: redis.Redis) -> Callable[[], Any]:
    client.config_set("min-replicas-to-write", 1)
    return lambda: client.config_set("min-replicas-to-write", 0)


def refuse_as_replica(client: redis.Redis) -> Callable[[], Any]:
    client.replicaof("127.0.0.1", "1")
    return lambda: client.replicaof("NO", "ONE")


@pytest.mark.parametrize("refuse", [refuse_without_replicas, refuse_as_replica])
def test_a_redis_that_refuses_is_a_lost_connection(shop, fresh_valkey, refuse):
    valkey = fresh_valkey()
    mine = shop(valkey.url).consume()
    producer = mine.connection.Producer()
    producer.publish("a", exchange="", routing_key="one")
    lost = mine.connection.connection_errors
    with redis.Redis.from_url(valkey.url) as there:
        accept = refuse(there)
        with pytest.raises(lost):
            producer.publish("b", exchange="", routing_key="one")
        with pytest.raises(lost) as raised:
            mine.drain(1)
        assert isinstance(raised.value, transport.Refused)
        mine.connection.release()
        accept()
        assert there.llen("one") == 1
    assert shop(valkey.url).consume().drain(1) == ["a"]


def test_a_full_redis_refuses_messages_and_still_gives_them(shop, fresh_valkey):
    valkey = fresh_valkey()
    mine = shop(valkey.url).consume()
    producer = mine.connection.Producer()
    producer.publish("a", exchange="", routing_key="one")
    with redis.Redis.from_url(valkey.url) as there:
        there.config_set("maxmemory", 1)
        with pytest.raises(mine.connection.connection_errors):
            producer.publish("b", exchange="", routing_key="one")
        assert mine.drain(1) == ["a"]
        mine.ack_all()
        assert there.hlen("unacked") == 0


def test_events_come_in_order_to_all_who_listen(shop, broker_url):
    exchange = kombu.Exchange("news", type="fanout")
    listeners = [shop(), shop()]
    for number, each in enumerate(listeners):
        queue = kombu.Queue(f"listener{number}", exchange, auto_delete=True)
        consumer = kombu.Consumer(each.channel, [queue], callbacks=[each._keep], no_ack=True)
        consumer.consume()
        assert each.is_given_nothing(0.1)
    teller = shop()
    producer = teller.connection.Producer()
    for number in range(5):
        producer.publish(number, exchange=exchange, declare=[exchange])
    teller.connection.release()
    assert [each.drain(5) for each in listeners] == [list(range(5))] * 2


def test_a_herald_whose_connection_was_closed_speaks_again(shop, client):
    mine = shop()
    listener = client.pubsub()
    listener.subscribe("news")
    listener.get_message(timeout=PATIENCE_S)
    herald = transport.Herald(mine.channel.pool)
    herald.send("PUBLISH", "news", "a")
    herald._connection._sock.shutdown(socket.SHUT_RDWR)
    herald.send("PUBLISH", "news", "b")
    herald.close()
    heard = [listener.get_message(timeout=PATIENCE_S)["data"] for _ in range(2)]
    assert heard == ["a", "b"]
    listener.close()


def test_celery_uses_it_and_flower_still_sees_a_redis_url(migrated):
    with app.connection_for_read() as connection:
        assert isinstance(connection.transport, transport.Transport)
        assert connection.as_uri().startswith("redis://")


def test_what_lies_in_redis_can_be_read_by_kombus_own_transport(shop, send, client):
    send("one", {"n": 1})
    payload = json.loads(client.lindex("one", 0))
    assert payload["properties"]["delivery_info"]["routing_key"] == "one"
    assert shop(kind=StockTransport).consume().drain(1) == [{"n": 1}]
