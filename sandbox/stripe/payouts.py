"""Payouts: what has gathered on the balance goes to the bank, a payout a currency."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import charges
from sandbox.stripe.book import new_id
from sandbox.stripe.call import Call, Params
from sandbox.stripe.errors import InvalidRequest, Object
from sandbox.stripe.listing import list_of, one_of

ARRIVES_AFTER_S = 2 * 24 * 60 * 60


def made(call: Call, body: dict[str, Any]) -> Object:
    """Pay out all of a currency that is in no payout yet; `short_by` leaves that much out."""
    currency = body.get("currency", "usd")
    moved = [
        each
        for each in call.book.newest_first("balance_transaction")
        if each["currency"] == currency and not each.get("payout") and each["type"] != "payout"
    ]
    total = sum(each["net"] for each in moved)
    if total <= 0:
        raise InvalidRequest(f"There is nothing to pay out in {currency}.", param="currency")
    amount = total - body.get("short_by", 0)
    now = call.book.now()
    payout: Object = {
        "id": new_id("payout"),
        "object": "payout",
        "amount": amount,
        "arrival_date": now + ARRIVES_AFTER_S,
        "automatic": True,
        "balance_transaction": None,
        "created": now,
        "currency": currency,
        "description": "STRIPE PAYOUT",
        "destination": None,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": {},
        "method": "standard",
        "original_payout": None,
        "reconciliation_status": "completed",
        "reversed_by": None,
        "source_type": "card",
        "statement_descriptor": None,
        "status": "paid",
        "type": "bank_account",
    }
    own = charges.moved(call, payout, -amount, kind="payout")
    payout["balance_transaction"] = own["id"]
    for each in (*moved, own):
        call.book.put(each | {"payout": payout["id"], "status": "available"})
    call.book.put(payout)
    call.happened("payout.paid", payout)
    return payout


def movements(call: Call, params: Params) -> Object:
    """List movements of the balance, also those of a payout."""
    shown = _movements(call, params)
    # What a movement was paid out by is asked for, and not told.
    told = [{name: each[name] for name in each if name != "payout"} for each in shown["data"]]
    return shown | {"data": told}


_movements = list_of(
    "balance_transaction", "balance_transactions", "currency", "payout", "source", "type"
)
retrieve = one_of("payout")
listed = list_of("payout", "payouts", "status")
