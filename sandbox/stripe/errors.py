"""Stripe's errors in their real shapes.

ApiError
├── InvalidRequest   400 and 404: the request is wrong, or the object's state forbids it
└── CardError        402: the card said no
"""

from __future__ import annotations

from typing import Any

from sandbox.standin.refusal import Refusal

Object = dict[str, Any]
"""A Stripe object as it goes over the wire."""

DOCS = "https://stripe.com/docs/error-codes/"


class ApiError(Refusal):
    """An answer that is an error.

    Attributes:
        is_saved: whether an idempotency key remembers it, as execution had begun.
    """

    def __init__(self, status: int, *, is_saved: bool = False, **fields: Any) -> None:
        super().__init__(str(fields.get("message", "")), status=status)
        self.is_saved = is_saved
        self.fields: Object = {k: v for k, v in fields.items() if v is not None}
        if code := self.fields.get("code"):
            self.fields.setdefault("doc_url", DOCS + str(code).replace("_", "-"))

    def body(self) -> Object:
        """Return the JSON that goes over the wire."""
        return {"error": dict(sorted(self.fields.items()))}


class InvalidRequest(ApiError):
    """The request is wrong as it stands; nothing was done."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int = 400,
        is_saved: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(
            status,
            is_saved=is_saved,
            type="invalid_request_error",
            message=message,
            code=code,
            param=param,
            **more,
        )


class CardError(ApiError):
    """A decline; the intent and the failed charge stay in the book."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(402, is_saved=True, type="card_error", **fields)


def missing(kind: str, object_id: str, *, param: str = "id") -> InvalidRequest:
    """Return Stripe's answer to an id that it doesn't know."""
    shown = {"payment_method": "PaymentMethod"}.get(kind, kind)
    status = 404 if param in {"id", "intent"} else 400
    return InvalidRequest(
        f"No such {shown}: '{object_id}'", code="resource_missing", param=param, status=status
    )


def wrong_state(message: str, **more: Any) -> InvalidRequest:
    """Return the answer to a call that the object's state forbids; keys remember it."""
    return InvalidRequest(message, is_saved=True, **more)


def unauthorized(message: str) -> ApiError:
    """Return the answer to a missing or wrong API key."""
    return ApiError(401, type="invalid_request_error", message=message)


def too_many_requests() -> ApiError:
    """Return Stripe's 429: not executed, not saved."""
    return ApiError(
        429,
        type="invalid_request_error",
        code="rate_limit",
        message="Request rate limit exceeded. Learn more about rate limits.",
    )


def locked() -> ApiError:
    """Return Stripe's 429 for an object that another request holds: not executed, not saved."""
    return ApiError(
        429,
        type="invalid_request_error",
        code="lock_timeout",
        message="This object cannot be accessed right now because another API request or Stripe "
        "process is currently accessing it. If you see this error intermittently, retry the "
        "request.",
    )


def key_in_use(key: str) -> ApiError:
    """Return Stripe's 409: a request with the same key is being executed."""
    return ApiError(
        409,
        type="idempotency_error",
        code="idempotency_key_in_use",
        message="There is currently another in-progress request using this Idempotent Key "
        f"(that probably means you submitted twice, and the other request is still going "
        f"through): {key}. Please try again later.",
    )


def key_reused(key: str) -> ApiError:
    """Return Stripe's 400: the key was used with other parameters."""
    return ApiError(
        400,
        type="idempotency_error",
        message="Keys for idempotent requests can only be used with the same parameters they were "
        f"first used with. Try using a key other than '{key}' if you meant to execute a different "
        "request.",
    )


def server_error() -> ApiError:
    """Return Stripe's 500: whether the request was executed can't be told from it."""
    return ApiError(
        500, type="api_error", message="An unknown error occurred. Sorry for the inconvenience."
    )
