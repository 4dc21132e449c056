"""The search for transactions: what moved the account's balance, as late as a fault says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from sandbox.paypal import amounts, payers
from sandbox.paypal.bodies import TransactionQuery
from sandbox.paypal.book import seconds
from sandbox.paypal.call import Call
from sandbox.paypal.disputes import CHARGEBACK
from sandbox.paypal.errors import ApiError, Object, refused
from sandbox.paypal.faults import REPORTING

PATH = "/v1/reporting/transactions"
LONGEST_S = 31 * 24 * 60 * 60
MOST = 10_000  # records of one search
TRAITS = "reporting"  # where the desk notes another limit
PAYMENT, REFUND, REVERSAL = "T0006", "T1107", "T1106"
CHARGED_BACK, GIVEN_BACK, CHARGEBACK_FEE = "T1201", "T1202", "T0106"
STATUSES = {
    "CANCELLED": "D",
    "COMPLETED": "S",
    "DECLINED": "D",
    "FAILED": "D",
    "PARTIALLY_REFUNDED": "S",
    "PENDING": "P",
    "REFUNDED": "V",
}
TOO_LARGE = "RESULTSET_TOO_LARGE"
TOO_LARGE_TOLD = (
    "Result set size is greater than the maximum limit. Change the filter criteria and try again."
)


def listed(call: Call, query: TransactionQuery) -> Object:
    """List the transactions of at most 31 days, oldest first."""
    start, end = seconds(query.start_date), seconds(query.end_date)
    if not 0 <= end - start <= LONGEST_S:
        raise refused(
            "INVALID_DATE_RANGE",
            status=400,
            field="end_date",
            value=query.end_date,
            location="query",
        )
    fault = call.faults.take(REPORTING, "POST", PATH)
    refreshed = call.book.now() - int(fault.delay_s if fault else 0)
    until = call.book.time(int(min(end, refreshed)))
    found = [
        info
        for info in _transactions(call, query.start_date, until)
        if query.transaction_id in (None, info["transaction_id"])
        and query.transaction_type in (None, info["transaction_event_code"])
        and query.transaction_status in (None, info["transaction_status"])
        and query.transaction_currency in (None, info["transaction_amount"]["currency_code"])
    ]
    if len(found) > call.book.known(TRAITS).get("most", MOST):
        raise ApiError(400, name=TOO_LARGE, message=TOO_LARGE_TOLD)
    first = (query.page - 1) * query.page_size
    pages = -(-len(found) // query.page_size)
    shown: Object = {
        "transaction_details": [
            {"transaction_info": info} for info in found[first : first + query.page_size]
        ],
        "account_number": "MERCHANT23456",
        "start_date": query.start_date,
        "end_date": query.end_date,
        "last_refreshed_datetime": call.book.time(refreshed),
        "page": query.page,
        "total_items": len(found),
        "total_pages": pages,
        "links": [_page(call, query, query.page, "self")],
    }
    if query.page < pages:
        shown["links"].append(_page(call, query, query.page + 1, "next"))
    return {"shown": shown}


def _page(call: Call, query: TransactionQuery, page: int, rel: str) -> Object:
    told = query.model_dump(exclude_none=True) | {"page": page}
    return call.link(f"{PATH}?{urlencode(told)}", rel)


def _transactions(call: Call, start: str, end: str) -> Iterator[Object]:
    moved = [
        *call.book.within("refund", start, end),
        *call.book.within("capture", start, end),
    ]
    # Sorting keeps those of one second as they are: in the order that they were made.
    moved.reverse()
    listed = [
        _payment(call, record) if record["object"] == "capture" else _back(call, record)
        for record in moved
        if record["object"] == "capture" or not _is_charged_back(call, record)
    ]
    low, high = seconds(start), seconds(end)
    for record in call.book.after("dispute", 0):
        listed += [
            info
            for info in _chargeback(call, record)
            if low <= seconds(info["transaction_initiation_date"]) <= high
        ]
    yield from sorted(listed, key=lambda info: str(info["transaction_initiation_date"]))


def _is_charged_back(call: Call, refund: Object) -> bool:
    """Whether the money of a reversal is listed as a chargeback's."""
    disputes = call.book.newest_first("dispute", capture=refund["capture"])
    stages = {each["shown"]["dispute_life_cycle_stage"] for each in disputes}
    return refund["is_reversal"] and CHARGEBACK in stages


def _chargeback(call: Call, dispute: Object) -> Iterator[Object]:
    """Yield what a chargeback has moved: the amount, its fee, and the amount if it is won."""
    if dispute["shown"]["dispute_life_cycle_stage"] != CHARGEBACK:
        return
    capture = call.book.get("capture", dispute["capture"])["shown"]
    for number, moved in enumerate(dispute["shown"]["money_movements"]):
        is_debit = moved["type"] == "DEBIT"
        code = CHARGED_BACK if is_debit else GIVEN_BACK
        if moved["reason"] == "CHARGEBACK_FEE":
            code = CHARGEBACK_FEE
        shown = {
            "amount": moved["amount"],
            "status": "COMPLETED",
            "create_time": moved["initiated_time"],
            "update_time": moved["initiated_time"],
            "invoice_id": capture.get("invoice_id"),
            "custom_id": capture.get("custom_id"),
        }
        digest = hashlib.sha256(f"{dispute['id']}:{number}".encode()).hexdigest()
        yield _info(
            {"id": digest[:17].upper(), "shown": shown},
            sign=-1 if is_debit else 1,
            fee=Decimal(0),
            paypal_reference_id=dispute["capture"],
            paypal_reference_id_type="TXN",
            transaction_event_code=code,
        )


def _payment(call: Call, record: Object) -> Object:
    breakdown = record["shown"].get("seller_receivable_breakdown", {})
    fee = amounts.of(breakdown["paypal_fee"]) if breakdown else Decimal(0)
    more = {
        "paypal_reference_id": record["order"],
        "paypal_reference_id_type": "ODR",
        "transaction_event_code": PAYMENT,
        "paypal_account_id": payers.payer_id(call.book.get("order", record["order"])["email"]),
    }
    return _info(record, sign=1, fee=fee, **more)


def _back(_call: Call, record: Object) -> Object:
    more = {
        "paypal_reference_id": record["capture"],
        "paypal_reference_id_type": "TXN",
        "transaction_event_code": REVERSAL if record["is_reversal"] else REFUND,
    }
    return _info(record, sign=-1, fee=Decimal(0), **more)


def _info(record: Object, *, sign: int, fee: Decimal, **more: Any) -> Object:
    shown = record["shown"]
    currency, amount = shown["amount"]["currency_code"], amounts.of(shown["amount"])
    info: Object = {
        "transaction_id": record["id"],
        "transaction_initiation_date": shown["create_time"],
        "transaction_updated_date": shown["update_time"],
        "transaction_amount": amounts.money(sign * amount, currency),
        "transaction_status": STATUSES[shown["status"]],
    }
    if fee:
        info["fee_amount"] = amounts.money(-fee, currency)
    told = {"invoice_id": shown.get("invoice_id"), "custom_field": shown.get("custom_id")}
    return info | more | {name: text for name, text in told.items() if text}
