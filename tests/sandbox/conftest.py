from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.paypal_shop import PayPalShop
from tests.sandbox.shop import Shop
from tests.sandbox.webhook_catcher import Catcher, catching, signed_by_stripe
from tests.sandbox_fixture import PayPalProcess, SandboxProcess


@pytest.fixture
def shop(sandbox: SandboxProcess) -> Shop:
    return Shop(sandbox)


@pytest.fixture
def paypal_shop(paypal: PayPalProcess) -> PayPalShop:
    return PayPalShop(paypal)


@pytest.fixture
def catcher(sandbox: SandboxProcess) -> Iterator[Catcher]:
    with catching(signed_by_stripe(sandbox.webhook_secret)) as listening:
        sandbox.control.webhooks(url=listening.url)
        yield listening
        sandbox.control.reset()
