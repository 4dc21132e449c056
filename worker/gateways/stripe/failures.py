"""Stripe's exceptions in our four types. Pure.

The status and Stripe's own code decide before the class of the exception does: stripe-python files
a key in use, a lock timeout and a proxy's page under the same `APIError`. What is not known is
`OutcomeUnknown`, as that alone never charges twice.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any

import stripe
import urllib3.exceptions as http

from worker.gateways.base import Declined, GatewayError, OutcomeUnknown, Rejected, Unavailable
from worker.gateways.stripe.codes import OUR_FAULTS
from worker.gateways.stripe.translate import declined_of, id_of

# Refused, unresolved or timed out while connecting; no certificate to trust; no such address.
# Nothing was sent.
NEVER_SENT = (
    http.ConnectTimeoutError,
    http.NewConnectionError,
    http.LocationValueError,
    ssl.SSLCertVerificationError,
)
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
    if is_read and isinstance(failure, OutcomeUnknown):
        return Unavailable(
            message=failure.message,
            code=failure.code,
            provider_request_id=failure.provider_request_id,
            http_status=failure.http_status,
        )
    return failure


def unreadable(error: Exception, *, is_read: bool) -> GatewayError:
    """Return what an answer means that is none of Stripe's shapes: it may have been executed."""
    kind = Unavailable if is_read else OutcomeUnknown
    return kind(message=f"the answer could not be read ({type(error).__name__})", code="unreadable")


def _failure_of(error: stripe.StripeError) -> GatewayError:
    if isinstance(error, stripe.APIConnectionError):
        return _connection_failure(error.__cause__)
    body = _error_body(error.json_body)
    about: dict[str, Any] = {
        "message": _tellable(body) if body else f"no readable answer ({type(error).__name__})",
        "code": body.get("code") or body.get("type") or "",
        "provider_request_id": error.request_id or "",
        "http_status": error.http_status,
    }
    if error.http_status == TOO_MANY_REQUESTS or about["code"] in NOT_EXECUTED:
        return Unavailable(**about, retry_after_s=_retry_after_s(error.headers))
    if isinstance(error, stripe.CardError):
        return _decline(error, body, about)
    if isinstance(error, REJECTED):
        return Rejected(**about)
    return OutcomeUnknown(**about)


def _connection_failure(cause: BaseException | None) -> GatewayError:
    name = type(cause).__name__
    reason = cause.args[0] if isinstance(cause, http.SSLError) and cause.args else cause
    if isinstance(reason, NEVER_SENT):
        return Unavailable(message=f"could not connect ({name})", code="not_connected")
    if isinstance(cause, http.TimeoutError | TimeoutError):
        return OutcomeUnknown(message=f"no answer in time ({name})", code="timeout")
    return OutcomeUnknown(message=f"the connection was lost ({name})", code="connection_lost")


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


def _retry_after_s(headers: Mapping[str, str] | None) -> float | None:
    try:
        return max(0.0, float((headers or {}).get("retry-after", "")))
    except ValueError:
        return None
