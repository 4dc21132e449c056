import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from pydantic import BaseModel

from models.ids import new_id
from tests.waiting import PATIENCE_S, wait_for
from worker import caching as module
from worker.cache import Cache
from worker.caching import Caching, get_or_fetch, invalidate
from worker.database import transaction


class Shape(BaseModel):
    name: str
    number: int = 0


class Source:
    """Something to fetch from; counts how often that is done."""

    def __init__(self, value: Shape | None = None) -> None:
        self.value = value
        self.fetches = 0

    def __call__(self) -> Shape | None:
        self.fetches += 1
        return self.value


# On a machine with ten other things to do nothing of ours may end by its time.
FOREVER_S = 600.0


@pytest.fixture(scope="module")
def cache(migrated, redis_url) -> Cache:
    return Cache(redis_url, timeout_s=60)


@pytest.fixture(autouse=True)
def mine(cache, monkeypatch) -> Caching:
    """The process's cached values, with more patience than it has."""
    made = Caching(lambda: cache, lease_s=FOREVER_S, patience_s=FOREVER_S)
    monkeypatch.setattr(module, "caching", lambda: made)
    return made


@pytest.fixture
def key() -> str:
    """A key of this test's own, in a scope of its own."""
    return f"test_{new_id().hex}:{new_id().hex}:value"


def scope_of(key: str) -> str:
    return key.rpartition(":")[0]


def read(key: str, fetch, **how) -> Shape | None:
    return get_or_fetch(key, life_s=60, kind=Shape, fetch=fetch, **how)


def test_a_value_is_fetched_once_and_read_from_then_on(key):
    source = Source(Shape(name="first", number=1))
    assert read(key, source) == read(key, source) == source.value
    assert source.fetches == 1


def test_that_there_is_nothing_is_remembered_for_a_moment(key, cache):
    source = Source(None)
    assert read(key, source, negative_life_s=30) is read(key, source, negative_life_s=30) is None
    assert source.fetches == 1
    assert 0 < cache.do(lambda r: r.ttl(key)) <= 30
    invalidate(key)
    assert read(key, source, negative_life_s=0) is read(key, source, negative_life_s=0) is None
    assert source.fetches == 3


def test_lives_are_shortened_at_random_and_never_lengthened(key, cache):
    for number in range(20):
        read(f"{key}{number}", Source(Shape(name="one")))
    lives = {cache.do(lambda r, n=n: r.pttl(f"{key}{n}")) for n in range(20)}
    assert len(lives) > 10
    assert max(lives) <= 60_000


def test_an_error_is_the_readers_and_the_next_one_fetches(key):
    def fails() -> Shape:
        raise LookupError("the source is away")

    with pytest.raises(LookupError):
        read(key, fails)
    source = Source(Shape(name="back"))
    assert read(key, source) == source.value
    assert source.fetches == 1


def test_a_value_of_another_schema_is_none(key):
    class Other(BaseModel):
        name: str

    read(key, Source(Shape(name="old", number=1)))
    source = Source(Shape(name="new"))
    assert get_or_fetch(key, life_s=60, kind=Other, fetch=lambda: Other(name="new")) == Other(
        name="new"
    )
    assert read(key, source) == source.value
    assert source.fetches == 1


def test_what_cannot_be_read_is_fetched_again(key, cache):
    source = Source(Shape(name="good"))
    read(key, source)
    written = cache.do(lambda r: r.get(key))
    cache.do(lambda r: r.set(key, written[: 1 + 2 * module._WORD] + '{"name": '))
    assert read(key, source) == source.value
    assert source.fetches == 2


def test_a_key_is_forgotten_and_a_pattern_takes_all_that_fit_it(key, cache):
    scope = scope_of(key)
    keys = [f"{scope}:{number}" for number in range(3)]
    source = Source(Shape(name="one"))
    for each in keys:
        read(each, source)
    invalidate(keys[0])
    assert cache.do(lambda r: r.exists(*keys)) == 2
    invalidate(f"{scope}:*")
    assert cache.do(lambda r: r.exists(*keys)) == 0
    for each in keys:
        read(each, source)
    assert source.fetches == 6


def test_a_pattern_is_found_among_many_keys(key, monkeypatch, cache):
    monkeypatch.setattr(module, "BATCH", 10)
    word = key.partition(":")[0]
    keys = [f"{word}:{number}:name" for number in range(60)]
    cache.do(lambda r: r.mset(dict.fromkeys([*keys, f"{word}:1:other"], "1")))
    invalidate(f"{word}:*:name")
    assert cache.do(lambda r: r.exists(*keys)) == 0
    assert cache.do(lambda r: r.unlink(f"{word}:1:other")) == 1


@pytest.mark.parametrize(
    "forget",
    [
        invalidate,
        lambda key: invalidate(f"{scope_of(key)}:*"),
        lambda key: invalidate(f"{key.partition(':')[0]}:*"),
        lambda key: module.caching().outdate([f"{scope_of(key)}:*"]),
    ],
    ids=["key", "scope", "pattern", "outdate"],
)
def test_a_fetch_from_before_an_invalidation_leaves_nothing(key, forget):
    """Nor does anybody who asks after it get what that fetch comes to."""
    source = Source(Shape(name="old"))

    def fetch() -> Shape:
        found = source()
        source.value = Shape(name="new")
        forget(key)
        with ThreadPoolExecutor() as other:
            assert other.submit(read, key, source).result() == Shape(name="new")
        return found

    assert read(key, fetch) == Shape(name="old")
    assert read(key, source) == Shape(name="new")
    assert source.fetches == 2


def test_a_commit_makes_stale_and_a_rollback_does_not(key):
    source = Source(Shape(name="old"))
    read(key, source)
    with suppress(LookupError), transaction() as session:
        module.invalidate_after_commit(session, f"{scope_of(key)}:*")
        raise LookupError
    read(key, source)
    assert source.fetches == 1
    with transaction() as session:
        module.invalidate_after_commit(session, f"{scope_of(key)}:*")
        read(key, source)
        assert source.fetches == 1
    read(key, source)
    assert source.fetches == 2


def test_a_holder_that_died_is_waited_for_no_longer_than_its_lease(key, cache):
    died = Caching(lambda: cache, lease_s=0.2)
    died._ask(key, module._shape_of(Shape).schema, "0" * module._WORD)
    source = Source(Shape(name="one"))
    assert read(key, source) == read(key, source) == source.value
    assert source.fetches == 1


def test_who_has_waited_long_enough_fetches_for_itself_and_stores_nothing(key, cache):
    hurried = Caching(lambda: cache, lease_s=FOREVER_S, patience_s=0.1)
    lease = hurried._ask(key, module._shape_of(Shape).schema, "0" * module._WORD)
    source = Source(Shape(name="one"))
    assert hurried.get_or_fetch(key, life_s=60, kind=Shape, fetch=source) == source.value
    assert cache.do(lambda r: r.get(key)) == lease


def test_with_redis_hung_or_away_values_are_fetched(fresh_valkey):
    server = fresh_valkey()
    cache = Cache(server.url, timeout_s=2)
    mine = Caching(lambda: cache)
    source = Source(Shape(name="one"))

    def ask() -> Shape | None:
        return mine.get_or_fetch("a:b:c", life_s=60, kind=Shape, fetch=source)

    assert ask() == ask() == source.value
    assert source.fetches == 1
    os.kill(server.pid, signal.SIGSTOP)
    try:
        for times in range(2, 5):
            assert ask() == source.value
            assert source.fetches == times
        mine.invalidate("a:b:*")
    finally:
        os.kill(server.pid, signal.SIGCONT)
    wait_for(lambda: not cache.breaker.is_open)
    cache.client.shutdown(nosave=True)
    for times in range(5, 8):
        assert ask() == source.value
        assert source.fetches == times


READERS = """
import json, os, sys, threading, time
from worker.cache import Cache
from worker.caching import Caching

url, key, processes, each = *sys.argv[1:3], *map(int, sys.argv[3:])

def read():
    cache = Cache(url, timeout_s=100, max_connections=1000)
    mine = Caching(lambda: cache, lease_s=600, patience_s=600)
    found, begun, lock = [], [], threading.Lock()

    def fetch():
        cache.do(lambda r: r.incr(f"{key}:fetches"))
        # Until all ask: whoever would fetch as well has begun to by then.
        while int(cache.do(lambda r: r.get(f"{key}:processes") or 0)) < processes:
            time.sleep(0.01)
        return {"name": "one"}

    def ask():
        with lock:
            begun.append(1)
            is_last = len(begun) == each
        if is_last:
            cache.do(lambda r: r.incr(f"{key}:processes"))
        found.append(mine.get_or_fetch(key, life_s=60, kind=dict[str, str], fetch=fetch))

    threads = [threading.Thread(target=ask) for _ in range(each)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found

# What is imported once serves all; nothing has been opened yet.
pipes = [os.pipe() for _ in range(processes)]
for _, out in pipes:
    if os.fork() == 0:
        os.write(out, json.dumps(read()).encode())
        os._exit(0)
    os.close(out)
print(json.dumps([json.loads(os.fdopen(told).read()) for told, _ in pipes]))
"""


def test_a_thousand_readers_in_three_processes_cause_one_fetch(key, cache, redis_url):
    reading = subprocess.Popen(
        [sys.executable, "-c", READERS, redis_url, key, "3", "334"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        told = json.loads(reading.communicate(timeout=PATIENCE_S)[0])
    finally:
        with suppress(ProcessLookupError):
            os.killpg(reading.pid, signal.SIGKILL)
    assert told == [[{"name": "one"}] * 334] * 3
    assert cache.do(lambda r: r.get(f"{key}:fetches")) == "1"


def test_those_who_wait_get_the_error_of_who_fetches(key, mine, monkeypatch):
    begun, waiting = threading.Event(), threading.Semaphore(0)
    await_other = mine._await

    def count(*asked):
        waiting.release()
        return await_other(*asked)

    monkeypatch.setattr(mine, "_await", count)

    def fails() -> Shape:
        if not begun.is_set():
            begun.set()
            for _ in range(3):
                assert waiting.acquire(timeout=PATIENCE_S)
        raise LookupError("the source is away")

    def ask() -> str:
        with pytest.raises(LookupError) as raised:
            read(key, fails)
        return str(raised.value)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(ask)
        assert begun.wait(PATIENCE_S)
        others = [pool.submit(ask) for _ in range(3)]
        assert {each.result() for each in (first, *others)} == {"the source is away"}
