"""One call to Stripe: sent, read, logged, its failure translated, tried again where safe.

Within a call only what surely did not reach Stripe is tried again, for less than a second.
Everything slower belongs to the outbox and the ladder.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import stripe
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from worker.gateways.base import GatewayError, OutcomeUnknown, Rejected, Unavailable
from worker.gateways.stripe.failures import NOT_EXECUTED, failure_of, unreadable
from worker.telemetry import count, current, note, timing

log = logging.getLogger(__name__)

T = TypeVar("T")
Send = Callable[[], Any]
Reader = Callable[[Mapping[str, Any], str], T]

PAGE = 100  # Stripe's largest
MOST_PAGES = 10  # a thousand objects: more than any honest look-up here has to see
LONGEST_PAUSE_S = 0.3  # between two tries within a call
LONGEST_TRY_S = 1.0  # after this no further try within a call begins

# What stripe-python and our readers raise on an answer that is none of Stripe's shapes.
UNREADABLE = (AttributeError, LookupError, TypeError, ValueError, RecursionError)

LEVELS = {Rejected: logging.ERROR, OutcomeUnknown: logging.WARNING, Unavailable: logging.WARNING}


def write(name: str, send: Send, reader: Reader[T], *, is_theirs: bool = False) -> T:
    """Make a call that changes something, and return what `reader` makes of its answer.

    `send` is run again with the same key, so it must always ask the same. What `is_theirs` carries
    a caller's own word, so that its refusal is no error of ours.

    Raises:
        GatewayError: whatever went wrong, never a `stripe.StripeError`.
    """
    result: T = _RETRYING(_once, name, send, reader, is_read=False, is_theirs=is_theirs)
    return result


def read(name: str, send: Send, reader: Reader[T]) -> T:
    """Make a call that only looks; without an answer it is `Unavailable`, never unknown."""
    result: T = _RETRYING(_once, name, send, reader, is_read=True)
    return result


def pages(name: str, list_page: Callable[[Any], Any], params: Mapping[str, Any]) -> list[Any]:
    """Return all objects of a list, newest first, as plain mappings.

    Raises:
        OutcomeUnknown: there are more than may be read, so that "not among them" cannot be said.
    """
    found: list[Any] = []
    asked: dict[str, Any] = {**params, "limit": PAGE}
    for _ in range(MOST_PAGES):
        page, has_more = read(
            name,
            lambda asked=asked: list_page(asked),  # type: ignore[misc]  # bound now, not later
            lambda body, _: (list(body["data"]), bool(body["has_more"])),
        )
        found += page
        if not has_more:
            return found
        asked = {**asked, "starting_after": page[-1]["id"]}
    raise OutcomeUnknown(message=f"{name} has more than {len(found)} objects", code="too_many")


def _may_be_tried_again(error: BaseException) -> bool:
    if not isinstance(error, Unavailable) or (error.retry_after_s or 0) > LONGEST_PAUSE_S:
        return False
    return error.code in {"not_connected", *NOT_EXECUTED}


_RETRYING = Retrying(
    stop=stop_after_attempt(3) | stop_after_delay(LONGEST_TRY_S),
    wait=wait_random_exponential(multiplier=0.05, max=LONGEST_PAUSE_S),
    retry=retry_if_exception(_may_be_tried_again),
    reraise=True,
)


def _once(name: str, send: Send, reader: Reader[T], *, is_read: bool, is_theirs: bool = False) -> T:
    started = time.perf_counter()
    request_id = ""
    failure: GatewayError
    try:
        sent = send()
        answer: Any = sent if isinstance(sent, stripe.StripeResponse) else sent.last_response
        request_id = answer.request_id or ""
        result = reader(answer.data, request_id)
    except stripe.StripeError as error:
        failure = failure_of(error, is_read=is_read)
    except GatewayError as error:
        failure = error
    except UNREADABLE as error:
        failure = unreadable(error, is_read=is_read)
    else:
        _tell(name, started, request_id, None)
        return result
    failure.provider_request_id = failure.provider_request_id or request_id
    _tell(name, started, failure.provider_request_id, failure, is_theirs=is_theirs)
    # Raised out here, so that Stripe's exception, which carries whole bodies and headers, does not
    # hang on ours as its context.
    raise failure


def _tell(
    name: str,
    started: float,
    request_id: str,
    failure: GatewayError | None,
    *,
    is_theirs: bool = False,
) -> None:
    outcome = type(failure).__name__ if failure else "ok"
    seconds = time.perf_counter() - started
    tags = {"provider": "stripe", "call": name, "outcome": outcome}
    count("provider.calls", **tags)
    timing("provider.seconds", seconds, **tags)
    if current():  # within a task's block, so that its later lines carry the request too
        note(provider_request_id=request_id)
    level = logging.INFO
    if failure is not None and not (is_theirs and isinstance(failure, Rejected)):
        level = LEVELS.get(type(failure), level)
    log.log(
        level,
        "stripe %s: %s%s",
        name,
        outcome,
        f" ({failure})" if failure else "",
        extra={
            "provider": "stripe",
            "provider_call": name,
            "provider_request_id": request_id,
            "outcome": outcome,
            "code": failure.code if failure else "",
            "duration_ms": round(seconds * 1000, 1),
        },
    )
