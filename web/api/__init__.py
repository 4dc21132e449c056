"""The API: one blueprint a noun, each listed here."""

from __future__ import annotations

from web.api import (
    alerts,
    auth,
    bank_transfers,
    cancels,
    captures,
    dead_letters,
    disputes,
    dunning,
    health,
    invoices,
    operations,
    payment_methods,
    payments,
    refunds,
    relay,
    retries,
    reviews,
    timelines,
    webhook_events,
)
from web.routes import Routes

BLUEPRINTS: tuple[Routes, ...] = (
    health.routes,
    auth.routes,
    invoices.routes,
    payments.routes,
    captures.routes,
    cancels.routes,
    retries.routes,
    dunning.routes,
    refunds.routes,
    bank_transfers.routes,
    disputes.routes,
    payment_methods.routes,
    alerts.routes,
    alerts.operators,
    operations.routes,
    dead_letters.routes,
    webhook_events.routes,
    reviews.routes,
    timelines.routes,
    relay.routes,
)
