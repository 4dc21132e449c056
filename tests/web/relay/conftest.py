"""A reactor of its own for each test."""

import pytest

from tests.web.relay.past import House


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
