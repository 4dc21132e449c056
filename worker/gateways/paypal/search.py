"""Looking for a payment in PayPal's transaction search, which is up to three hours behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from models.clock import now
from worker.gateways.base import LAGS, OutcomeUnknown, Unavailable
from worker.gateways.paypal.api import Api, read

PAGE = 500  # PayPal's largest
MOST_PAGES = 20  # ten thousand of one window: more than may be read to find a single one
LONGEST_WINDOW = timedelta(days=31)  # of one call
CLOCK_MARGIN = timedelta(days=1)  # PayPal's clock against ours, generously
KEPT = timedelta(days=3 * 365)  # PayPal lists three years
PAYMENT = "T00"  # what event codes of payments begin with; refunds and reversals have others
MOST_BEHIND = timedelta(hours=3)
A_WHILE = timedelta(minutes=30)  # where it is further behind than PayPal says it can be


def captures_of(api: Api, transaction_id: UUID, *, until: datetime | None) -> list[str]:
    """Return the ids of the captures that carry our payment's id, newest first.

    Raises:
        Unavailable: none was found, and the data do not reach to `until`, so that there may be one;
            it says when to ask again.
        OutcomeUnknown: more transactions than may be read.
    """
    moment = now()
    found: list[str] = []
    reached = moment
    for start, end in _windows(_made_at(transaction_id, moment), moment):
        infos, refreshed = _listed(api, start, end)
        reached = min(reached, refreshed or end)
        found += [
            str(info["transaction_id"])
            for info in infos
            if info.get("invoice_id") == str(transaction_id)
            and str(info.get("transaction_event_code", PAYMENT)).startswith(PAYMENT)
        ]
    until = until or moment
    if not found and reached < min(until, moment):
        again = max(until + MOST_BEHIND, moment + A_WHILE)
        raise Unavailable(
            message=f"PayPal's search lags: it knows nothing after {_told(reached)} yet. "
            f"Ask again after {_told(again)}.",
            code=LAGS,
        )
    return found[::-1]


def _made_at(transaction_id: UUID, moment: datetime) -> datetime:
    """Return the time in our id, less a margin; one without a time is looked for in all of it."""
    if transaction_id.version != 7:  # noqa: PLR2004  RFC 9562: its first 48 bits are a time
        return moment - KEPT
    made = datetime.fromtimestamp((transaction_id.int >> 80) / 1000, UTC)
    return max(min(made, moment) - CLOCK_MARGIN, moment - KEPT)


def _windows(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    while start < end:
        stop = min(start + LONGEST_WINDOW, end)
        yield start, stop
        start = stop


def _listed(
    api: Api, start: datetime, end: datetime
) -> tuple[list[Mapping[str, Any]], datetime | None]:
    """Return the transactions of a window, oldest first, and the time that the data reach to."""
    infos: list[Mapping[str, Any]] = []
    refreshed: datetime | None = None
    for number in range(1, MOST_PAGES + 1):
        query = {
            "start_date": _text_of(start),
            "end_date": _text_of(end),
            "fields": "transaction_info",
            "page_size": str(PAGE),
            "page": str(number),
        }
        page = read(
            "transactions.search",
            lambda query=query: api.get("/v1/reporting/transactions", query),  # type: ignore[misc]  # bound now, not later
            lambda body, _: body,
        )
        infos += [each["transaction_info"] for each in page.get("transaction_details") or []]
        if page.get("last_refreshed_datetime"):
            refreshed = datetime.fromisoformat(page["last_refreshed_datetime"])
        if number >= int(page.get("total_pages") or 1):
            return infos, refreshed
    raise OutcomeUnknown(message=f"PayPal lists more than {len(infos)}", code="too_many")


def _told(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
