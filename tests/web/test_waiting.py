"""How long a request waits for its worker."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.waiting import PATIENCE_S
from tests.waiting import wait_for as come_about
from web.waiting import Preference, preference, seats, wait_for
from worker import replies
from worker.settings import settings

BEGUN = "/api/v1/probe/begun"


@pytest.mark.parametrize(
    ("header", "wait_s", "applied"),
    [
        (None, 5.0, None),
        ("wait=3", 3, "wait=3"),
        ("Wait = 3", 3, "wait=3"),
        ('wait="3"', 3, "wait=3"),
        ("wait=0", 0, "wait=0"),
        ("wait=100", 20, "wait=20"),
        ("wait=-1", 5.0, None),
        ("wait=x", 5.0, None),
        ("wait=1.5", 5.0, None),
        ("wait=٣", 5.0, None),
        ("respond-async", 0, "respond-async"),
        ("respond-async, wait=2", 2, "wait=2"),
        ("return=minimal; foo=1, wait=4", 4, "wait=4"),
        ("wait=4, wait=5", 4, "wait=4"),
        ("handling=lenient", 5.0, None),
    ],
)
def test_a_preference_is_read_as_the_rfc_wants(probe, header, wait_s, applied):
    headers = {} if header is None else {"Prefer": header.encode().decode("latin-1")}
    with probe.app.test_request_context("/", headers=headers):
        found = preference()
    assert (found.wait_s, found.applied) == (wait_s, applied)


def test_a_reply_that_comes_in_time_is_the_answer(owner):
    answer = owner.post(BEGUN, {"amount": 1}, Prefer="wait=3")
    assert answer.status_code == 200
    assert answer.json["secret"] == "first"
    assert answer.headers["Preference-Applied"] == "wait=3"


def test_who_does_not_want_to_wait_is_told_where_to_look(owner):
    answer = owner.post(BEGUN, {"amount": 1}, Prefer="respond-async")
    assert answer.status_code == 202
    assert answer.json["secret"] is None
    assert answer.headers["Location"].endswith(answer.json["id"])
    assert answer.headers["Preference-Applied"] == "respond-async"


def test_a_reply_that_does_not_come_is_waited_for_no_longer_than_wished(owner, monkeypatch):
    monkeypatch.setattr(replies, "send", lambda *_: None)
    began = time.monotonic()
    answer = owner.post(BEGUN, {"amount": 1}, Prefer="wait=1")
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert time.monotonic() - began > 0.9


def test_those_who_wait_leave_threads_to_those_who_need_not(use):
    use(web_threads="8")
    keys = [replies.new_key() for _ in range(9)]
    with ThreadPoolExecutor(9) as pool:
        waiting = {key: pool.submit(wait_for, key, Preference(PATIENCE_S)) for key in keys}
        come_about(lambda: sum(each.done() for each in waiting.values()) == 2)
        assert not seats().acquire(blocking=False)
        seated = [key for key, each in waiting.items() if not each.done()]
        for key in seated:
            replies.send(key, {"seat": key})
    told = [each.result() for each in waiting.values()]
    assert [each for each in told if each] == [{"seat": key} for key in seated]


def test_who_finds_no_seat_is_not_told_that_their_wish_was_met(use, owner):
    use(web_threads="1")
    assert seats().acquire(blocking=False)
    try:
        answer = owner.post(BEGUN, {"amount": 1}, Prefer="wait=3")
        at_once = owner.post(BEGUN, {"amount": 1}, Prefer="respond-async")
    finally:
        seats().release()
    assert (answer.status_code, answer.json["secret"]) == (202, None)
    assert "Preference-Applied" not in answer.headers
    assert at_once.headers["Preference-Applied"] == "respond-async"


def test_those_who_come_first_together_share_the_same_seats(use, often):
    with ThreadPoolExecutor(8) as pool:
        for threads in range(100, 130):
            use(web_threads=str(threads))
            settings()
            come: list[int] = []

            def take(number, come=come):
                come.append(number)
                # All of them are running; woken from a barrier they would come one by one.
                while len(come) < 8:
                    pass
                return seats()

            assert len(set(pool.map(take, range(8)))) == 1


@pytest.fixture
def often():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
