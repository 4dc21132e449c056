"""A session lives as long as its row says, whatever Redis remembers."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest
from sqlalchemy import update

from models import clock
from models.clock import now
from models.tenants import GRANTS, Role, User, UserSession
from tests.factories import make_company
from worker import sessions
from worker.cache import Cache, shared
from worker.database import transaction


@pytest.fixture
def signed_in(database):
    """A user and a session of theirs."""
    customer = make_company()
    with transaction() as session:
        started = sessions.start(session, session.get_one(User, customer.user_id))
    return customer.user_id, started.id


@pytest.fixture
def redis(database):
    return shared().client


@pytest.fixture
def without_redis(fresh_valkey, monkeypatch):
    """Let sessions meet a Redis of its own that a test may stop."""
    valkey = fresh_valkey()
    cache = Cache(valkey.url)
    monkeypatch.setattr(sessions, "shared", lambda: cache)
    return valkey


def alive(signed_in):
    user_id, session_id = signed_in
    return sessions.verify(session_id, user_id)


def age(redis, session_id, seconds):
    """Make the entry in Redis older than it is."""
    key = f"session:{session_id}"
    entry = orjson.loads(redis.get(key))
    entry["verified_at"] -= seconds
    redis.set(key, orjson.dumps(entry), keepttl=True)


def end_the_row(session_id):
    """End a session as another process does whose deletion Redis lost."""
    with transaction() as session:
        session.execute(
            update(UserSession).where(UserSession.id == session_id).values(ended_at=clock.now())
        )


def test_a_session_is_remembered_for_24_hours(redis, signed_in):
    assert alive(signed_in).role is Role.OWNER
    assert 86_390 <= redis.ttl(f"session:{signed_in[1]}") <= 86_400


def test_permissions_are_remembered_for_30_minutes_and_dropped_on_change(redis, signed_in):
    key = f"permissions:{signed_in[0]}"
    assert alive(signed_in).permissions == GRANTS[Role.OWNER]
    assert 1790 <= redis.ttl(key) <= 1800
    sessions.change_user(signed_in[0], role=Role.MEMBER)
    assert not redis.exists(key)


def test_remembered_permissions_of_another_role_or_release_are_not_used(redis, signed_in):
    alive(signed_in)
    key = f"permissions:{signed_in[0]}"
    kept = orjson.loads(redis.get(key))
    for of in ("operator@" + kept["of"].partition("@")[2], "owner@another"):
        redis.set(key, orjson.dumps({"of": of, "permissions": ["operations"]}))
        assert alive(signed_in).permissions == GRANTS[Role.OWNER]


def test_for_some_seconds_the_row_is_not_asked(redis, signed_in):
    alive(signed_in)
    end_the_row(signed_in[1])
    assert alive(signed_in)


def test_a_logout_drops_what_is_remembered(redis, signed_in):
    alive(signed_in)
    sessions.end(signed_in[1])
    assert not redis.exists(f"session:{signed_in[1]}")
    assert alive(signed_in) is None


def test_a_logout_whose_deletion_redis_lost_holds_within_5_s(redis, signed_in):
    alive(signed_in)
    end_the_row(signed_in[1])
    age(redis, signed_in[1], sessions.FRESH_S)
    assert sessions.FRESH_S < 5
    assert alive(signed_in) is None
    assert not redis.exists(f"session:{signed_in[1]}")


def test_an_entry_from_the_future_is_not_believed(redis, signed_in):
    alive(signed_in)
    end_the_row(signed_in[1])
    age(redis, signed_in[1], -3600)
    assert alive(signed_in) is None


@pytest.mark.parametrize("change", [{"role": Role.MEMBER}, {"is_active": False}])
def test_another_role_or_a_deactivation_holds_within_5_s(redis, signed_in, change):
    alive(signed_in)
    with transaction() as session:
        session.execute(update(User).where(User.id == signed_in[0]).values(**change))
    age(redis, signed_in[1], sessions.FRESH_S)
    found = alive(signed_in)
    if "role" in change:
        assert found.permissions == GRANTS[Role.MEMBER]
    else:
        assert found is None


def test_a_restored_entry_does_not_revive_a_session(redis, signed_in):
    alive(signed_in)
    copy = redis.get(f"session:{signed_in[1]}")
    sessions.end(signed_in[1])
    redis.set(f"session:{signed_in[1]}", copy)
    age(redis, signed_in[1], sessions.FRESH_S)
    assert alive(signed_in) is None


def test_a_slow_reader_does_not_make_an_ended_session_fresh(redis, signed_in, monkeypatch):
    real = sessions._remember

    def slow(key, value, *, life_s):
        # Between its read of the row and its write to Redis the session ends elsewhere.
        if key.startswith("session:"):
            sessions.end(signed_in[1])
            value = {**value, "verified_at": value["verified_at"] - sessions.FRESH_S}
        real(key, value, life_s=life_s)

    monkeypatch.setattr(sessions, "_remember", slow)
    alive(signed_in)
    monkeypatch.undo()
    assert alive(signed_in) is None


def test_the_time_of_an_entry_is_taken_before_the_row_is_read(signed_in, monkeypatch):
    began = now()
    real = sessions.transaction

    def late(*args, **kwargs):
        monkeypatch.setattr(sessions, "now", lambda: began + timedelta(seconds=100))
        return real(*args, **kwargs)

    monkeypatch.setattr(sessions, "transaction", late)
    entry = sessions._read(signed_in[1])
    assert entry["verified_at"] < (began + timedelta(seconds=100)).timestamp()


def test_a_flush_signs_nobody_out_and_brings_nobody_back(redis, signed_in):
    alive(signed_in)
    redis.flushdb()
    assert alive(signed_in)
    sessions.end(signed_in[1])
    redis.flushdb()
    assert alive(signed_in) is None


def test_with_redis_away_the_row_decides(without_redis, signed_in):
    assert alive(signed_in)
    without_redis.stop()
    assert alive(signed_in).permissions == GRANTS[Role.OWNER]
    sessions.end(signed_in[1])
    assert alive(signed_in) is None


def test_a_full_redis_is_as_good_as_away(without_redis, signed_in):
    redis = sessions.shared().client
    redis.config_set("maxmemory", "1")
    for _ in range(2):
        assert alive(signed_in)
    assert not redis.exists(f"session:{signed_in[1]}")
    sessions.end(signed_in[1])
    assert alive(signed_in) is None


def test_an_expired_session_is_over(redis, signed_in, monkeypatch):
    alive(signed_in)
    monkeypatch.setattr(clock, "_offset", lambda: timedelta(hours=24, seconds=1))
    assert alive(signed_in) is None
    redis.flushdb()
    assert alive(signed_in) is None


def test_a_session_is_its_users_only(signed_in):
    other = make_company()
    assert sessions.verify(signed_in[1], other.user_id) is None
    assert alive(signed_in)
    assert sessions.verify(signed_in[1], other.user_id) is None


def test_ending_twice_changes_nothing(signed_in):
    sessions.end(signed_in[1])
    with transaction() as session:
        first = session.get_one(UserSession, signed_in[1]).ended_at
    sessions.end(signed_in[1])
    with transaction() as session:
        assert session.get_one(UserSession, signed_in[1]).ended_at == first


@pytest.mark.parametrize("batch", [500, 1])
def test_of_many_sessions_those_that_live_are_told_with_the_role_of_now(
    database, monkeypatch, batch
):
    monkeypatch.setattr(sessions, "BATCH", batch)
    ids = []
    for _ in range(5):
        customer = make_company()
        with transaction() as session:
            started = sessions.start(session, session.get_one(User, customer.user_id))
        ids.append((started.id, customer.user_id))
    (alive, _), (out, _), (closed, owner), (over, _), (other, demoted) = ids
    sessions.end(out)
    sessions.change_user(owner, is_active=False)
    sessions.change_user(demoted, role=Role.MEMBER)
    with transaction() as session:
        session.execute(update(UserSession).where(UserSession.id == over).values(expires_at=now()))
    assert sessions.living([each for each, _ in ids]) == {alive: Role.OWNER, other: Role.MEMBER}
    assert closed not in sessions.living([closed])
    assert sessions.living([]) == {}
