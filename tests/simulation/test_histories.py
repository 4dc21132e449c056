"""Random histories: after quiet, everything holds. `make chaos` runs more of them."""

from __future__ import annotations

import os
import sys
import time

import pytest

from tests.simulation.batch import run_batch
from tests.simulation.world import SETTINGS, World
from worker.gateways import gateway_for
from worker.settings import settings

HALVES = (0, 1)
# One a test process, where there are two.
CPU_S = 15
# Of each; the servers take about as much again.
MOST = 500
BATCH = 10


@pytest.fixture
def world(migrated, redis_url, own_sandbox, monkeypatch):
    for name, value in {**SETTINGS, "STRIPE_API_BASE": own_sandbox.url}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    gateway_for.cache_clear()
    made = World(own_sandbox.control, redis_url)
    with made.running():
        yield made
    made.clean()
    monkeypatch.undo()
    settings.cache_clear()
    gateway_for.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_after_any_history_everything_holds(world, half, record_property):
    if seed := os.environ.get("PAYBEAT_SEED"):
        sys.stdout.write("\n".join(run_batch(world, [int(seed)])) + "\n")
        return
    began, number = time.process_time(), 0
    for first in range(half * BATCH, MOST, len(HALVES) * BATCH):
        run_batch(world, range(first, first + BATCH))
        number += BATCH
        if time.process_time() - began > CPU_S:
            break
    took_s = time.process_time() - began
    record_property("told", f"{number} histories held, in {took_s:.0f} s of CPU")
