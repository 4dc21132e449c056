"""All tables, imported, so that the metadata is whole."""

from __future__ import annotations

from models import (  # noqa: F401  each enters its tables by being imported
    alerts,
    analytics_events,
    analytics_producers,
    breaks,
    credit_notes,
    cursors,
    daily_metrics,
    deliveries,
    disputes,
    endpoints,
    exports,
    fx,
    idempotency,
    imports,
    invoices,
    ledger,
    mail,
    methods,
    modules,
    notifications,
    operations,
    outbox,
    payouts,
    plans,
    policies,
    portal,
    preferences,
    reconciliations,
    refunds,
    reports,
    subscriptions,
    tenants,
    timeline,
    transactions,
    usage,
    webhooks,
)
from models.base import Base

METADATA = Base.metadata
