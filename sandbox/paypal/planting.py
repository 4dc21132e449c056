"""What a test plants in the book: transactions by the hundred, and of another day."""

from __future__ import annotations

from typing import Any

from sandbox.paypal import amounts, captures, payers
from sandbox.paypal.book import new_id
from sandbox.paypal.call import Call
from sandbox.paypal.errors import Object
from sandbox.paypal.reporting import MOST, TRAITS

Body = dict[str, Any]


def plant(call: Call, body: Body) -> Object:
    """Take money `count` times, by one order of nobody's asking and without an event.

    `at` is in seconds since 1970, now by default; `value`, `currency`, `fee`, `invoice_id` and
    `custom_id` are of each.
    """
    currency = body.get("currency", "USD")
    told: Object = {name: body[name] for name in ("invoice_id", "custom_id") if name in body}
    unit: Object = {"amount": amounts.money(amounts.of(_money(body, "value", "10.00")), currency)}
    unit |= told
    shown: Object = {"id": new_id(), "intent": "CAPTURE", "status": "COMPLETED"}
    shown |= {"purchase_units": [dict(unit)]}
    order = call.book.keep("order", shown, wallet={}, context={}, email=payers.PAYER)
    planted = [
        captures.kept(call, order["id"], unit, payers.WELL)["id"]
        for _ in range(body.get("count", 1))
    ]
    for each in planted:
        if "fee" in body:
            breakdown = call.book.get("capture", each)["shown"]["seller_receivable_breakdown"]
            breakdown["paypal_fee"] = amounts.money(
                amounts.of(_money(body, "fee", "0.00")), currency
            )
    call.book.get("order", order["id"])["shown"]["purchase_units"][0]["payments"] = {
        "captures": [captures.whole(call, call.book.get("capture", each)) for each in planted[:1]]
    }
    if "at" in body:
        date(call, {"ids": planted, "at": body["at"]})
    return {"order": order["id"], "ids": planted}


def _money(body: Body, name: str, otherwise: str) -> Object:
    return {"currency_code": body.get("currency", "USD"), "value": body.get(name, otherwise)}


def date(call: Call, body: Body) -> Object:
    """Have all of `ids`, of whatever kind, been made `at` that second, and not changed since."""
    moment = call.book.time(body["at"])
    for object_id in body["ids"]:
        record = call.book.known_record(object_id)
        record["created"] = body["at"]
        record["shown"] |= {"create_time": moment, "update_time": moment}
        for moved in record["shown"].get("money_movements", ()):
            moved["initiated_time"] = moment
        call.book.put(record)
    return {"ids": body["ids"], "at": body["at"]}


def report(call: Call, body: Body) -> Object:
    """Have the report refuse a search that finds more than `most`; 10,000 by default."""
    call.book.note(TRAITS, most=body.get("most", MOST))
    return call.book.known(TRAITS)
