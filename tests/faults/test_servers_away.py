"""Redis stopped, hung and flushed, MySQL stopped, while payments and webhooks come in."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from uuid import UUID, uuid4

import pytest
import requests
from sqlalchemy import select

from models.outbox import OwedStatus
from models.webhooks import PaymentWebhook, WebhookStatus
from tests.client import Client
from tests.faults.conftest import HASTY
from tests.faults.events import post_event
from tests.faults.till import Till, owed
from tests.invariants import judge
from tests.system import System
from tests.waiting import PATIENCE_S, wait_for
from tests.web.api.shop import INTENTS

CALLERS = 8
INVOICES = 40
ACCEPTED = (200, 201, 202)
# What an answer may take longer while Redis hangs: a person notices.
LONGER_S = 2.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system with a MariaDB and a Valkey of its own, that may be stopped."""
    environ = {**HASTY, "WAIT_S": "1"}
    with System(tmp_path_factory.mktemp("system"), environ=environ) as running:
        yield running
        running.worker.kill()


@pytest.fixture(autouse=True)
def same_worker(system: System) -> Iterator[None]:
    """Nobody starts the worker again: it lives through everything by itself."""
    pid = system.worker.pid
    yield
    assert system.worker.is_running
    assert system.worker.pid == pid
    assert "Unrecoverable error" not in system.worker.said


@dataclass(frozen=True)
class Reply:
    kind: str
    status: int
    began: float
    took_s: float
    retry_after: str | None


class Load:
    """Callers that pay invoices and tell of events, over HTTP; every answer is kept.

    What was answered 503 is sent again with the same key or event id, as clients do.
    """

    def __init__(self, till: Till, owner: Client) -> None:
        self.till = till
        self.owner = owner
        self.replies: list[Reply] = []
        self.payments: set[UUID] = set()
        self.events: list[str] = []
        self._invoices = [till.invoice() for _ in range(INVOICES)]
        self._lock = threading.Lock()

    def __enter__(self):
        self._pool = ThreadPoolExecutor(CALLERS)
        self._callers = [self._pool.submit(self._call) for _ in range(CALLERS)]
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._invoices.clear()
        for caller in self._callers:
            caller.result(PATIENCE_S)
        self._pool.shutdown()

    def wait_for_more(self, number: int) -> None:
        """Wait for so many more answers, or until all is paid."""
        before = len(self.replies)
        wait_for(lambda: len(self.replies) >= before + number or not self._invoices)

    def since(self, began: float) -> list[Reply]:
        return [reply for reply in self.replies if reply.began >= began]

    def _call(self) -> None:
        while self._invoices:
            with self._lock:
                invoice_id = self._invoices.pop()
            self._insist("pay", self._pay(invoice_id))
            event_id = f"evt_{uuid4().hex}"
            self._insist("tell", lambda event_id=event_id: post_event(self.till.system, event_id))
            self.events.append(event_id)

    def _pay(self, invoice_id: UUID) -> Callable[[], requests.Response]:
        key = str(uuid4())
        body = {
            "invoice_id": str(invoice_id),
            "amount": "100.00",
            "payment_method_id": str(self.till.method_id),
        }
        headers = {"Authorization": f"Bearer {self.owner.token}", "Idempotency-Key": key}
        url = self.till.system.web_url + INTENTS
        return lambda: requests.post(url, json=body, headers=headers, timeout=30)

    def _insist(self, kind: str, send: Callable[[], requests.Response]) -> None:
        while True:
            began = time.monotonic()
            answer = send()
            took_s = time.monotonic() - began
            after = answer.headers.get("Retry-After")
            self.replies.append(Reply(kind, answer.status_code, began, took_s, after))
            if answer.status_code in ACCEPTED:
                if kind == "pay":
                    self.payments.add(UUID(answer.json()["transaction_id"]))
                return
            assert answer.status_code == 503, answer.text
            time.sleep(0.1)


@pytest.fixture
def till(system: System) -> Till:
    return Till(system)


@pytest.fixture
def load(till: Till) -> Load:
    return Load(till, till.system.member(company_id=till.company_id))


def all_is_done(load: Load) -> None:
    """Every payment that was taken is paid, every event handled, nothing twice."""
    system = load.till.system
    judge(system)
    assert len(load.payments) == INVOICES
    assert {load.till.payment(each).status for each in load.payments} == {"succeeded"}
    with system.session() as session:
        found = session.execute(
            select(PaymentWebhook.provider_event_id, PaymentWebhook.status).where(
                PaymentWebhook.provider_event_id.in_(load.events)
            )
        ).all()
    assert sorted(event_id for event_id, _ in found) == sorted(load.events)
    assert {status for _, status in found} == {WebhookStatus.IGNORED}
    assert not owed(system, OwedStatus.DEAD)


def usual_s(replies: list[Reply]) -> float:
    return median(reply.took_s for reply in replies)


def test_with_redis_hung_all_is_accepted_about_as_soon_and_done_later(system, load):
    with load:
        load.wait_for_more(20)
        before = list(load.replies)
        began = time.monotonic()
        os.kill(system.valkey.pid, signal.SIGSTOP)
        try:
            load.wait_for_more(40)
        finally:
            os.kill(system.valkey.pid, signal.SIGCONT)
        hung = load.since(began)
    assert {reply.status for reply in load.replies} <= set(ACCEPTED)
    assert usual_s(hung) < usual_s(before) + LONGER_S
    all_is_done(load)


def test_with_redis_stopped_all_is_accepted_and_done_later(system, load):
    with load:
        load.wait_for_more(20)
        system.valkey.stop()
        load.wait_for_more(40)
        system.valkey.start()
    assert {reply.status for reply in load.replies} <= set(ACCEPTED)
    all_is_done(load)


def test_with_redis_flushed_again_and_again_all_is_done(system, load):
    with load:
        for _ in range(5):
            load.wait_for_more(15)
            system.redis.flushall()
    assert {reply.status for reply in load.replies} <= set(ACCEPTED)
    all_is_done(load)


def test_with_mysql_stopped_nothing_is_accepted_and_all_goes_on_after(system, load):
    with load:
        load.wait_for_more(20)
        system.mariadb.stop()
        began = time.monotonic()
        load.wait_for_more(30)
        told = post_event(system, "evt_while_mysql_is_away")
        ended = time.monotonic()
        system.mariadb.start()
    away = [r for r in load.replies if began <= r.began and r.began + r.took_s <= ended]
    assert len(away) >= 20
    assert {reply.status for reply in away} == {503}
    assert told.status_code == 503
    assert told.headers["Retry-After"]
    assert all(reply.retry_after for reply in load.replies if reply.status == 503)
    all_is_done(load)
