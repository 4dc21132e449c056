"""PayPal's refusals in our four types. Pure.

What is not known is `OutcomeUnknown`, as that alone never charges twice: every 5xx and 409 of a
call that changes something, and whatever was lost on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.gateways import wire
from worker.gateways.base import GatewayError, OutcomeUnknown, Rejected, Unavailable
from worker.gateways.calls import of_a_read
from worker.gateways.paypal.codes import DECLINES, DUPLICATE, IN_PROGRESS, KEY_REUSED, OUR_FAULTS
from worker.gateways.paypal.translate import refusal_of

TOO_MANY_REQUESTS = 429
UNPROCESSABLE = 422
CONFLICT = 409
SERVER_ERROR = 500
# The code of a key that came back with other parameters, at every provider.
REUSED = "idempotency_error"


class PayPalError(Exception):
    """An answer that is no success, or none at all: then `cause` tells why."""

    def __init__(
        self,
        *,
        status: int = 0,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        cause: Exception | None = None,
    ) -> None:
        super().__init__(f"status {status}" if status else f"no answer: {type(cause).__name__}")
        self.status = status
        self.body: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
        self.headers = headers or {}
        self.cause = cause

    @property
    def issue(self) -> str:
        """PayPal's word for what is wrong: the first detail's, else the error's name."""
        details = self.body.get("details")
        first = details[0] if isinstance(details, list) and details else {}
        issue = first.get("issue") if isinstance(first, Mapping) else None
        return str(issue or self.body.get("name") or self.body.get("error") or "")

    @property
    def request_id(self) -> str:
        """The id by which PayPal's support finds the call."""
        return str(self.headers.get("Paypal-Debug-Id") or self.body.get("debug_id") or "")


def failure_of(error: PayPalError, *, is_read: bool) -> GatewayError:
    """Return what a failed call means for its caller."""
    failure = _failure_of(error)
    return of_a_read(failure) if is_read else failure


def _failure_of(error: PayPalError) -> GatewayError:
    if error.cause is not None:
        return wire.failure_of(error.cause)
    issue = error.issue
    about: dict[str, Any] = {
        "message": _tellable(error),
        "code": issue,
        "provider_request_id": error.request_id,
        "http_status": error.status,
    }
    if error.status == TOO_MANY_REQUESTS:
        return Unavailable(**about, retry_after_s=wire.retry_after_s(error.headers))
    if issue in KEY_REUSED:
        return Rejected(**{**about, "code": REUSED})
    if _is_unknown(error.status, issue):
        return OutcomeUnknown(**about)
    if error.status == UNPROCESSABLE and issue in DECLINES:
        declined = refusal_of(issue, message=about["message"], request_id=error.request_id)
        declined.http_status = error.status
        return declined
    return Rejected(**about)


def _is_unknown(status: int, issue: str) -> bool:
    """Whether it may have been executed; a status that is none of an API's is a proxy's."""
    if issue in IN_PROGRESS or issue == DUPLICATE or status == CONFLICT:
        return True
    return not 400 <= status < SERVER_ERROR  # noqa: PLR2004  the client's errors


def as_decline(refusal: Rejected) -> GatewayError:
    """Return a refused charge as a decline: an issue that nobody has listed is for a person.

    What says that our own request was wrong stays as it is.
    """
    if refusal.http_status != UNPROCESSABLE or refusal.code in OUR_FAULTS | {REUSED}:
        return refusal
    declined = refusal_of(
        refusal.code, message=refusal.message, request_id=refusal.provider_request_id
    )
    declined.http_status = refusal.http_status
    return declined


def _tellable(error: PayPalError) -> str:
    """Return PayPal's description; it quotes no values, those stand in fields of their own."""
    details = error.body.get("details")
    first = details[0] if isinstance(details, list) and details else {}
    described = first.get("description") if isinstance(first, Mapping) else None
    told = described or error.body.get("message") or error.body.get("error_description")
    return str(told) if told else f"no readable answer (status {error.status})"
