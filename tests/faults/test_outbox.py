"""What is owed: rung again but not doubled, given up in the end, and never forgotten."""

from __future__ import annotations

import base64
import json
import pickle
import time
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from sqlalchemy import delete, func, select, update

from models.clock import now
from models.ids import new_id
from models.outbox import RETRIES, STARTS, Owed, OwedStatus, enqueue
from models.tenants import Role
from models.transactions import Status
from models.webhooks import PaymentWebhook, WebhookStatus
from tests.faults.events import send_event
from tests.faults.till import owed
from tests.invariants import judge
from worker.queues import SUBJECTS

BACKLOG = 500
# Far more than a busy machine's hesitation; tests let come due what is to come due.
BACKOFF_S = 60
ENVIRON = {"OUTBOX_BACKOFF_S": str(BACKOFF_S)}
LETTERS = "/api/v1/operations/dead-letters"
# An intent of somebody else's.
NOBODYS = {"id": "pi_nobody", "object": "payment_intent", "metadata": {}}


@pytest.fixture
def sweeper(system, till):
    """A worker that only sweeps, beside the one for everything, which is dead."""
    system.worker.kill()
    sweeper = system.parts.get("sweeper") or system.more("worker", "sweeper")
    sweeper.argv = ["outbox" if w == ",".join(SUBJECTS) else w for w in sweeper.argv]
    yield sweeper.start()
    if sweeper.is_running:
        sweeper.kill()


def owe_many(system, till) -> None:
    """Owe, and ring for, charges of payments that do not exist: each only ends its debt."""
    with system.session(till.company_id) as session:
        for _ in range(BACKLOG):
            enqueue(session, "payments.charge", transaction_id=new_id())
    till.ring(session.info["owed"])


def sweeps_of(part) -> int:
    return part.said.count("Task outbox.sweep") - part.said.count("received")


def wait_for_sweeps(system, part, number) -> None:
    before = sweeps_of(part)
    system.wait_until(lambda: sweeps_of(part) >= before + number)


def change_all(system, **values) -> None:
    with system.session() as session:
        session.execute(update(Owed).values(**values))


def test_a_backlog_is_not_doubled_by_the_sweeper(system, till, sweeper):
    owe_many(system, till)
    change_all(system, due_at=now() - timedelta(seconds=1))
    wait_for_sweeps(system, sweeper, 8)
    assert system.redis.llen("payments") == BACKLOG
    sweeper.kill()
    system.worker.start()
    judge(system)
    assert system.redis.llen("payments") == 0


def test_what_is_owed_is_sent_at_once_when_the_broker_lost_its_data(system, till, sweeper):
    owe_many(system, till)
    change_all(system, due_at=now() + timedelta(hours=1))
    wait_for_sweeps(system, sweeper, 2)
    assert system.redis.llen("payments") == BACKLOG
    system.redis.flushall()
    system.wait_until(lambda: system.redis.llen("payments") == BACKLOG)
    wait_for_sweeps(system, sweeper, 2)
    assert system.redis.llen("payments") == BACKLOG
    with system.session() as session:
        session.execute(delete(Owed).where(Owed.queue == "payments"))


def test_a_message_that_is_lost_alone_is_sent_again(system, till, sweeper):
    payment_id = till.pay()
    assert system.redis.delete("payments") == 1
    wait_for_sweeps(system, sweeper, 1)
    sweeper.kill()
    system.worker.start()
    till.wait_for(payment_id, "succeeded")
    judge(system)


def test_an_event_behind_a_long_backlog_is_published_too(system, till):
    system.worker.kill()
    with system.session(till.company_id) as session:
        for number in range(BACKLOG):
            event = {"type": "invoice.updated", "data": {"number": number}}
            till.enqueue(session, "events.publish", events=[event])
    # Only the newest is rung for; whoever publishes it takes the older ones along.
    till.ring(session.info["owed"][-1:])
    system.worker.start()
    judge(system)
    heard = [m["message"] for _, m in system.redis.xrange(f"events:{till.company_id}")]
    numbers = [json.loads(m)["data"]["number"] for m in heard if '"number":' in m]
    assert numbers == list(range(BACKLOG))


def row_of(system, event_id) -> PaymentWebhook:
    with system.session() as session:
        return session.scalars(
            select(PaymentWebhook).where(PaymentWebhook.provider_event_id == event_id)
        ).one()


def dead_letters(system) -> list[Owed]:
    return owed(system, OwedStatus.DEAD)


@pytest.fixture
def buried(system):
    """Takes the dead away with their events, so that the next test finds none."""
    yield
    with system.session() as session:
        session.execute(delete(Owed).where(Owed.status == OwedStatus.DEAD))
        session.execute(delete(PaymentWebhook).where(PaymentWebhook.status == WebhookStatus.FAILED))


def wait_for_failure(system, number) -> Owed:
    """Wait until what is owed has failed so often and waits to be sent again."""
    found: list[Owed] = []

    def waits() -> bool:
        found[:] = [row for row in owed(system) if row.failures == number and row.sent_at is None]
        return bool(found)

    system.wait_until(waits)
    return found[0]


def test_a_task_that_fails_waits_1_2_4_8_times_and_is_a_dead_letter_that_is_shown(
    system, till, buried
):
    payment_id = till.pay()
    till.wait_for(payment_id, "succeeded")
    judge(system)
    # Nothing of an intent but our own id: its handler cannot read it.
    event_id = send_event(
        system, "payment_intent.succeeded", {"metadata": {"transaction_id": str(payment_id)}}
    )
    for failures, times in ((1, 1), (2, 2), (3, 4), (4, 8)):
        row = wait_for_failure(system, failures)
        # From the failure on; `updated_at` is a little later.
        waits_s = (row.due_at - row.updated_at).total_seconds()
        assert times - 0.5 < waits_s / BACKOFF_S <= times
        change_all(system, due_at=now())
    system.wait_until(lambda: dead_letters(system))
    [dead] = dead_letters(system)
    assert dead.failures == RETRIES + 1
    assert "KeyError" in dead.error
    event = row_of(system, event_id)
    assert (event.status, event.retry_count) == (WebhookStatus.FAILED, RETRIES + 1)
    assert "KeyError" in event.error_message
    shown = requests.get(f"{system.web_url}/readyz", timeout=10).json()
    assert shown["backlog"]["webhooks"]["dead"] == 1
    assert till.payment(payment_id).status == Status.SUCCEEDED


def test_a_task_that_kills_its_worker_again_and_again_is_shown_and_replayed_after_the_fix(
    system, till, marks, buried
):
    mark = marks / "webhook.before"
    mark.touch()
    event_id = send_event(system, "payment_intent.succeeded", NOBODYS)
    deaths = 0
    while not dead_letters(system):
        if not system.worker.is_running:
            deaths += 1
            mark.touch()
            # Production waits 30 s, then ever longer.
            change_all(system, due_at=now())
            system.worker.start()
        assert deaths <= STARTS, "it is started for ever"
        time.sleep(0.05)
    mark.unlink()
    assert deaths == STARTS
    assert row_of(system, event_id).status == WebhookStatus.FAILED
    assert system.worker.is_running
    payment_id = till.pay()
    till.wait_for(payment_id, "succeeded")
    judge(system)
    # Whatever it was is mended by now: its mark is gone.
    operator = system.member(Role.OPERATOR)
    [letter] = operator.get(LETTERS).body["data"]
    assert letter["task"] == "webhooks.handle"
    assert f"its worker died {STARTS} times" in letter["error"]
    assert letter["concerns"] == {"event_id": str(row_of(system, event_id).id)}
    path = f"{LETTERS}/{letter['id']}/replay"
    [seen] = operator.post(path, {"dry_run": True}, prefer="wait=20").body["foreseen"]
    assert seen["error"] is None
    assert row_of(system, event_id).status == WebhookStatus.FAILED
    assert operator.post(path, {"note": "mended"}).body["replayed"] == [letter["id"]]
    system.wait_until(lambda: row_of(system, event_id).status == WebhookStatus.IGNORED)
    assert operator.get(LETTERS).body["data"] == []
    judge(system)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def test_a_pickle_is_refused_and_the_worker_lives_on(system, till, tmp_path):
    sprung = tmp_path / "sprung"
    headers = {"task": "payments.charge", "id": "1", "lang": "py", "root_id": "1"}
    message = {
        "body": base64.b64encode(pickle.dumps([[Trap(sprung)], {}, {}])).decode(),
        "content-encoding": "binary",
        "content-type": "application/x-python-serialize",
        "headers": headers,
        "properties": {
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "payments"},
            "delivery_mode": 2,
            "delivery_tag": "1",
            "priority": 0,
        },
    }
    pid = system.worker.pid
    system.redis.lpush("payments", json.dumps(message))
    system.wait_until(lambda: "ContentDisallowed" in system.worker.said)
    payment_id = till.pay()
    till.wait_for(payment_id, "succeeded")
    assert not sprung.exists()
    assert system.worker.pid == pid
    assert not system.redis.hexists("unacked", "1")
    judge(system)


def test_no_debt_is_left_when_all_is_done(system):
    with system.session() as session:
        assert session.scalar(select(func.count()).select_from(Owed)) == 0
