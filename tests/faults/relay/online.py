"""Who is online, as Redis and the streams have it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.faults.relay.crowd import Person
from tests.faults.relay.house import House

IS_LONG = "PAYBEAT_RELAY_LONG" in os.environ


def held(house: House, channel: str) -> dict[str, set[str]]:
    """Return the relays that hold each user, by user."""
    found: dict[str, set[str]] = {}
    for member in house.system.redis.zrange("presence:expiry", 0, -1):
        of, user_id, relay = member.split("|")
        if of == channel:
            found.setdefault(user_id, set()).add(relay)
    return found


def let_expire(house: House, people: list[Person], relay: str) -> None:
    """Let the time pass after which what a dead relay held has expired."""
    if IS_LONG:
        return
    members = [f"{person.channel}|{person.user_id}|{relay}" for person in people]
    house.system.redis.zadd("presence:expiry", dict.fromkeys(members, 1), xx=True)


@contextmanager
def unhurried(house: House) -> Iterator[None]:
    """Look for nobody who expired meanwhile: a slow machine may take longer than is allowed for."""
    if not IS_LONG:
        house.system.redis.set("presence:calm", "9999999999")
    yield
    house.system.redis.delete("presence:calm")


def offline(house: House, channel: str) -> Counter[str]:
    """Return who was told to be offline, and how often."""
    stream = house.system.redis.xrange(f"events:{channel}")
    events = [json.loads(fields["message"]) for _, fields in stream]
    return Counter(event["user_id"] for event in events if event["type"] == "user.offline")


def reaping(house: House) -> Callable[[], bool]:
    """Return whether it has been looked, since now, for who expired."""
    before = house.system.redis.get("presence:reaped")
    return lambda: house.system.redis.get("presence:reaped") != before
