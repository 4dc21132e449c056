"""Clients of a real reactor and feed, through kills of clients, subscriptions and Redis."""

from __future__ import annotations

import random
import select
import socket
from uuid import uuid4

import pytest

from tests.waiting import wait_for
from tests.web.relay.harm import harm, publish
from tests.web.relay.peer import Peer
from web.relay.client import Bounds, Member
from web.relay.feed import RedisFeed
from web.relay.reactor import Reactor
from worker.channels import Channels, Place

ACTS = ["kill", "flush", "save", "kill", "restart", "flush", "restart", "kill"]


class Reader:
    """A client as the protocol page wants it: it takes what follows, or goes on from where it is
    told to."""

    def __init__(self, reactor: Reactor, channel: str) -> None:
        self.reactor = reactor
        self.member = Member(channel, uuid4(), uuid4(), None, 0.0)
        self.place: Place | None = None
        self.bodies: dict[Place, object] = {}
        self.refetches = 0
        self.peer: Peer | None = None

    def connect(self) -> None:
        sock, other = socket.socketpair()
        # Small, so that some are slower than what is said.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.settimeout(0)
        self.peer = Peer(other)
        self.has_gap = False
        self.reactor.adopt(sock, self.member, self.place)

    def drop(self) -> None:
        if self.peer is not None:
            self.peer.sock.close()
            self.peer = None

    def take(self) -> None:
        """Take in what has come."""
        while select.select([self.peer.sock], [], [], 0)[0]:
            assert self.peer.read(), f"the relay hung up: {self.peer.closed}"
        for message in self.peer.heard:
            if "id" in message:
                self.take_event(message)
            elif message["type"] in {"relay.hello", "relay.refetch"}:
                self.take_position(message)
            elif message["type"] == "relay.gap":
                self.has_gap = True
                self.peer.say(type="resume", since=str(self.place))
        self.peer.heard.clear()

    def take_event(self, message: dict) -> None:
        place = Place.parse(message["id"])
        follows = place == Place(self.place.epoch, self.place.seq + 1)
        assert follows or self.has_gap, f"{place} after {self.place}"
        if follows:
            self.place = place
            # One id is one message for everybody, for ever.
            assert self.bodies.setdefault(place, message) == message

    def take_position(self, message: dict) -> None:
        place = Place.parse(message["data"]["position"])
        if message["type"] == "relay.refetch":
            self.refetches += 1
            self.has_gap = False
        elif self.place is not None and message["data"]["resumed"]:
            assert place == self.place
        self.place = place


@pytest.fixture
def server(fresh_valkey):
    return fresh_valkey()


@pytest.fixture
def reactor(server):
    feed = RedisFeed(Channels(server.url), quiet_s=0.5, linger_s=0.05)
    # Little is kept, so that much is read from the stream.
    bounds = Bounds(ring_messages=8, queue_messages=8, inbound_burst=1_000_000, stuck_s=600)
    reactor = Reactor(feed, bounds=bounds)
    feed.start(reactor)
    reactor.start()
    yield reactor
    reactor.drain(spread_s=0, within_s=0)
    reactor.join(60)
    feed.stop()


def test_whatever_dies_every_client_hears_what_follows_or_is_told_to_fetch(server, reactor):
    channels = Channels(server.url)
    names = [str(uuid4()), str(uuid4())]
    readers = [Reader(reactor, names[number % 2]) for number in range(10)]
    try:
        listen_through_it_all(server, channels, readers)
    finally:
        for reader in readers:
            reader.drop()


def listen_through_it_all(server, channels: Channels, readers: list[Reader]) -> None:
    names = sorted({reader.member.channel for reader in readers})
    for reader in readers:
        reader.connect()
    for act in ACTS:
        # Some take nothing meanwhile.
        awake = random.sample(readers, len(readers) - 3)
        for _ in range(20):
            say(channels, names)
            live_on(awake)
        harm(act, server, channels)
    for reader in readers:
        if reader.peer is None:
            reader.connect()
    for name in names:
        publish(channels, name)
        mine = [reader for reader in readers if reader.member.channel == name]
        wait_for(lambda mine=mine, name=name: are_at(channels.position(name), mine))
        for place in set().union(*(reader.bodies for reader in mine)):
            assert len({str(r.bodies[place]) for r in mine if place in r.bodies}) == 1
    # Each met at least the last flush or restart, if not all.
    assert all(reader.refetches >= 1 for reader in readers)


def say(channels: Channels, names: list[str]) -> None:
    for name in names:
        bodies = [b'{"chance":%d}' % random.getrandbits(2000) for _ in range(random.randint(1, 6))]
        publish(channels, name, bodies=bodies)


def live_on(readers: list[Reader]) -> None:
    """Some read, some do not, some go and some come."""
    for reader in readers:
        chance = random.random()
        if reader.peer is None:
            if chance < 0.5:
                reader.connect()
        elif chance < 0.15:
            reader.drop()
        elif chance < 0.7:
            reader.take()


def are_at(place: Place, readers: list[Reader]) -> bool:
    for reader in readers:
        reader.take()
    return all(reader.place == place for reader in readers)
