"""A stop signal that comes while a task is handed to the pool."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import SimpleNamespace

from worker.stopping import let_the_holder_in


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
    assert ended.wait(5)


def test_a_worker_of_processes_has_no_such_pool():
    pool = SimpleNamespace()
    let_the_holder_in(SimpleNamespace(pool=pool))
    assert vars(pool) == {}
