"""The whole system as a fixture: one a test process, shared by tests that leave it whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.invariants import judge
from tests.system import System


@pytest.fixture(scope="session")
def shared_system(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    # Much of the wire is met over HTTP alone.
    with System(folder, database_url=database_url, measured=["web"]) as running:
        yield running


@pytest.fixture
def system(shared_system: System) -> Iterator[System]:
    """The running system, with no faults at the stand-in for Stripe. Its book is kept.

    Whatever a test did, our rows and the provider's book must agree once all is quiet.
    """
    stripe = shared_system.stripe
    yield shared_system
    stripe.clear_faults()
    stripe.webhooks(is_paused=False, delay_ms=0, duplicates=0, drop=0, reorder=0)
    stripe.flush()
    judge(shared_system)
