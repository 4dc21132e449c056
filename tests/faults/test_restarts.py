"""Deployments under load: each payment is charged once, whichever worker was told to go.

`make chaos` restarts twenty times.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from tests.faults.till import Till
from tests.invariants import judge

# A slow machine is no provider that does not answer.
ENVIRON = {"STRIPE_TIMEOUT_S": "30", "CLAIM_LEASE_S": "40"}
RESTARTS = int(os.environ.get("PAYBEAT_RESTARTS", "3"))
CALL_MS = 150
PAUSE_S = 0.1


@contextmanager
def customers_paying(till: Till) -> Iterator[list[UUID]]:
    """Let customers pay, a few a second, until the block ends."""
    payment_ids: list[UUID] = []
    is_over = threading.Event()

    def pay() -> None:
        while not is_over.wait(PAUSE_S):
            payment_ids.append(till.pay())

    paying = threading.Thread(target=pay)
    paying.start()
    try:
        yield payment_ids
    finally:
        is_over.set()
        paying.join()


def test_a_rolling_restart_under_load_loses_nothing_and_charges_nothing_twice(system, till):
    workers = [system.worker, system.more("worker", "second").start()]
    system.stripe.fault("slow", delay_ms=CALL_MS, path="/v1/payment_intents", count=None)
    with customers_paying(till) as payment_ids:
        for number in range(RESTARTS):
            leaving = workers[number % len(workers)]
            before = len(payment_ids)
            system.wait_until(lambda before=before: len(payment_ids) > before + 2)
            leaving.signal(signal.SIGTERM)
            leaving.wait_dead()
            leaving.start()
    for payment_id in payment_ids:
        till.wait_for(payment_id, "succeeded")
    system.stripe.clear_faults()
    judge(system)
    assert [len(system.stripe.charges(each)) for each in payment_ids] == [1] * len(payment_ids)
    # Each finished what it held: nothing had to be looked up.
    assert not [each for each in payment_ids if "unknown" in str(till.told(each))]
    workers[1].stop()
