"""One call to a provider: sent, read, logged, its failure translated, tried again where safe.

Within a call only what surely did not reach the provider is tried again, for less than a second.
Everything slower belongs to the outbox and the ladder.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from worker.gateways import health
from worker.gateways.base import GatewayError, OutcomeUnknown, Rejected, Unavailable
from worker.telemetry import count, current, note, timing

log = logging.getLogger(__name__)

T = TypeVar("T")
Send = Callable[[], Any]
Reader = Callable[[Mapping[str, Any], str], T]

LONGEST_PAUSE_S = 0.3  # between two tries within a call
LONGEST_TRY_S = 1.0  # after this no further try within a call begins

# What a client and our readers raise on an answer that is none of the provider's shapes.
UNREADABLE = (AttributeError, LookupError, TypeError, ValueError, RecursionError)

LEVELS = {Rejected: logging.ERROR, OutcomeUnknown: logging.WARNING, Unavailable: logging.WARNING}


class FailureOf(Protocol):
    """What a provider's own exception means for the caller."""

    def __call__(self, error: Any, *, is_read: bool) -> GatewayError:
        """Return the failure; of a read it is never `OutcomeUnknown`."""


@dataclass(frozen=True, kw_only=True)
class Calls:
    """The way to call one provider.

    Args:
        provider: its name, in logs and metrics.
        errors: what its client raises.
        failure_of: translates such an error.
        answer_of: takes body and request id from what `send` returns.
        not_executed: the codes of `Unavailable` that may be sent again at once.
    """

    provider: str
    errors: tuple[type[Exception], ...]
    failure_of: FailureOf
    answer_of: Callable[[Any], tuple[Any, str]]
    not_executed: frozenset[str]

    def write(self, name: str, send: Send, reader: Reader[T], *, is_theirs: bool = False) -> T:
        """Make a call that changes something, and return what `reader` makes of its answer.

        `send` is run again with the same key, so it must always ask the same. What `is_theirs`
        carries a caller's own word, so that its refusal is no error of ours.

        Raises:
            GatewayError: whatever went wrong, never an error of the provider's client.
        """
        return self._try(name, send, reader, is_read=False, is_theirs=is_theirs)

    def read(self, name: str, send: Send, reader: Reader[T]) -> T:
        """Make a call that only looks; without an answer it is `Unavailable`, never unknown."""
        return self._try(name, send, reader, is_read=True, is_theirs=False)

    def _try(
        self, name: str, send: Send, reader: Reader[T], *, is_read: bool, is_theirs: bool
    ) -> T:
        result: T = self._retrying(
            self._once, name, send, reader, is_read=is_read, is_theirs=is_theirs
        )
        return result

    @cached_property
    def _retrying(self) -> Retrying:
        return Retrying(
            stop=stop_after_attempt(3) | stop_after_delay(LONGEST_TRY_S),
            wait=wait_random_exponential(multiplier=0.05, max=LONGEST_PAUSE_S),
            retry=retry_if_exception(self._may_be_tried_again),
            reraise=True,
        )

    def _may_be_tried_again(self, error: BaseException) -> bool:
        if not isinstance(error, Unavailable) or (error.retry_after_s or 0) > LONGEST_PAUSE_S:
            return False
        return error.code == "not_connected" or error.code in self.not_executed

    def _once(
        self, name: str, send: Send, reader: Reader[T], *, is_read: bool, is_theirs: bool
    ) -> T:
        started = time.perf_counter()
        request_id = ""
        failure: GatewayError
        try:
            body, request_id = self.answer_of(send())
            result = reader(body, request_id)
        except self.errors as error:
            failure = self.failure_of(error, is_read=is_read)
        except GatewayError as error:
            failure = error
        except UNREADABLE as error:
            failure = unreadable(error, is_read=is_read)
        else:
            self._tell(name, started, request_id, None)
            return result
        failure.provider_request_id = failure.provider_request_id or request_id
        self._tell(name, started, failure.provider_request_id, failure, is_theirs=is_theirs)
        # Raised out here, so that the client's exception, which carries whole bodies and headers,
        # does not hang on ours as its context.
        raise failure

    def _tell(
        self,
        name: str,
        started: float,
        request_id: str,
        failure: GatewayError | None,
        *,
        is_theirs: bool = False,
    ) -> None:
        outcome = type(failure).__name__ if failure else "ok"
        seconds = time.perf_counter() - started
        tags = {"provider": self.provider, "call": name, "outcome": outcome}
        count("provider.calls", **tags)
        timing("provider.seconds", seconds, **tags)
        health.tell(self.provider, failure, took_s=seconds)
        if current():  # within a task's block, so that its later lines carry the request too
            note(provider_request_id=request_id)
        level = logging.INFO
        if failure is not None and not (is_theirs and isinstance(failure, Rejected)):
            level = LEVELS.get(type(failure), level)
        log.log(
            level,
            "%s %s: %s%s",
            self.provider,
            name,
            outcome,
            f" ({failure})" if failure else "",
            extra={
                "provider": self.provider,
                "provider_call": name,
                "provider_request_id": request_id,
                "outcome": outcome,
                "code": failure.code if failure else "",
                "duration_ms": round(seconds * 1000, 1),
            },
        )


def of_a_read(failure: GatewayError) -> GatewayError:
    """Return the failure of a read: without an answer it is `Unavailable`, as it moved no money."""
    if not isinstance(failure, OutcomeUnknown):
        return failure
    return Unavailable(
        message=failure.message,
        code=failure.code,
        provider_request_id=failure.provider_request_id,
        http_status=failure.http_status,
    )


def unreadable(error: Exception, *, is_read: bool) -> GatewayError:
    """Return what an answer means that is none of its provider's: it may have been executed."""
    kind = Unavailable if is_read else OutcomeUnknown
    return kind(message=f"the answer could not be read ({type(error).__name__})", code="unreadable")
