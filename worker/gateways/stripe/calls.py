"""Calls to Stripe through stripe-python, and its lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from itertools import count as counted
from typing import Any

import stripe

from worker.gateways.base import OutcomeUnknown
from worker.gateways.calls import Calls
from worker.gateways.stripe.failures import NOT_EXECUTED, failure_of

PAGE = 100  # Stripe's largest
MOST_PAGES = 10  # a thousand objects: more than any honest look-up here has to see


def _answer_of(sent: Any) -> tuple[Any, str]:
    answer = sent if isinstance(sent, stripe.StripeResponse) else sent.last_response
    return answer.data, answer.request_id or ""


_calls = Calls(
    provider="stripe",
    errors=(stripe.StripeError,),
    failure_of=failure_of,
    answer_of=_answer_of,
    not_executed=NOT_EXECUTED,
)
write = _calls.write
read = _calls.read


def pages(name: str, list_page: Callable[[Any], Any], params: Mapping[str, Any]) -> list[Any]:
    """Return all objects of a list, newest first, as plain mappings.

    Raises:
        OutcomeUnknown: there are more than may be read, so that "not among them" cannot be said.
    """
    return list(chain.from_iterable(each_page(name, list_page, params, most=MOST_PAGES)))


def each_page(
    name: str,
    list_page: Callable[[Any], Any],
    params: Mapping[str, Any],
    *,
    most: int | None = None,
) -> Iterator[list[Any]]:
    """Yield the objects of a list page by page, newest first, as plain mappings.

    Raises:
        OutcomeUnknown: there are more than `most` pages.
    """
    asked: dict[str, Any] = {**params, "limit": PAGE}
    for number in counted(1):
        page, has_more = read(
            name,
            lambda asked=asked: list_page(asked),  # type: ignore[misc]  # bound now, not later
            lambda body, _: (list(body["data"]), bool(body["has_more"])),
        )
        yield page
        if not has_more:
            return
        if number == most:
            raise OutcomeUnknown(message=f"{name} has more than {most} pages", code="too_many")
        asked = {**asked, "starting_after": page[-1]["id"]}
