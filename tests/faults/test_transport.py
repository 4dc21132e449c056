"""Workers that are killed, stopped and cut off lose no message."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import gethostname

import orjson
import pytest
import redis

from models.ids import new_id
from tests.faults.marking_app import QUEUES
from tests.system import BIN, ROOT, Part
from tests.waiting import PATIENCE_S, wait_for
from worker import dispatch

KILLS = 4
HASTY = {"VISIBLE_AFTER_S": "4"}
MESSAGES = 1500


class Marks:
    """A Valkey, its workers, and what their tasks left in it."""

    def __init__(self, url: str, folder: Path, opened: ExitStack) -> None:
        self.url = url
        self.client = opened.enter_context(redis.Redis.from_url(url, decode_responses=True))
        self._folder = folder
        self._opened = opened

    def worker(self, name: str = "one", **environ: str) -> Part:
        command: list[str | Path] = [BIN / "celery", "-A", "tests.faults.marking_app", "worker"]
        flags = f"-P threads -c 8 -E -Q {','.join(QUEUES)} -n {name}@%h"
        part = Part(
            name,
            [*command, *flags.split(), "--without-mingle", "--without-gossip"],
            {**os.environ, "BROKER_URL": self.url, "REMAP_SIGTERM": "SIGQUIT", **environ},
            log=self._folder / f"{name}.log",
            is_ready=lambda _: self.numsub() >= 1,
        )
        self._opened.callback(part.stop)
        return part

    def numsub(self) -> int:
        """How many listen to remote control, so are up."""
        return self.client.pubsub_numpat()

    def send(self, task: str, *several: dict, queue: str = "one") -> None:
        for arguments in several:
            raw = dispatch.message(new_id(), task, queue)
            self.client.lpush(queue, with_arguments(raw, arguments))

    def marked(self) -> list[int]:
        return [int(each) for each in self.client.lrange("marks", 0, -1)]

    def left(self) -> int:
        return sum(map(self.client.llen, QUEUES)) + self.client.hlen("unacked")


def with_arguments(raw: bytes, arguments: dict) -> bytes:
    """Give a ready-made message other arguments than a debt's id."""
    message = orjson.loads(raw)
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    message["body"] = base64.b64encode(orjson.dumps([[], arguments, embed])).decode()
    return orjson.dumps(message)


@pytest.fixture
def marks(fresh_valkey, tmp_path) -> Iterator[Marks]:
    with ExitStack() as opened:
        yield Marks(fresh_valkey().url, tmp_path, opened)


def send_many(marks: Marks, number: int) -> None:
    for at in range(number):
        marks.send("mark", {"number": at, "wait_s": 0.005}, queue=QUEUES[at % len(QUEUES)])


def test_workers_killed_at_any_moment_lose_no_message(marks):
    send_many(marks, MESSAGES)
    worker = marks.worker(**HASTY)
    for _ in range(KILLS):
        done = len(marks.marked())
        worker.launch()
        wait_for(lambda done=done: len(marks.marked()) > done + 20)
        worker.kill()
    assert marks.left() > 0
    worker.launch()
    wait_for(lambda: marks.left() == 0)
    times = Counter(marks.marked())
    assert set(times) == set(range(MESSAGES))
    # Again runs only what was held by one that was killed: running, or done and not told yet.
    assert times.total() - MESSAGES <= KILLS * 2 * 8
    assert marks.client.zcard("unacked_index") == 0


def test_what_a_killed_worker_held_comes_again_and_says_so(marks):
    marks.send("mark_redelivered", {})
    worker = marks.worker(**HASTY).launch()
    wait_for(lambda: marks.marked() == [0])
    worker.kill()
    worker.launch()
    wait_for(lambda: marks.marked() == [0, 1])
    wait_for(lambda: marks.left() == 0)


def test_a_worker_told_to_go_finishes_gives_back_and_leaves_nothing_unacknowledged(marks):
    marks.send("mark", *[{"number": n, "wait_s": 0.1, "times": 5} for n in range(8)])
    marks.send("mark", *[{"number": n, "wait_s": 0.1, "times": 5} for n in range(8, 20)])
    worker = marks.worker().start()
    wait_for(lambda: marks.client.get("started") == "8")
    worker.stop()
    done = marks.marked()
    assert set(range(8)) <= set(done)
    assert marks.client.hlen("unacked") == 0
    assert sum(map(marks.client.llen, QUEUES)) == 20 - len(done)
    worker.launch()
    wait_for(lambda: marks.left() == 0)
    assert sorted(marks.marked()) == list(range(20))


@pytest.mark.parametrize(
    ("refuse", "accept"),
    [
        (
            lambda client: client.config_set("min-replicas-to-write", 1),
            lambda client: client.config_set("min-replicas-to-write", 0),
        ),
        (
            lambda client: client.replicaof("127.0.0.1", "1"),
            lambda client: client.replicaof("NO", "ONE"),
        ),
    ],
    ids=["without replicas", "read-only"],
)
def test_a_worker_lives_through_a_redis_that_refuses_to_write(marks, refuse, accept):
    worker = marks.worker().start()
    pid = worker.pid
    marks.send("mark", {"number": 1})
    wait_for(lambda: marks.marked() == [1])
    refuse(marks.client)
    wait_for(lambda: "Connection to broker lost" in worker.said)
    accept(marks.client)
    marks.send("mark", {"number": 2})
    wait_for(lambda: marks.marked() == [1, 2])
    assert worker.pid == pid
    assert worker.is_running
    assert "Unrecoverable error" not in worker.said


def test_a_worker_whose_connections_are_cut_goes_on_at_once(marks):
    worker = marks.worker().start()
    for number in range(5):
        marks.send("mark", {"number": number})
        wait_for(lambda number=number: number in marks.marked())
        for each in marks.client.client_list():
            if each["cmd"] != "client|list":
                marks.client.client_kill_filter(_id=each["id"])
    assert marks.marked() == list(range(5))
    assert "Unrecoverable error" not in worker.said


def test_a_flush_leaves_the_worker_at_work(marks):
    worker = marks.worker().start()
    for number in range(3):
        marks.client.flushall()
        marks.client.script_flush()
        marks.send("mark", {"number": number}, queue=QUEUES[number])
        wait_for(lambda number=number: marks.marked() == [number])
    assert "Connection to broker lost" not in worker.said


def test_workers_answer_remote_control(marks):
    worker = marks.worker().start()
    command = [BIN / "celery", "-q", "-A", "tests.faults.marking_app", "inspect", "--json"]
    asked = subprocess.run(
        [*command, "-d", f"{worker.name}@{gethostname()}", "-t", str(PATIENCE_S), "active_queues"],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "BROKER_URL": marks.url},
    )
    [queues] = json.loads(asked.stdout).values()
    assert {queue["name"] for queue in queues} == set(QUEUES)
    assert marks.client.hlen("unacked") == 0


def test_a_full_worker_wakes_for_the_next_message_as_soon_as_a_thread_is_free(marks):
    marks.send("mark", *[{"number": n, "wait_s": 0.05} for n in range(80)])
    worker = marks.worker().launch()
    wait_for(lambda: marks.left() == 0)
    assert sorted(marks.marked()) == list(range(80))
    worker.signal(signal.SIGTERM)
    worker.wait_dead()
