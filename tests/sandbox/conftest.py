from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.shop import Shop
from tests.sandbox.webhook_catcher import Catcher, catching
from tests.sandbox_fixture import SandboxProcess


@pytest.fixture
def shop(sandbox: SandboxProcess) -> Shop:
    return Shop(sandbox)


@pytest.fixture
def catcher(sandbox: SandboxProcess) -> Iterator[Catcher]:
    with catching(sandbox.webhook_secret) as listening:
        sandbox.control.webhooks(url=listening.url)
        yield listening
        sandbox.control.reset()
