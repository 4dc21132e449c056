"""Subscriptions, as far as their events and answers go: nothing is invoiced here."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime

from sandbox.stripe import customers
from sandbox.stripe.book import new_id
from sandbox.stripe.call import Call, Params, merged_metadata
from sandbox.stripe.errors import InvalidRequest, Object, wrong_state
from sandbox.stripe.listing import list_of, one_of

DAY_S = 24 * 60 * 60
MONTHS = {"month": 1, "year": 12}


def create(call: Call, params: Params) -> Object:
    """Begin a subscription: in a trial, or active at once."""
    customer = customers.living(call, params.get("customer") or "")
    asked = params.get("items") or []
    if not asked:
        raise InvalidRequest("Missing required param: items.", param="items")
    moment = call.book.now()
    trial_end = _trial_end(params, moment)
    subscription: Object = {
        "id": new_id("subscription"),
        "object": "subscription",
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": trial_end or moment,
        "billing_mode": {"type": "flexible"},
        "billing_schedules": [],
        "cancel_at": None,
        "cancel_at_period_end": bool(params.get("cancel_at_period_end")),
        "canceled_at": None,
        "collection_method": "charge_automatically",
        "created": moment,
        "currency": (params.get("currency") or "usd").lower(),
        "customer": customer["id"],
        "default_payment_method": params.get("default_payment_method") or None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"issuer": {"type": "self"}},
        "latest_invoice": None,
        "livemode": False,
        "metadata": merged_metadata({}, params.get("metadata")),
        "pause_collection": None,
        "start_date": moment,
        "status": "trialing" if trial_end else "active",
        "trial_end": trial_end,
        "trial_start": moment if trial_end else None,
    }
    end = trial_end or _period_end(moment, asked[0])
    items = [_item(call, subscription, each, moment, end) for each in asked]
    subscription["items"] = {
        "object": "list",
        "data": items,
        "has_more": False,
        "url": f"/v1/subscription_items?subscription={subscription['id']}",
    }
    call.book.put(subscription)
    call.happened("customer.subscription.created", subscription)
    return subscription


def _trial_end(params: Params, moment: int) -> int | None:
    if days := params.get("trial_period_days"):
        return moment + int(days) * DAY_S
    until = params.get("trial_end")
    return int(until) if until and until != "now" else None


def _period_end(moment: int, item: Params) -> int:
    every = (item.get("price_data") or {}).get("recurring") or {}
    start = datetime.fromtimestamp(moment, UTC)
    months = MONTHS.get(every.get("interval", "month"), 1) * int(every.get("interval_count") or 1)
    years, month = divmod(start.month - 1 + months, 12)
    year = start.year + years
    day = min(start.day, monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def _item(call: Call, subscription: Object, asked: Params, start: int, end: int) -> Object:
    price = asked.get("price_data") or {}
    every = price.get("recurring") or {}
    same = {
        "active": True,
        "billing_scheme": "per_unit",
        "created": call.book.now(),
        "currency": price.get("currency") or subscription["currency"],
        "livemode": False,
        "metadata": {},
        "product": price.get("product") or "prod_sandbox",
    }
    interval, count = every.get("interval", "month"), int(every.get("interval_count") or 1)
    price_id = asked.get("price") or f"price_{subscription['id'][4:]}"
    amount = price.get("unit_amount")
    return {
        "id": f"si_{subscription['id'][4:]}",
        "object": "subscription_item",
        "created": call.book.now(),
        "current_period_end": end,
        "current_period_start": start,
        "discounts": [],
        "metadata": {},
        "plan": {
            **same,
            "id": price_id,
            "object": "plan",
            "amount": amount,
            "interval": interval,
            "interval_count": count,
            "usage_type": "licensed",
        },
        "price": {
            **same,
            "id": price_id,
            "object": "price",
            "recurring": {
                "interval": interval,
                "interval_count": count,
                "meter": None,
                "usage_type": "licensed",
            },
            "type": "recurring",
            "unit_amount": amount,
        },
        "quantity": int(asked.get("quantity") or 1),
        "subscription": subscription["id"],
    }


def update(call: Call, params: Params, object_id: str) -> Object:
    """Change quantities, metadata, and whether it ends with its period."""
    subscription = _living(call, object_id)
    before: Object = {
        name: subscription[name] for name in ("cancel_at_period_end", "metadata") if name in params
    }
    subscription["metadata"] = merged_metadata(subscription["metadata"], params.get("metadata"))
    if "cancel_at_period_end" in params:
        is_ending = bool(params["cancel_at_period_end"])
        subscription["cancel_at_period_end"] = is_ending
        subscription["canceled_at"] = call.book.now() if is_ending else None
    for asked, item in zip(params.get("items") or [], subscription["items"]["data"], strict=False):
        if "quantity" in asked:
            item["quantity"] = int(asked["quantity"])
    return _told(call, subscription, "updated", before)


def cancel(call: Call, _params: Params, object_id: str) -> Object:
    """End it now."""
    subscription = _living(call, object_id)
    moment = call.book.now()
    subscription |= {"status": "canceled", "canceled_at": moment, "ended_at": moment}
    return _told(call, subscription, "deleted")


def moved(call: Call, subscription: Object, status: str) -> Object:
    """Have it stand otherwise, as when its own invoices are paid or not; or tell its trial's end.

    Raises:
        InvalidRequest: there is no such status.
    """
    if status == "trial_will_end":
        return _told(call, subscription, "trial_will_end")
    kinds = {"paused": "paused", "active": "updated", "past_due": "updated", "unpaid": "updated"}
    if status not in kinds:
        raise InvalidRequest(f"A subscription has no status {status}.", param="status")
    kind = "resumed" if subscription["status"] == "paused" else kinds[status]
    before = {"status": subscription["status"]}
    subscription["status"] = status
    return _told(call, subscription, kind, before)


def _living(call: Call, object_id: str) -> Object:
    subscription = call.book.get("subscription", object_id)
    if subscription["status"] == "canceled":
        raise wrong_state("A canceled subscription can only update its metadata.")
    return subscription


def _told(call: Call, subscription: Object, kind: str, before: Object | None = None) -> Object:
    call.book.put(subscription)
    call.happened(f"customer.subscription.{kind}", subscription, before)
    return subscription


listed = list_of("subscription", "subscriptions", "customer", "status")
retrieve = one_of("subscription")
