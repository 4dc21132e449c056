"""Several web processes, and a Redis that is flushed, stopped or hung between their requests."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from statistics import median

import pytest
from sqlalchemy import select

from models.invoices import Invoice
from sandbox.children import LOOPBACK, free_port
from tests.client import Client
from tests.system import BIN, PASSWORD, Part, System
from tests.waiting import wait_for

ME = "/api/v1/auth/me"
THINGS = "/api/v1/probe/things"
# As a rule: the first at each process finds out that Redis hangs.
ANSWERS_WITHIN_S = 2.0


@pytest.fixture(scope="module")
def system(tmp_path_factory, database_url) -> Iterator[System]:
    """Two gunicorns of the probe's application on one database and one Valkey."""
    folder = tmp_path_factory.mktemp("processes")
    with System(folder, database_url=database_url, parts=[]) as running:
        urls = []
        for name in ("one", "two"):
            port = str(free_port())
            urls.append(f"http://{LOOPBACK}:{port}")
            running.parts[name] = Part(
                name,
                [BIN / "gunicorn", "tests.web.probe:create_probe()", "-c", "web/gunicorn.py"],
                {
                    **running.environ,
                    "PORT": port,
                    "METRICS_ENABLED": "true",
                    "METRICS_DIR": str(folder / "metrics"),
                },
                log=folder / f"{name}.log",
                is_ready=lambda _, url=urls[-1]: running._is_answering(f"{url}/readyz"),
            ).launch()
        for name in ("one", "two"):
            running.parts[name].wait_ready()
        running.web_url, running.other_url = urls
        yield running


def at(url: str, client: Client) -> Client:
    """The same token at another process."""
    other = Client(url, client.token)
    other.user = client.user
    return other


def signed_in(system: System) -> tuple[Client, Client]:
    """One user as each process meets them; both processes have seen the session."""
    here = system.member()
    there = at(system.other_url, here)
    assert here.get(ME).status == there.get(ME).status == 200
    return here, there


def nothing(_system: System) -> None:
    """Leave Redis alone."""


def flush(system: System) -> None:
    system.redis.flushall()


def revive(system: System) -> None:
    """Write every session back as it was before it ended, as a failover to a stale replica does."""
    for key, value in REMEMBERED.items():
        system.redis.set(key, value)


REMEMBERED: dict[str, str] = {}


@pytest.mark.parametrize("meanwhile", [nothing, flush, revive])
def test_a_logout_holds_at_the_other_process(system, meanwhile):
    here, there = signed_in(system)
    keys = system.redis.keys("session:*")
    REMEMBERED.update(zip(keys, system.redis.mget(keys), strict=True))
    assert here.post("/api/v1/auth/logout").status == 204
    meanwhile(system)
    wait_for(lambda: there.get(ME).status == 401)
    assert here.get(ME).status == 401


def test_a_new_password_holds_at_the_other_process(system):
    here, there = signed_in(system)
    change = {"current_password": PASSWORD, "new_password": "another battery altogether"}
    assert here.post("/api/v1/auth/password", change).status == 204
    wait_for(lambda: there.get(ME).status == 401)


def test_a_flush_signs_nobody_out(system):
    here, there = signed_in(system)
    system.redis.flushall()
    assert here.get(ME).status == there.get(ME).status == 200


def test_fifty_at_once_over_two_processes_make_one(system):
    here, there = signed_in(system)
    answers = []
    start = threading.Barrier(50)

    def ask(client: Client) -> None:
        start.wait()
        answers.append(client.post(THINGS, {"amount": "7.00"}, key="at once"))

    threads = [threading.Thread(target=ask, args=[who]) for who in (here, there) for _ in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    with system.session(here.company_id) as session:
        assert len(session.scalars(select(Invoice)).all()) == 1


@pytest.fixture
def hung(system) -> Iterator[None]:
    """Redis neither answers nor refuses."""
    os.kill(system.valkey.pid, signal.SIGSTOP)
    yield
    os.kill(system.valkey.pid, signal.SIGCONT)
    # Let the breakers find out.
    wait_for(lambda: Client(system.web_url).get("/readyz").body["status"] == "ok")
    wait_for(lambda: Client(system.other_url).get("/readyz").body["status"] == "ok")


def test_with_redis_hung_requests_are_answered_and_sessions_end(system, hung):
    email_and_company = system.member  # signing in works too
    took = []

    def timed(ask):
        began = time.monotonic()
        answer = ask()
        took.append(time.monotonic() - began)
        return answer

    here = timed(email_and_company)
    there = at(system.other_url, here)
    for _ in range(10):
        assert timed(lambda: here.get(ME)).status == 200
        assert timed(lambda: there.post(THINGS, {"amount": 1})).status == 201
    assert timed(lambda: here.post("/api/v1/auth/logout")).status == 204
    assert timed(lambda: there.get(ME)).status == 401
    assert median(took) < ANSWERS_WITHIN_S
    ready = Client(system.web_url).get("/readyz")
    assert (ready.status, ready.body["status"]) == (200, "degraded")


def test_with_redis_stopped_requests_are_answered(tmp_path, system):
    here, there = signed_in(system)
    system.valkey.stop()
    try:
        for client in (here, there):
            assert client.get(ME).status == 200
            assert client.post(THINGS, {"amount": 1}).status == 201
        assert here.post("/api/v1/auth/logout").status == 204
        assert there.get(ME).status == 401
    finally:
        system.valkey.start()
    wait_for(lambda: there.get("/readyz").body["status"] == "ok")
    assert there.get(ME).status == 401


def test_metrics_count_the_requests_of_all_processes(system):
    before = counted(system)
    for url in (system.web_url, system.other_url):
        assert Client(url).get("/healthz").status == 200
    assert counted(system) >= before + 2


def counted(system: System) -> float:
    lines = Client(system.web_url).get("/metrics").text.splitlines()
    name = 'paybeat_http_requests_total{method="GET",status="200"}'
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
