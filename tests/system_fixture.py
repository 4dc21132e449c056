"""The whole system as a fixture: one a test process, shared by tests that leave it whole."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.invariants import judge
from tests.servers import close_breakers
from tests.system import Part, System


@pytest.fixture(scope="session")
def shared_system(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    # Much of the wire is met over HTTP alone.
    with System(folder, database_url=database_url, measured=["web"]) as running:
        running.beat.signal(signal.SIGSTOP)
        yield running
        running.beat.signal(signal.SIGCONT)


@pytest.fixture(scope="session")
def shared_relay(shared_system: System) -> Part:
    """The relay of the running system, for tests that hear what browsers do."""
    return shared_system.relay.start()


@contextmanager
def beating(system: System) -> Iterator[None]:
    """Let beat ring meanwhile. For nobody it would cost an eighth of a core all through a run."""
    system.beat.signal(signal.SIGCONT)
    try:
        yield
    finally:
        system.beat.signal(signal.SIGSTOP)


@pytest.fixture
def system(shared_system: System) -> Iterator[System]:
    """The running system, with no faults at the stand-in for Stripe. Its book is kept.

    Whatever a test did, our rows and the provider's book must agree once all is quiet.
    """
    stripe = shared_system.stripe
    with beating(shared_system):
        yield shared_system
        stripe.clear_faults()
        stripe.webhooks(is_paused=False, delay_ms=0, duplicates=0, drop=0, reorder=0)
        stripe.flush()
        close_breakers(shared_system.redis)
        judge(shared_system)
