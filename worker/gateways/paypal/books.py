"""PayPal's books: its transaction report, up to three hours late, and its list of disputes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from models.clock import now
from worker.gateways.base import Rejected
from worker.gateways.books import Entry, Page, State, Subject
from worker.gateways.paypal import report
from worker.gateways.paypal.answering import DISPUTES
from worker.gateways.paypal.api import Api, read
from worker.gateways.paypal.disputes import custom_id_in, dispute_of
from worker.gateways.paypal.report import Place, made_at, text_of
from worker.gateways.paypal.translate import metadata_of

ONE = {
    Subject.CHARGE: "/v2/payments/captures",
    Subject.REFUND: "/v2/payments/refunds",
    Subject.DISPUTE: DISPUTES,
}
DISPUTES_PAGE = 50  # PayPal's largest
DISPUTES_KEPT = timedelta(days=180) - timedelta(hours=1)  # PayPal's limit, less a clock's error
NOT_FOUND = 404
# A payment's event codes begin with it. Of what goes back only refunds are read: a reversal (T1106)
# is booked by its dispute where there is one, so it must not be taken for a refund that we lack.
PAYMENT = "T00"
REFUNDED = frozenset({"T1107"})
# V is a payment that was taken and went back whole.
STATES = {
    "S": State.SUCCEEDED.value,
    "V": State.SUCCEEDED.value,
    "P": State.PENDING.value,
    "D": State.FAILED.value,
}
WHOLLY_BACK = "REFUNDED"
WORDS = {
    "COMPLETED": State.SUCCEEDED.value,
    WHOLLY_BACK: State.SUCCEEDED.value,
    "PARTIALLY_REFUNDED": State.SUCCEEDED.value,
    "PENDING": State.PENDING.value,
}

Body = Mapping[str, Any]


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
        """Return the next page; disputes are listed newest first, and of 180 days only."""
        if subject is Subject.DISPUTE:
            return self._disputes(start, end, after)
        place = Place(start) if after is None else Place.of(after)
        infos, going = report.page(self._api, place, end)
        entries = [_listed(subject, info) for info in infos if _is_of(subject, info)]
        return Page(entries, None if going is None else str(going))

    def one(self, subject: Subject, object_id: str) -> Entry | None:
        """Return one object as it is now; None if PayPal does not know it."""
        if subject not in ONE:
            return None
        try:
            return read(
                f"{subject}s.look",
                lambda: self._api.get(f"{ONE[subject]}/{quote(object_id, safe='')}"),
                lambda body, _: (
                    _dispute(body) if subject is Subject.DISPUTE else _looked_up(subject, body)
                ),
            )
        except Rejected as refusal:
            if refusal.http_status != NOT_FOUND:
                raise
        return None

    def methods(self, customer: str) -> Sequence[Entry]:  # noqa: ARG002  it lists no customers
        """Return nothing: a vault has no customers that could be listed."""
        return ()

    def _disputes(self, start: datetime, end: datetime, after: str | None) -> Page:
        earliest = max(start, now() - DISPUTES_KEPT)
        if earliest >= end:
            return Page([], None)
        query = {"start_time": text_of(earliest), "page_size": str(DISPUTES_PAGE)}
        if after is not None:
            query["next_page_token"] = after
        body = read("disputes.list", lambda: self._api.get(DISPUTES, query), lambda body, _: body)
        entries = [_dispute(each) for each in body.get("items") or ()]
        until = int(end.timestamp())
        return Page([each for each in entries if each.created < until], _token_in(body))


def cents_of(value: str) -> int:
    """Return hundredths of the main unit, without a sign; -1 where a row cannot hold it."""
    cents = abs(Decimal(value)) * 100
    return int(cents) if cents == cents.to_integral_value() else -1


def _is_of(subject: Subject, info: Body) -> bool:
    """Whether money came by it, or went back; what we pay and what is only held are neither."""
    code = str(info.get("transaction_event_code", ""))
    is_ours = Decimal(info["transaction_amount"]["value"]) < 0
    if subject is Subject.CHARGE:
        return code.startswith(PAYMENT) and not is_ours
    return code in REFUNDED and is_ours


def _listed(subject: Subject, info: Body) -> Entry:
    amount = info["transaction_amount"]
    fee = cents_of(info["fee_amount"]["value"]) if info.get("fee_amount") else 0
    cents = cents_of(amount["value"])
    is_of_one = info.get("paypal_reference_id_type") == "TXN"
    return Entry(
        subject=subject.value,
        id=info["transaction_id"],
        created=int(made_at(info).timestamp()),
        cents=cents,
        currency=amount["currency_code"],
        state=STATES.get(info.get("transaction_status", ""), State.PENDING.value),
        of=str(info.get("paypal_reference_id") or "") if is_of_one else "",
        taken=cents,
        fee=fee,
        oddity=_oddity(subject, fee, cents),
        **_ids_in(subject, info.get("custom_field"), info.get("invoice_id")),
    )


def _looked_up(subject: Subject, body: Body) -> Entry:
    told = body.get("seller_receivable_breakdown") or {}
    fee = cents_of(told["paypal_fee"]["value"]) if told.get("paypal_fee") else 0
    cents = cents_of(body["amount"]["value"])
    related = (body.get("supplementary_data") or {}).get("related_ids") or {}
    return Entry(
        subject=subject.value,
        id=body["id"],
        created=_seconds(body["create_time"]),
        cents=cents,
        currency=body["amount"]["currency_code"],
        state=WORDS.get(body["status"], State.FAILED.value),
        intent=str(related.get("order_id") or ""),
        of="" if subject is Subject.CHARGE else _capture_of(body),
        settled=_seconds(body["update_time"]),
        taken=cents,
        returned=cents if body["status"] == WHOLLY_BACK else 0,
        fee=fee,
        oddity=_oddity(subject, fee, cents),
        **_ids_in(subject, body.get("custom_id"), body.get("invoice_id")),
    )


def _dispute(body: Body) -> Entry:
    """Return a dispute; a list does not tell how one has ended, so its state is PayPal's word."""
    told = dispute_of(body)
    created = _seconds(body["create_time"])
    transaction = (body.get("disputed_transactions") or [{}])[0]
    return Entry(
        subject=Subject.DISPUTE.value,
        id=told.provider_id,
        created=created,
        cents=int(told.money.amount * 100),
        currency=told.money.currency,
        state=told.state.value if told.state else str(body.get("status") or "").lower(),
        of=told.charge_id,
        settled=_seconds(body["update_time"]) if body.get("update_time") else created,
        **_ids_in(Subject.CHARGE, custom_id_in(body), transaction.get("invoice_number")),
    )


def _ids_in(subject: Subject, custom_id: str | None, invoice_id: str | None) -> dict[str, Any]:
    """Return our ids as an object carries them."""
    ids = metadata_of(custom_id)
    # A refund carries the payment's invoice, or one of its own.
    invoice = invoice_id if subject is Subject.CHARGE else ""
    return {
        "transaction": _id_of(invoice or ids.get("transaction_id")),
        "company": _id_of(ids.get("company_id")),
        "row": _id_of(ids.get("refund_id")),
    }


def _capture_of(body: Body) -> str:
    """Return the capture that a refund's link leads up to."""
    for link in body.get("links") or ():
        if link.get("rel") == "up":
            return str(link["href"]).rstrip("/").rsplit("/", 1)[-1]
    return ""


def _token_in(body: Body) -> str | None:
    """Return what the link to the next page asks by; None on the last."""
    for link in body.get("links") or ():
        if link.get("rel") == "next":
            return str(parse_qs(urlsplit(link["href"]).query)["next_page_token"][0])
    return None


def _oddity(subject: Subject, fee: int, cents: int) -> str:
    """Return why a payment's fee is nobody's price: above 15 % and ten of the main unit."""
    is_odd = subject is Subject.CHARGE and fee * 100 > cents * 15 + 100_000
    return "the fee is higher than any price" if is_odd else ""


def _id_of(told: object) -> str:
    return str(told or "").replace("-", "")


def _seconds(told: str) -> int:
    moment = datetime.fromisoformat(told)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
