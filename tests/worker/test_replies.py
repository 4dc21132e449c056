"""Answers to who waits, and what becomes of them while Redis is away."""

from __future__ import annotations

import time

import pytest

from models.ids import new_id
from worker import cache, replies
from worker.cache import Cache


@pytest.fixture
def redis(redis_url, monkeypatch):
    """The process's cache is the run's Redis."""
    return use(redis_url, monkeypatch)


@pytest.fixture
def stopped(fresh_valkey, monkeypatch):
    """The process's cache is a Redis that has been stopped."""
    server = fresh_valkey()
    use(server.url, monkeypatch)
    server.stop()


def use(url, monkeypatch):
    held = Cache(url)
    monkeypatch.setattr(replies, "shared", lambda: held)
    monkeypatch.setattr(replies, "_client", cache.connect(url, timeout_s=1.5))
    return held


def test_everybody_who_joined_is_told_and_one_of_them_has_to_ask(redis):
    subject = new_id()
    joined = [replies.join(subject) for _ in range(3)]
    assert [each.is_first for each in joined] == [True, False, False]
    replies.tell(subject, {"status": "succeeded"})
    told = [replies.wait(each.key, timeout_s=5) for each in joined]
    assert told == [{"status": "succeeded"}] * 3
    assert replies.join(subject).is_first


def test_an_answer_is_read_once(redis):
    key = replies.new_key()
    replies.tell(new_id(), {"secret": "once"}, key=key)
    assert replies.wait(key, timeout_s=5) == {"secret": "once"}
    assert replies.wait(key, timeout_s=0.1) is None


def test_an_answer_lives_half_a_minute(redis):
    key = replies.new_key()
    replies.send(key, {})
    assert 0 < redis.client.ttl(replies.PREFIX + key) <= replies.LIFE_S == 30


def test_while_redis_is_away_nobody_waits_and_each_asks_for_himself(stopped):
    began = time.monotonic()
    replies.send(replies.new_key(), {})
    replies.tell(new_id(), {}, key=replies.new_key())
    joined = [replies.join(new_id()) for _ in range(2)]
    assert [each.is_first for each in joined] == [True, True]
    assert replies.wait(joined[0].key, timeout_s=20) is None
    assert time.monotonic() - began < 10
