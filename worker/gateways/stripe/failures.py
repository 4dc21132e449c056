"""Stripe's exceptions in our four types. Pure.

The status and Stripe's own code decide before the class of the exception does: stripe-python files
a key in use, a lock timeout and a proxy's page under the same `APIError`. What is not known is
`OutcomeUnknown`, as that alone never charges twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import stripe

from worker.gateways import wire
from worker.gateways.base import Declined, GatewayError, OutcomeUnknown, Rejected, Unavailable
from worker.gateways.calls import of_a_read
from worker.gateways.stripe.codes import OUR_FAULTS
from worker.gateways.stripe.translate import declined_of, id_of

NOT_EXECUTED = frozenset({"lock_timeout", "rate_limit"})
REJECTED = (
    stripe.IdempotencyError,
    stripe.InvalidRequestError,
    stripe.AuthenticationError,
    stripe.PermissionError,
)
TOO_MANY_REQUESTS = 429

_QUOTED = re.compile(r"(?<!\w)(['\"`]).*?\1(?!\w)")


def failure_of(error: stripe.StripeError, *, is_read: bool) -> GatewayError:
    """Return what a failed call means for its caller.

    A read that got no answer is `Unavailable`: it moved no money, so it may simply be asked again.
    """
    failure = _failure_of(error)
    return of_a_read(failure) if is_read else failure


def _failure_of(error: stripe.StripeError) -> GatewayError:
    if isinstance(error, stripe.APIConnectionError):
        return wire.failure_of(error.__cause__)
    body = _error_body(error.json_body)
    about: dict[str, Any] = {
        "message": _tellable(body) if body else f"no readable answer ({type(error).__name__})",
        "code": body.get("code") or body.get("type") or "",
        "provider_request_id": error.request_id or "",
        "http_status": error.http_status,
    }
    if error.http_status == TOO_MANY_REQUESTS or about["code"] in NOT_EXECUTED:
        return Unavailable(**about, retry_after_s=wire.retry_after_s(error.headers))
    if isinstance(error, stripe.CardError):
        return _decline(error, body, about)
    if isinstance(error, REJECTED):
        return Rejected(**about)
    return OutcomeUnknown(**about)


def _decline(
    error: stripe.CardError, body: Mapping[str, Any], about: dict[str, Any]
) -> GatewayError:
    if not OUR_FAULTS.isdisjoint({body.get("code"), body.get("decline_code")}):
        return Rejected(**about)
    declined: Declined = declined_of(
        body,
        provider_id=id_of(body.get("payment_intent")),
        request_id=error.request_id or "",
    )
    declined.http_status = error.http_status
    return declined


def _error_body(json_body: object) -> Mapping[str, Any]:
    if isinstance(json_body, Mapping) and isinstance(json_body.get("error"), Mapping):
        error: Mapping[str, Any] = json_body["error"]
        return error
    return {}


def _tellable(body: Mapping[str, Any]) -> str:
    """Return Stripe's message without the values that it quotes back, which may be secret."""
    kept = _QUOTED.sub("…", str(body.get("message") or "").split(": ", 1)[0])
    param = body.get("param")
    return f"{kept} ({param})" if param else kept
