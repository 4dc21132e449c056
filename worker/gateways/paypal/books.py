"""PayPal's book: its transaction report, oldest first, up to three hours late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from models.clock import now
from worker.gateways.base import LAGS, Rejected, Unavailable
from worker.gateways.books import Entry, Page, State, Subject
from worker.gateways.paypal.api import Api, read

REPORT = "/v1/reporting/transactions"
ONE = {Subject.CHARGE: "/v2/payments/captures", Subject.REFUND: "/v2/payments/refunds"}
PAGE = 500  # PayPal's largest
LONGEST = timedelta(days=31)  # of one call
SECOND = timedelta(seconds=1)
NOT_FOUND = 404
A_WHILE_S = 1800.0
# What event codes begin with: payments; refunds and reversals of them.
CODES = {Subject.CHARGE: "T00", Subject.REFUND: "T11"}
STATES = {"S": State.SUCCEEDED.value, "P": State.PENDING.value, "D": State.FAILED.value}
WORDS = {
    "COMPLETED": State.SUCCEEDED.value,
    "REFUNDED": State.SUCCEEDED.value,
    "PARTIALLY_REFUNDED": State.SUCCEEDED.value,
    "PENDING": State.PENDING.value,
}


class PayPalBook:
    """PayPal's report at `api_base`. Thread-safe; it only ever GETs."""

    provider = "paypal"
    is_newest_first = False

    def __init__(
        self, *, client_id: str, client_secret: str, api_base: str, timeout_s: float
    ) -> None:
        self._api = Api(
            client_id=client_id, client_secret=client_secret, base=api_base, timeout_s=timeout_s
        )

    def page(self, subject: Subject, *, start: datetime, end: datetime, after: str | None) -> Page:
        """Return the next page; `after` is where its stretch of 31 days begins, and its number."""
        begins, number = _place(start, after)
        stops = min(begins + LONGEST, end)
        query = {
            "start_date": _text_of(begins),
            # Both ends are of the window there; ours ends before it.
            "end_date": _text_of(stops - SECOND),
            "fields": "transaction_info",
            "page_size": str(PAGE),
            "page": str(number),
        }
        body = read("transactions.book", lambda: self._api.get(REPORT, query), lambda told, _: told)
        _check_reach(body, stops)
        entries = [
            _listed(subject, info)
            for info in (each["transaction_info"] for each in body.get("transaction_details") or [])
            if str(info.get("transaction_event_code", "")).startswith(CODES[subject])
        ]
        if number < int(body.get("total_pages") or 1):
            return Page(entries, f"{begins.isoformat()}|{number + 1}")
        return Page(entries, f"{stops.isoformat()}|1" if stops < end else None)

    def one(self, subject: Subject, object_id: str) -> Entry | None:
        """Return one capture or refund as it is now; None if PayPal does not know it."""
        if subject not in ONE:
            return None
        try:
            return read(
                f"{subject}s.look",
                lambda: self._api.get(f"{ONE[subject]}/{quote(object_id, safe='')}"),
                lambda body, _: _looked_up(subject, body),
            )
        except Rejected as refusal:
            if refusal.http_status != NOT_FOUND:
                raise
        return None

    def methods(self, customer: str) -> Sequence[Entry]:  # noqa: ARG002  it lists no customers
        """Return nothing: a vault has no customers that could be listed."""
        return ()


def _place(start: datetime, after: str | None) -> tuple[datetime, int]:
    if after is None:
        return start, 1
    begins, _, number = after.partition("|")
    return datetime.fromisoformat(begins), int(number)


def _check_reach(body: Mapping[str, Any], stops: datetime) -> None:
    """Refuse a page of a time that the report does not reach to yet."""
    told = body.get("last_refreshed_datetime")
    if not told or (reached := datetime.fromisoformat(told)) >= stops or stops > now():
        return
    raise Unavailable(
        message=f"PayPal's report knows nothing after {reached:%Y-%m-%d %H:%M} UTC yet.",
        code=LAGS,
        retry_after_s=A_WHILE_S,
    )


def cents_of(value: str) -> int:
    """Return hundredths of the main unit, without a sign; -1 where a row cannot hold it."""
    cents = abs(Decimal(value)) * 100
    return int(cents) if cents == cents.to_integral_value() else -1


def _listed(subject: Subject, info: Mapping[str, Any]) -> Entry:
    amount = info["transaction_amount"]
    is_charge = subject is Subject.CHARGE
    fee = cents_of(info["fee_amount"]["value"]) if info.get("fee_amount") else 0
    cents = cents_of(amount["value"])
    return Entry(
        subject=subject.value,
        id=info["transaction_id"],
        created=int(datetime.fromisoformat(info["transaction_initiation_date"]).timestamp()),
        cents=cents,
        currency=amount["currency_code"],
        state=STATES.get(info.get("transaction_status", ""), State.PENDING.value),
        transaction=_id_of(info.get("invoice_id")) if is_charge else "",
        of="" if is_charge else str(info.get("paypal_reference_id") or ""),
        taken=cents,
        fee=fee,
        oddity=_oddity(fee, cents) if is_charge else "",
    )


def _looked_up(subject: Subject, body: Mapping[str, Any]) -> Entry:
    is_charge = subject is Subject.CHARGE
    told = body.get("seller_receivable_breakdown") or {}
    fee = cents_of(told["paypal_fee"]["value"]) if told.get("paypal_fee") else 0
    cents = cents_of(body["amount"]["value"])
    related = (body.get("supplementary_data") or {}).get("related_ids") or {}
    return Entry(
        subject=subject.value,
        id=body["id"],
        created=int(datetime.fromisoformat(body["create_time"]).timestamp()),
        cents=cents,
        currency=body["amount"]["currency_code"],
        state=WORDS.get(body["status"], State.FAILED.value),
        transaction=_id_of(body.get("invoice_id")) if is_charge else "",
        intent=str(related.get("order_id") or ""),
        of="" if is_charge else _capture_of(body),
        settled=int(datetime.fromisoformat(body["update_time"]).timestamp()),
        taken=cents,
        fee=fee,
        oddity=_oddity(fee, cents) if is_charge else "",
    )


def _capture_of(body: Mapping[str, Any]) -> str:
    """Return the capture that a refund's link leads up to."""
    for link in body.get("links") or ():
        if link.get("rel") == "up":
            return str(link["href"]).rstrip("/").rsplit("/", 1)[-1]
    return ""


def _oddity(fee: int, cents: int) -> str:
    """Return why a fee is nobody's price: above 15 % and ten of the main unit."""
    return "the fee is higher than any price" if fee * 100 > cents * 15 + 100_000 else ""


def _id_of(told: object) -> str:
    return str(told or "").replace("-", "")


def _text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
