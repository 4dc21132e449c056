"""Relays on a system without anything else, kept for all tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.relay.crowd import Crowd
from tests.faults.relay.house import ROOMY, House
from tests.system import System


@pytest.fixture(scope="session")
def house(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("relays")
    with System(folder, database_url=database_url, parts=[], environ=ROOMY) as system:
        house = House(system)
        yield house
        house.stop()


@pytest.fixture
def gather() -> Iterator[type[Crowd]]:
    """Make crowds that have left when the test ends."""
    made: list[Crowd] = []

    def make(*urls: str, **more) -> Crowd:
        made.append(Crowd(urls, **more))
        return made[-1]

    yield make
    for crowd in made:
        crowd.leave()
