"""The doors to the payment providers: `gateway_for(provider)`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from worker.gateways.base import DisputeGateway, Gateway, Unavailable
from worker.settings import settings


@dataclass(kw_only=True, eq=False)
class UnknownProvider(Unavailable):
    """No gateway speaks to this provider, so nothing was sent: it may be set up again."""


@cache
def gateway_for(provider: str) -> Gateway:
    """Return this process's one gateway to `provider`, which all of its threads share.

    Raises:
        UnknownProvider: the name is none of ours, or we have no account there.
    """
    if type(provider) is not str:
        # To the cache a word of an enumeration is another key than the same text.
        return gateway_for(str(provider))
    if provider == "stripe":
        from worker.gateways.stripe.client import StripeGateway

        chosen = settings()
        return StripeGateway(
            api_key=chosen.stripe_api_key,
            api_base=chosen.stripe_api_base,
            timeout_s=chosen.stripe_timeout_s,
        )
    if provider == "paypal" and settings().has_paypal:
        from worker.gateways.paypal.api import LIVE, SANDBOX
        from worker.gateways.paypal.client import PayPalGateway

        chosen = settings()
        return PayPalGateway(
            client_id=chosen.paypal_client_id,
            client_secret=chosen.paypal_client_secret,
            api_base=chosen.paypal_api_base or (LIVE if chosen.is_production else SANDBOX),
            timeout_s=chosen.paypal_timeout_s,
            return_url=chosen.paypal_return_url,
            cancel_url=chosen.paypal_cancel_url,
        )
    raise UnknownProvider(message=f"{provider} is not set up here", code="provider_not_set_up")


def is_set_up(provider: str) -> bool:
    """Whether a gateway speaks to a provider."""
    try:
        gateway_for(provider)
    except UnknownProvider:
        return False
    return True


def disputes_at(provider: str) -> DisputeGateway:
    """Return the gateway at which disputes are answered.

    Raises:
        UnknownProvider: it has no way to answer them but its own pages.
    """
    gateway = gateway_for(provider)
    if not isinstance(gateway, DisputeGateway):
        raise UnknownProvider(message=f"disputes are not answered at {provider}")
    return gateway
