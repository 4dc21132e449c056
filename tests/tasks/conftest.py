from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tasks.dunning_shop import Shop, opened


@pytest.fixture
def shop(database, sandbox, monkeypatch) -> Iterator[Shop]:
    with opened(sandbox, monkeypatch) as made:
        yield made
