"""PayPal's transaction report, page by page: up to 31 days and 10,000 transactions a search.

Pages have numbers and shift when something comes late. So a number is only used where it must be:
after each page the search begins anew at the last one's second, and what that second has is read
twice. A number is left where a page is of one second, or where it is not in the order of time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from worker.gateways.base import LAGS, Rejected, Unavailable
from worker.gateways.paypal.api import Answer, Api, read
from worker.gateways.paypal.failures import PayPalError

PATH = "/v1/reporting/transactions"
PAGE = 500  # PayPal's largest
LONGEST = timedelta(days=31)  # of one search
SECOND = timedelta(seconds=1)
TOO_LARGE = "RESULTSET_TOO_LARGE"
A_WHILE_S = 1800.0

Info = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a search begins, how long a time it is of, and the number of its page.

    Args:
        is_ordered: its pages so far were in the order of time.
    """

    begins: datetime
    span: timedelta = LONGEST
    number: int = 1
    is_ordered: bool = True

    @classmethod
    def of(cls, text: str) -> Place:
        """Return the place that a text stands for."""
        begins, span_s, number, order = text.split("|")
        span = timedelta(seconds=int(span_s))
        return cls(datetime.fromisoformat(begins), span, int(number), order == "ordered")

    def __str__(self) -> str:
        """Return the place as a text."""
        order = "ordered" if self.is_ordered else "numbered"
        return f"{self.begins.isoformat()}|{int(self.span.total_seconds())}|{self.number}|{order}"


def page(api: Api, place: Place, end: datetime) -> tuple[list[Info], Place | None]:
    """Return the transactions of a page and where the next one begins; `end` is not included.

    Raises:
        Unavailable: the report does not reach to the page's time yet, or PayPal does not answer.
        Rejected: one second has more than may be listed.
    """
    while True:
        stops = min(place.begins + place.span, end)
        body = _searched(api, place, stops)
        if body.get("name") != TOO_LARGE:
            _check_reach(body, stops)
            infos = [each["transaction_info"] for each in body.get("transaction_details") or []]
            return infos, _next(place, infos, int(body.get("total_pages") or 1), stops, end)
        seconds = int((stops - place.begins).total_seconds())
        if seconds <= 1:
            raise Rejected(
                message=f"PayPal lists more at {place.begins:%Y-%m-%d %H:%M:%S} UTC than it may.",
                code=TOO_LARGE,
            )
        place = Place(place.begins, timedelta(seconds=seconds // 2))


def made_at(info: Info) -> datetime:
    """Return when a transaction was made."""
    return datetime.fromisoformat(info["transaction_initiation_date"])


def text_of(moment: datetime) -> str:
    """Return a moment as PayPal takes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _searched(api: Api, place: Place, stops: datetime) -> Info:
    query = {
        "start_date": text_of(place.begins),
        # Both ends are of the search there; ours ends before it.
        "end_date": text_of(stops - SECOND),
        "fields": "transaction_info",
        "page_size": str(PAGE),
        "page": str(place.number),
    }

    def send() -> Answer:
        try:
            return api.get(PATH, query)
        except PayPalError as error:
            if error.issue == TOO_LARGE:
                # It is expected: no failure, but a reason to ask for less.
                return Answer(error.body, error.request_id)
            raise

    told: Info = read("transactions.book", send, lambda body, _: body)
    return told


def _next(
    place: Place, infos: Sequence[Info], pages: int, stops: datetime, end: datetime
) -> Place | None:
    if place.number >= pages:
        return Place(stops, place.span) if stops < end else None
    times = [made_at(info) for info in infos]
    is_ordered = place.is_ordered and times == sorted(times)
    if is_ordered and times and times[-1] > place.begins:
        return Place(times[-1].astimezone(UTC).replace(microsecond=0), place.span)
    return replace(place, number=place.number + 1, is_ordered=is_ordered)


def _check_reach(body: Info, stops: datetime) -> None:
    told = body.get("last_refreshed_datetime")
    if not told or (reached := datetime.fromisoformat(told)) >= stops:
        return
    raise Unavailable(
        message=f"PayPal's report knows nothing after {reached:%Y-%m-%d %H:%M} UTC yet.",
        code=LAGS,
        retry_after_s=A_WHILE_S,
    )
