"""Random histories: after quiet, everything holds. `make chaos` runs more of them."""

from __future__ import annotations

import os
import sys
import time

import pytest

from tests.flows.paypal_till import forget_settings
from tests.simulation.batch import run_batch
from tests.simulation.world import World, environ_of

HALVES = (0, 1)
# One a test process, where there are two.
CPU_S = 15
# Of each; the servers take about as much again.
MOST_S = 120
# However slow the machine is.
MOST = 500
BATCH = 10


@pytest.fixture
def world(migrated, redis_url, own_sandbox, own_paypal, monkeypatch):
    for name, value in environ_of(own_sandbox, own_paypal).items():
        monkeypatch.setenv(name, value)
    forget_settings()
    made = World(own_sandbox, own_paypal, redis_url)
    with made.running():
        yield made
    made.clean()
    monkeypatch.undo()
    forget_settings()


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_after_any_history_everything_holds(world, half, record_property):
    if seed := os.environ.get("PAYBEAT_SEED"):
        sys.stdout.write("\n".join(run_batch(world, [int(seed)])) + "\n")
        return
    began, number, until = time.process_time(), 0, time.monotonic() + MOST_S
    for first in range(half * BATCH, MOST, len(HALVES) * BATCH):
        run_batch(world, range(first, first + BATCH))
        number += BATCH
        if time.process_time() - began > CPU_S or time.monotonic() > until:
            break
    took_s = time.process_time() - began
    record_property("told", f"{number} histories held, in {took_s:.0f} s of CPU")
