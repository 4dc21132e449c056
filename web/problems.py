"""Errors on the wire: problem+json (RFC 9457), from one table.

    Problem                     raised by a view: what the caller did or must do
    pydantic.ValidationError    becomes one in web.routes, with each field named
    models' own errors          InvalidAmount, IllegalMove
    the database                away or busy: 503, try again; a duplicate: 409
    anything else               a bug: 500 without internals, logged and reported

A type is `urn:paybeat:problem:<kind>`; the kinds are a table, so that clients can rely on them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Flask, Response, request
from pydantic import ValidationError
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from models.fx import NoRate, StaleRate
from models.money import InvalidAmount
from models.states import IllegalMove
from worker import telemetry
from worker.database import error_number, is_away, is_conflict

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
DUPLICATE = 1062

# kind: status and title.
KINDS: dict[str, tuple[int, str]] = {
    "bad-request": (400, "The request cannot be understood"),
    "malformed-json": (400, "The body is not the JSON that it must be"),
    "unauthenticated": (401, "Sign in first"),
    "wrong-credentials": (401, "Email or password is wrong"),
    "declined": (402, "The provider declined"),
    "forbidden": (403, "Not allowed"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Method not allowed"),
    "conflict": (409, "That does not go with how things stand"),
    "usage-limit": (409, "The module's limit for the period is reached"),
    "no-rate": (409, "No exchange rate is known"),
    "stale-rate": (409, "The exchange rate is too old"),
    "link-ended": (410, "The link has ended"),
    "too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body must be application/json"),
    "invalid": (422, "The request is not valid"),
    "key-reused": (422, "The idempotency key was used for another request"),
    "too-many-requests": (429, "Too many requests"),
    "internal": (500, "Something went wrong on our side"),
    "unavailable": (503, "Try again in a moment"),
}
_KIND_OF_STATUS = {
    400: "bad-request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict",
    413: "too-large",
    415: "unsupported-media-type",
    422: "invalid",
    429: "too-many-requests",
    500: "internal",
    503: "unavailable",
}


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field; `field` is its path, such as `lines.0.amount`."""

    field: str
    detail: str


class Problem(Exception):
    """An answer that tells what went wrong: `raise Problem("not-found", "No such invoice.")`."""

    def __init__(
        self,
        kind: str,
        detail: str = "",
        *,
        errors: Iterable[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.status, self.title = KINDS[kind]
        self.status = status or self.status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})
        super().__init__(f"{kind}: {detail}")

    def to_response(self) -> Response:
        """Return the answer; its instance is the path and its request id is in the logs."""
        body: dict[str, Any] = {
            "type": f"urn:paybeat:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail or self.title,
            "instance": request.path,
            "request_id": telemetry.current().get("request_id"),
            **self.extra,
        }
        if self.errors:
            body["errors"] = [{"field": e.field, "detail": e.detail} for e in self.errors]
        return Response(orjson.dumps(body), self.status, self.headers, content_type=MEDIA_TYPE)


def invalid(field: str, detail: str) -> Problem:
    """Return a 422 that names one field."""
    return Problem("invalid", f"{field} {detail}", errors=[FieldError(field, detail)])


def invalid_fields(error: ValidationError) -> Problem:
    """Return a 422 that names each field that pydantic refused; never what was in it."""
    errors = [
        FieldError(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, "))
        for e in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    names = ", ".join(dict.fromkeys(e.field for e in errors if e.field))
    return Problem("invalid", f"Not valid: {names}" if names else "", errors=errors)


def unavailable(detail: str) -> Problem:
    """Return a 503: nothing was done; the same request may be sent again."""
    return Problem("unavailable", detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def _of_http(error: HTTPException) -> Problem:
    status = error.code or 500
    kind = _KIND_OF_STATUS.get(status, "internal" if status >= 500 else "bad-request")  # noqa: PLR2004
    headers = {
        name: value
        for name, value in error.get_headers()
        if name.lower() in {"allow", "retry-after", "location"}
    }
    detail = "" if status >= 500 else _said(status) or error.description or ""  # noqa: PLR2004
    return Problem(kind, detail, headers=headers, status=status)


def _said(status: int) -> str | None:
    """Return our own words for what Werkzeug says to people at a browser."""
    return {
        404: "There is nothing at this address.",
        405: f"This address does not take {request.method}.",
        413: "The body is larger than is taken here.",
    }.get(status)


def _of_database(error: SQLAlchemyError) -> Problem | None:
    if is_away(error):
        log.warning("the database is away: %s", type(error).__name__)
        return unavailable("The database cannot be reached.")
    if is_conflict(error):
        log.warning("gave up after conflicts: %s", error_number(error))
        return unavailable("Too many requests change the same thing at once.")
    if isinstance(error, IntegrityError) and error_number(error) == DUPLICATE:
        log.warning("a duplicate was refused", exc_info=error)
        return Problem("conflict", "That exists already.")
    if isinstance(error, DataError):
        log.warning("a value did not fit its column", exc_info=error)
        return Problem("invalid", "A value is too long or out of range.")
    return None


# The one table. None: not the caller's doing; it goes on as a bug.
TABLE: dict[type[Exception], Callable[[Any], Problem | None]] = {
    Problem: lambda problem: problem,
    InvalidAmount: lambda error: invalid("amount", str(error)),
    IllegalMove: lambda error: Problem("conflict", str(error)),
    NoRate: lambda error: Problem("no-rate", str(error)),
    StaleRate: lambda error: Problem("stale-rate", str(error)),
    SQLAlchemyError: _of_database,
    StaleDataError: _of_database,
    HTTPException: _of_http,
}


def _answer(error: Exception) -> Response:
    kind = next(kind for kind in type(error).__mro__ if kind in TABLE)
    problem = TABLE[kind](error)
    if problem is None:
        # Flask then logs it, tells Sentry and comes back here with an InternalServerError.
        raise error
    return problem.to_response()


def register(app: Flask) -> None:
    """Let every error of `app` be answered from the table."""
    for kind in TABLE:
        app.register_error_handler(kind, _answer)
