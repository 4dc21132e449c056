"""A company and a sign-in may ask only so often."""

from __future__ import annotations

import pytest

from tests.web.probe import Probe
from tests.web.visitor import PASSWORD, Visitor, problem_of
from web.limits import Limits, limits
from web.problems import Problem
from worker.cache import Cache, CacheAway, shared

LOGIN = "/api/v1/auth/login"
ME = "/api/v1/auth/me"


def attempt(visitor, email, address="10.0.0.1"):
    body = {"email": email, "password": "wrong"}
    return visitor.send("POST", LOGIN, json=body, environ_base={"REMOTE_ADDR": address})


def test_a_company_that_asks_too_often_is_told_when_to_come_back(use, visitor, person):
    owner = visitor.sign_in(person.email)
    use(rate_limit="3 per minute")
    assert [owner.get(ME).status_code for _ in range(3)] == [200, 200, 200]
    answer = owner.get(ME)
    problem_of(answer, 429, "too-many-requests")
    assert 1 <= int(answer.headers["Retry-After"]) <= 61


def test_another_company_is_not_held_back(use, visitor, person, sign_in_as):
    owner = visitor.sign_in(person.email)
    other = sign_in_as("owner")
    use(rate_limit="1 per minute")
    owner.get(ME)
    problem_of(owner.get(ME), 429, "too-many-requests")
    assert other.get(ME).status_code == 200


def test_a_guesser_of_one_password_is_stopped_wherever_they_sit(use, visitor, person):
    use(login_rate_limit="3 per minute")
    for number in range(3):
        answer = attempt(visitor, person.email, f"10.1.0.{number}")
        problem_of(answer, 401, "wrong-credentials")
    answer = attempt(visitor, person.email.upper(), "10.1.0.9")
    problem_of(answer, 429, "too-many-requests")
    assert int(answer.headers["Retry-After"]) >= 1


def test_while_stopped_the_right_password_does_not_help(use, visitor, person):
    use(login_rate_limit="1 per minute")
    attempt(visitor, person.email, "10.2.0.1")
    body = {"email": person.email, "password": PASSWORD}
    answer = visitor.send("POST", LOGIN, json=body, environ_base={"REMOTE_ADDR": "10.2.0.2"})
    problem_of(answer, 429, "too-many-requests")


def test_an_address_that_tries_many_emails_is_stopped(use, visitor):
    use(login_rate_limit="3 per minute")
    for number in range(3):
        attempt(visitor, f"u{number}@example.com", "10.3.0.1")
    problem_of(attempt(visitor, "u9@example.com", "10.3.0.1"), 429, "too-many-requests")
    problem_of(attempt(visitor, "u8@example.com", "10.3.0.2"), 401, "wrong-credentials")


@pytest.mark.parametrize(("proxies", "told"), [("0", "10.4.0.1"), ("1", "192.0.2.7")])
def test_only_our_own_proxies_may_say_where_a_caller_sits(use, monkeypatch, proxies, told):
    use(trusted_proxies=proxies)
    seen = []
    monkeypatch.setattr(Limits, "hit", lambda _self, name, _rate, who: seen.append((name, who)))
    Visitor(Probe().app).send(
        "POST",
        LOGIN,
        json={"email": "a@example.com", "password": "x"},
        headers={"X-Forwarded-For": "198.51.100.9, 192.0.2.7"},
        environ_base={"REMOTE_ADDR": "10.4.0.1"},
    )
    assert ("address", told) in seen


def test_an_email_is_not_written_to_redis(use, visitor):
    attempt(visitor, "canary@example.com", "10.5.0.1")
    assert not shared().do(lambda redis: redis.keys("*canary*"))


def test_without_redis_each_process_counts_for_itself(use, fresh_valkey, monkeypatch):
    valkey = fresh_valkey()
    cache = Cache(valkey.url)
    monkeypatch.setattr("web.limits.shared", lambda: cache)
    counted = Limits()
    valkey.stop()
    for _ in range(2):
        counted.hit("company", "2 per minute", "one")
    with pytest.raises(Problem) as found:
        counted.hit("company", "2 per minute", "one")
    assert found.value.kind == "too-many-requests"


def test_the_counts_of_two_processes_are_one(use):
    first, second = limits(), Limits()
    for counted in (first, second):
        counted.hit("company", "2 per minute", "shared-by-two")
    with pytest.raises(Problem):
        second.hit("company", "2 per minute", "shared-by-two")


def test_a_cache_that_is_away_says_so(fresh_valkey):
    valkey = fresh_valkey()
    cache = Cache(valkey.url)
    assert cache.do(lambda redis: redis.ping())
    valkey.stop()
    with pytest.raises(CacheAway):
        cache.do(lambda redis: redis.ping())
