"""Presence: one event a change, whatever the number of tabs and relays, and whatever dies."""

from __future__ import annotations

import time
from types import SimpleNamespace
from uuid import UUID, uuid4

import orjson
import pytest

from tests.waiting import wait_for
from web.relay.presence import PresenceWatcher
from worker.channels import Channels, Place
from worker.presence import CHUNK, Held, Presence, present

COMPANY = str(uuid4())
ANN, BEN = uuid4(), uuid4()
AGES_S = 1000.0


@pytest.fixture
def relay(channels):
    """Return a maker of relays' watchers that look round often; nothing expires by itself."""
    started = []

    def start(**spans: float) -> PresenceWatcher:
        quick = {"refresh_s": 0.2, "reap_s": 0.1}
        slow = dict.fromkeys(("expiry_s", "patience_s", "grace_s"), AGES_S)
        watcher = PresenceWatcher(channels, **{**quick, **slow, **spans})
        watcher.start()
        started.append(watcher)
        return watcher

    yield start
    for watcher in started:
        if watcher._thread.is_alive():
            watcher.stop()


def tab(user: UUID, channel: str = COMPANY):
    return SimpleNamespace(member=SimpleNamespace(channel=channel, user_id=user))


def die(watcher: PresenceWatcher) -> None:
    """End as a process does that is killed."""
    watcher._stopping.set()
    watcher._news.put(None)
    watcher._thread.join()


def expire(channels: Channels, watcher: PresenceWatcher) -> None:
    """Let the time be over for which a relay holds its users."""
    for member in channels.do(lambda r: r.zrange("presence:expiry", 0, -1)):
        if member.decode().endswith(watcher.name):
            channels.do(lambda r, member=member: r.zadd("presence:expiry", {member: 1}))


def told(channels: Channels, channel: str = COMPANY) -> list[tuple[str, UUID]]:
    """Return the kind and user of all that was told since the numbering began."""
    epoch = channels.position(channel).epoch
    history = channels.since(channel, Place(epoch, 0))
    assert history.lost is None
    events = [orjson.loads(body) for _, body in history.messages]
    assert all(event["company_id"] == channel for event in events)
    assert all(event["data"] == {"user_id": event["user_id"]} for event in events)
    return [(event["type"].removeprefix("user."), UUID(event["user_id"])) for event in events]


def online(channels: Channels, channel: str = COMPANY) -> set[UUID]:
    return {user.user_id for user in present(channel, at=channels)}


def test_tabs_and_relays_of_a_user_count_once(relay, channels):
    one, other = relay(grace_s=0), relay(grace_s=0)
    tabs = [tab(ANN) for _ in range(3)]
    for each in tabs:
        one.joined(each)
    wait_for(lambda: told(channels))
    other.joined(tab(ANN))
    other.joined(tab(BEN))
    wait_for(lambda: online(channels) == {ANN, BEN})
    one.left(tabs.pop())
    wait_for(lambda: one._sockets[COMPANY, ANN] == 2 and not one._changed)
    assert one._held
    for each in tabs:
        one.left(each)
    wait_for(lambda: not one._held)
    # Until the hold of the first relay has been reaped: the other's stays.
    wait_for(lambda: channels.do(lambda r: r.zcard("presence:expiry")) == 2)
    assert told(channels) == [("online", ANN), ("online", BEN)]
    other.left(tab(BEN))
    wait_for(lambda: len(told(channels)) == 3)
    other.left(tab(ANN))
    wait_for(lambda: len(told(channels)) == 4)
    assert told(channels)[2:] == [("offline", BEN), ("offline", ANN)]
    assert online(channels) == set()


def test_a_relay_that_dies_takes_each_of_its_users_offline_once(relay, channels):
    dying, living = relay(), relay()
    users = [uuid4() for _ in range(CHUNK + 5)]
    for user in users:
        dying.joined(tab(user))
    dying.joined(tab(ANN))
    living.joined(tab(ANN))
    elsewhere = str(uuid4())
    dying.joined(tab(BEN, elsewhere))
    wait_for(lambda: len(told(channels)) == len(users) + 1 and told(channels, elsewhere))
    wait_for(lambda: living._held)
    die(dying)
    expire(channels, dying)
    wait_for(lambda: online(channels) == {ANN} and not online(channels, elsewhere))
    wait_for(lambda: channels.do(lambda r: r.zcard("presence:expiry")) == 1)
    # The company that only the dead relay served is told too.
    assert told(channels, elsewhere) == [("online", BEN), ("offline", BEN)]
    offline = [user for kind, user in told(channels) if kind == "offline"]
    assert sorted(offline) == sorted(users)


def test_who_was_on_the_only_relay_is_told_to_be_gone_by_the_next_one(relay, channels):
    dying = relay()
    dying.joined(tab(ANN))
    wait_for(lambda: told(channels))
    die(dying)
    expire(channels, dying)
    assert online(channels) == set()
    assert told(channels) == [("online", ANN)]
    relay()
    wait_for(lambda: told(channels) == [("online", ANN), ("offline", ANN)])


def test_a_page_that_is_loaded_again_takes_nobody_offline(relay, channels):
    one, other = relay(), relay()
    one.joined(tab(ANN))
    for there, here in [(one, other), (other, other), (other, one), (one, one)]:
        wait_for(lambda there=there: there._held)
        there.left(tab(ANN))
        wait_for(lambda there=there: not there._held)
        reap(channels)
        here.joined(tab(ANN))
    assert told(channels) == [("online", ANN)]


def reap(channels: Channels) -> None:
    Presence(channels, "reaper", expiry_s=AGES_S).reap()


def test_a_relay_that_leaves_takes_nobody_offline_who_comes_back(relay, channels):
    leaving, staying = relay(), relay()
    for user in (ANN, BEN):
        leaving.joined(tab(user))
    wait_for(lambda: len(told(channels)) == 2)
    leaving.stop(grace_s=AGES_S / 2)
    until = channels.do(lambda r: r.zrange("presence:expiry", 0, -1, withscores=True))
    assert all(score < time.time() + AGES_S / 2 for _, score in until)
    leaving.left(tab(ANN))
    staying.joined(tab(ANN))
    wait_for(lambda: staying._held)
    assert online(channels) == {ANN, BEN}
    expire(channels, leaving)
    wait_for(lambda: len(told(channels)) == 3)
    assert told(channels)[2] == ("offline", BEN)
    assert online(channels) == {ANN}


def test_a_redis_that_refuses_keeps_no_relay_from_leaving(relay, channels, caplog):
    watcher = relay()
    watcher.joined(tab(ANN))
    wait_for(lambda: watcher._held)
    channels.do(lambda r: r.set("presence:expiry", "no set"))
    watcher.stop()
    assert "could not be let go of" in caplog.text


def test_after_a_flush_who_is_here_is_present_again_without_an_event(relay, channels):
    # Far from its next refresh: it notices by itself.
    watcher = relay(refresh_s=AGES_S)
    for user in (ANN, BEN):
        watcher.joined(tab(user))
    wait_for(lambda: len(online(channels)) == 2)
    wait_for(lambda: watcher._epoch)
    since = present(COMPANY, at=channels)
    channels.do(lambda r: r.flushall())
    wait_for(lambda: len(online(channels)) == 2)
    assert present(COMPANY, at=channels) == since
    assert told(channels) == []
    # And goes on as before.
    watcher.left(tab(BEN))
    wait_for(lambda: len(watcher._held) == 1)
    channels.do(lambda r: r.zadd("presence:expiry", {f"{COMPANY}|{BEN}|{watcher.name}": 1}))
    wait_for(lambda: told(channels) == [("offline", BEN)])


def test_who_was_told_to_be_gone_is_told_to_be_back(relay, channels):
    """A relay that could not reach Redis for a while: others took its users for gone."""
    watcher = relay()
    watcher.joined(tab(ANN))
    wait_for(lambda: watcher._held and watcher._epoch)
    lone = Presence(channels, "lone")
    held = [Held(COMPANY, BEN, "2026-11-23T10:00:00+00:00")]
    epoch = lone.hold(held)
    lone.let_go(held, grace_s=0)
    wait_for(lambda: ("offline", BEN) in told(channels))
    lone.hold(held, known_epoch=epoch)
    assert told(channels)[1:] == [("online", BEN), ("offline", BEN), ("online", BEN)]


def test_after_redis_or_all_relays_were_away_nobody_is_gone_who_is_held_again(relay, channels):
    one, other = relay(reap_s=AGES_S), relay(reap_s=AGES_S, refresh_s=AGES_S)
    one.joined(tab(ANN))
    other.joined(tab(BEN))
    wait_for(lambda: len(told(channels)) == 2)
    reap(channels)
    expire(channels, other)
    # The first relay that comes back finds it so.
    channels.do(lambda r: r.set("presence:reaped", time.time() - 16))
    reap(channels)
    assert online(channels) == {ANN, BEN}
    other.restore()
    wait_for(lambda: channels.do(lambda r: r.zcount("presence:expiry", 2, "+inf")) == 2)
    channels.do(lambda r: r.set("presence:calm", time.time()))
    reap(channels)
    assert sorted(told(channels)) == sorted([("online", ANN), ("online", BEN)])


def test_presence_and_a_companys_own_events_are_one_numbering(relay, channels):
    watcher = relay()
    channels.publish({COMPANY: [b'{"type":"invoice.paid"}']})
    watcher.joined(tab(ANN))
    wait_for(lambda: channels.position(COMPANY).seq == 2)
    channels.publish({COMPANY: [b'{"type":"invoice.paid"}'] * 2})
    head = channels.position(COMPANY)
    history = channels.since(COMPANY, Place(head.epoch, 0))
    assert [seq for seq, _ in history.messages] == [1, 2, 3, 4]
    assert [str(Place.of(body)) for _, body in history.messages] == [
        f"{head.epoch}-{seq}" for seq in (1, 2, 3, 4)
    ]
