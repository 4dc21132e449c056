"""Random histories: after quiet, everything holds. `make chaos` runs more of them."""

from __future__ import annotations

import os
import sys
import time
from itertools import count

import pytest

from tests.simulation.batch import run_batch
from tests.simulation.world import SETTINGS, World
from worker.gateways import gateway_for
from worker.settings import settings

CPU_S = 30
# Of this process; the servers take about as much again.
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
def test_after_any_history_everything_holds(world):
    if seed := os.environ.get("PAYBEAT_SEED"):
        sys.stdout.write("\n".join(run_batch(world, [int(seed)])) + "\n")
        return
    began, number = time.process_time(), 0
    for number in count(BATCH, BATCH):
        run_batch(world, range(number - BATCH, number))
        if number >= MOST or time.process_time() - began > CPU_S:
            break
    sys.stdout.write(f"\n{number} histories in {time.process_time() - began:.0f} s of CPU\n")
