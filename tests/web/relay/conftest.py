"""A reactor of its own for each test, and real relays beside a real web."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system import System
from tests.web.relay.knocking import hang_up
from tests.web.relay.past import House


@pytest.fixture(autouse=True)
def _hang_up():
    yield
    hang_up()


@pytest.fixture(scope="session")
def system(tmp_path_factory) -> Iterator[System]:
    """Web and relay on servers of their own, which a test may stop."""
    with System(
        tmp_path_factory.mktemp("relay"),
        parts=["web", "relay"],
        measured=["relay"],
        environ={"RELAY_ORIGINS": "https://app.example.com"},
    ) as running:
        yield running


@pytest.fixture
def url(system) -> str:
    return system.relay_url


@pytest.fixture
def owner(system):
    return system.member()


@pytest.fixture
def make_house():
    houses = []

    def make(**more) -> House:
        houses.append(House(**more))
        return houses[-1]

    yield make
    for house in houses:
        assert house.deaths == []
        house.end()
        assert len(house.left) == len(house.joined)
        assert len(set(map(id, house.left))) == len(house.left)


@pytest.fixture
def house(make_house) -> House:
    return make_house()
