import os
import signal
import time

import pytest
import redis

from tests.waiting import wait_for
from worker import replies
from worker.cache import TIMEOUT_S, Breaker, Cache, CacheAway, shared


class Hands:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def fails() -> None:
    raise redis.ConnectionError("gone")


def test_a_breaker_opens_on_a_failure_and_lets_one_probe_through_at_a_time():
    hands = Hands()
    breaker = Breaker(open_s=1, clock=hands)
    with pytest.raises(CacheAway):
        breaker.call(fails)
    assert breaker.is_open
    with pytest.raises(CacheAway):
        breaker.call(lambda: pytest.fail("an open breaker lets nobody through"))
    hands.now = 1.1
    with pytest.raises(CacheAway):
        breaker.call(fails)
    with pytest.raises(CacheAway):
        breaker.call(lambda: pytest.fail("the probe failed a moment ago"))
    hands.now = 2.2
    assert breaker.call(lambda: "back") == "back"
    assert breaker.call(lambda: "closed") == "closed"
    assert not breaker.is_open


def test_an_error_that_is_not_the_connections_does_not_open_the_breaker():
    breaker = Breaker()

    def wrong_type() -> None:
        raise redis.ResponseError("WRONGTYPE")

    with pytest.raises(redis.ResponseError):
        breaker.call(wrong_type)
    assert not breaker.is_open


def test_a_redis_that_refuses_to_write_is_away(fresh_valkey):
    server = fresh_valkey()
    Cache(server.url).client.config_set("min-replicas-to-write", 1)
    script = "return redis.call('SET', KEYS[1], '1')"
    for work in (
        lambda r: r.set("key", "1"),
        lambda r: r.pipeline().lpush("list", "1").execute(),
        lambda r: r.pipeline(transaction=False).lpush("list", "1").execute(),
        lambda r: r.eval(script, 1, "key"),
    ):
        with pytest.raises(CacheAway):
            Cache(server.url).do(work)


def test_a_redis_that_hangs_costs_half_a_second_once(fresh_valkey):
    server = fresh_valkey()
    cache = Cache(server.url)
    assert cache.do(lambda r: r.set("key", "value"))
    os.kill(server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(CacheAway):
            cache.do(lambda r: r.get("key"))
        assert time.monotonic() - began < TIMEOUT_S * 20
        with pytest.raises(CacheAway):
            cache.do(lambda _: pytest.fail("it was asked again"))
    finally:
        os.kill(server.pid, signal.SIGCONT)

    def answers() -> bool:
        try:
            return cache.do(lambda r: r.get("key")) == "value"
        except CacheAway:
            return False

    wait_for(answers)


def test_an_answer_is_read_once_and_by_who_has_the_key(migrated):
    key = replies.new_key()
    assert replies.wait(key, timeout_s=0.05) is None
    replies.send(key, {"client_secret": "shown once"})
    assert replies.wait(key, timeout_s=1) == {"client_secret": "shown once"}
    assert replies.wait(key, timeout_s=0.05) is None


def test_a_wait_is_no_probe_of_a_redis_that_was_away(migrated):
    """It would hold a request for a second and a half, each time that a probe is due."""
    key = replies.new_key()
    replies.send(key, {"a": 1})
    breaker = shared().breaker
    with pytest.raises(CacheAway):
        breaker.call(fails)
    wait_for(lambda: not breaker.is_open)
    assert replies.wait(key, timeout_s=1) is None
    shared().do(lambda r: r.ping())
    assert replies.wait(key, timeout_s=1) == {"a": 1}


def test_an_answer_lives_half_a_minute(migrated):
    key = replies.new_key()
    replies.send(key, {"a": 1})
    assert 0 < shared().do(lambda r: r.ttl(replies.PREFIX + key)) <= replies.LIFE_S
