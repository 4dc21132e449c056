"""The doors to the payment providers: `gateway_for(provider)`."""

from __future__ import annotations

from functools import cache

from worker.gateways.base import Gateway
from worker.settings import settings


class UnknownProvider(ValueError):
    """No gateway speaks to this provider."""


@cache
def gateway_for(provider: str) -> Gateway:
    """Return this process's one gateway to `provider`, which all of its threads share.

    Raises:
        UnknownProvider: the name is none of ours.
    """
    if provider == "stripe":
        from worker.gateways.stripe.client import StripeGateway

        chosen = settings()
        return StripeGateway(
            api_key=chosen.stripe_api_key,
            api_base=chosen.stripe_api_base,
            timeout_s=chosen.stripe_timeout_s,
        )
    raise UnknownProvider(provider)
