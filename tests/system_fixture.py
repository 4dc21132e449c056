"""The whole system as a fixture: one a test process, shared by tests that leave it whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client import Client
from tests.system import System


@pytest.fixture(scope="session")
def shared_system(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), database_url=database_url) as running:
        yield running


@pytest.fixture
def system(shared_system: System) -> System:
    """The running system, with an empty book and no faults at the stand-in for Stripe."""
    shared_system.stripe.wait_quiet()
    shared_system.stripe.reset()
    return shared_system


@pytest.fixture
def owner(system: System) -> Client:
    """The signed-in owner of a new company."""
    return system.member()
