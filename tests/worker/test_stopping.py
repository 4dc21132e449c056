"""A worker that is told to stop: when nothing runs any more, and while a task is handed over."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import SimpleNamespace

from tests.waiting import PATIENCE_S
from worker.stopping import end_with_the_work, let_the_holder_in


def test_a_pool_that_is_stopped_while_it_is_handed_a_task_ends():
    executor = ThreadPoolExecutor(1)
    let_the_holder_in(SimpleNamespace(pool=SimpleNamespace(executor=executor)))
    ended = threading.Event()

    class Interrupted(SimpleQueue):
        """As the signal's handler does it: in the thread that is within `submit`."""

        def put(self, item, *how) -> None:
            if not executor._shutdown:
                executor.shutdown(wait=False, cancel_futures=True)
            super().put(item, *how)

    executor._work_queue = Interrupted()

    def hand_over() -> None:
        executor.submit(int)
        ended.set()

    # A daemon, for without the preparation it never ends, and keeps a lock of all pools with it.
    threading.Thread(target=hand_over, daemon=True).start()
    assert ended.wait(PATIENCE_S)


def prepared(monkeypatch, running, timeout_s):
    """A worker as Celery's consumer knows it."""
    monkeypatch.setattr("worker.stopping.state.active_requests", running)
    conf = SimpleNamespace(worker_soft_shutdown_timeout=timeout_s)
    controller = SimpleNamespace(app=SimpleNamespace(conf=conf))
    end_with_the_work(SimpleNamespace(controller=controller))
    return controller


def test_a_worker_waits_for_what_runs_and_no_longer(monkeypatch):
    running = {"a task"}
    worker = prepared(monkeypatch, running, timeout_s=30)
    threading.Timer(0.2, running.clear).start()
    began = time.monotonic()
    worker.wait_for_soft_shutdown()
    assert 0.2 <= time.monotonic() - began < 10


def test_a_worker_waits_no_longer_than_it_may(monkeypatch):
    worker = prepared(monkeypatch, {"a task"}, timeout_s=0.2)
    began = time.monotonic()
    worker.wait_for_soft_shutdown()
    assert 0.2 <= time.monotonic() - began < 10


def test_a_worker_of_processes_has_no_such_pool():
    pool = SimpleNamespace()
    let_the_holder_in(SimpleNamespace(pool=pool))
    assert vars(pool) == {}
