"""Stripe's subscriptions in our words. Pure: plain mappings in, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from models.subscriptions import SubscriptionStatus
from worker.gateways.base import SubscriptionAnswer
from worker.gateways.stripe.translate import Body, id_of

# What its first payment has not begun is unpaid by nobody yet; one that never will has ended.
STATUSES = {
    **{status.value: status for status in SubscriptionStatus},
    "incomplete": SubscriptionStatus.PAST_DUE,
    "incomplete_expired": SubscriptionStatus.CANCELED,
}


def subscription_of(body: Body, request_id: str = "") -> SubscriptionAnswer:  # noqa: ARG001  as all translations are called
    """Return a Subscription in our words. A status that is new to us counts as active."""
    items = (body.get("items") or {}).get("data") or [{}]
    status = STATUSES.get(body["status"], SubscriptionStatus.ACTIVE)
    if body.get("pause_collection") and status == SubscriptionStatus.ACTIVE:
        status = SubscriptionStatus.PAUSED
    # Before 2025 the period stood with the subscription, and now with its items.
    start, end = (
        items[0].get(name) or body.get(name) or body["start_date"]
        for name in ("current_period_start", "current_period_end")
    )
    return SubscriptionAnswer(
        provider_id=body["id"],
        status=status,
        customer=id_of(body.get("customer")),
        currency=body["currency"].upper(),
        seats=items[0].get("quantity") or 1,
        current_period_start=datetime.fromtimestamp(start, UTC),
        current_period_end=datetime.fromtimestamp(end, UTC),
        trial_ends_at=_moment(body, "trial_end"),
        cancel_at_period_end=bool(body.get("cancel_at_period_end")),
        canceled_at=_moment(body, "canceled_at"),
        ended_at=_moment(body, "ended_at"),
        metadata=dict(body.get("metadata") or {}),
    )


def _moment(body: Mapping[str, Any], name: str) -> datetime | None:
    value = body.get(name)
    return datetime.fromtimestamp(value, UTC) if value else None
