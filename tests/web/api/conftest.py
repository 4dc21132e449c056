"""The API as its users meet it: the whole system runs, and they speak HTTP to it."""

from __future__ import annotations

import pytest

from tests.client import Client
from tests.system import System


@pytest.fixture
def owner(system: System) -> Client:
    """The signed-in owner of a new company."""
    return system.member()
