"""Every provider's house in turn: our stand-ins, or with `--own-test-mode` the providers' own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

import pytest

from models import clock
from tests.contract.house import House
from tests.contract.paypal_house import PayPalHouse, PayPalStandIn, gateway_at
from tests.contract.stripe_house import StripeHouse, StripeStandIn
from tests.sandbox.webhook_catcher import catching
from worker.gateways.paypal.api import SANDBOX
from worker.gateways.stripe.client import StripeGateway

OWN = "CONTRACT_OWN_TEST_MODE"


@pytest.fixture(params=["stripe", "paypal"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    if os.environ.get(OWN):
        made = own_test_mode(request.param)
        yield made
        made.gateway.close()
        return
    process = request.getfixturevalue({"stripe": "sandbox", "paypal": "paypal"}[request.param])
    ahead_s = process.control.clock()["ahead_s"]
    clock.advance_by(lambda: timedelta(seconds=ahead_s))
    with catching(lambda body, headers: {"body": body, "headers": dict(headers.items())}) as caught:
        process.control.webhooks(url=caught.url)
        stand_in = {"stripe": StripeStandIn, "paypal": PayPalStandIn}[request.param]
        made = stand_in(process, caught)
        yield made
        made.gateway.close()
        process.control.webhooks(url="")
    clock.advance_by(timedelta)


def own_test_mode(provider: str) -> House:
    """Return the provider's own test mode, if its keys are given."""
    names = {
        "stripe": ("STRIPE_CONTRACT_KEY",),
        "paypal": ("PAYPAL_CONTRACT_CLIENT_ID", "PAYPAL_CONTRACT_CLIENT_SECRET"),
    }[provider]
    given = [os.environ.get(name, "") for name in names]
    if not all(given):
        pytest.skip(f"{provider}'s own test mode needs {' and '.join(names)}")
    if provider == "paypal":
        return PayPalHouse(gateway_at(SANDBOX, *given))
    if not given[0].startswith(("sk_test_", "rk_test_")):
        pytest.fail("STRIPE_CONTRACT_KEY must be a key of the test mode.")
    return StripeHouse(StripeGateway(api_key=given[0], api_base="", timeout_s=20))
