"""All tables, imported, so that the metadata is whole."""

from __future__ import annotations

from models import (  # noqa: F401  each enters its tables by being imported
    alerts,
    cursors,
    disputes,
    idempotency,
    invoices,
    ledger,
    methods,
    notifications,
    operations,
    outbox,
    policies,
    refunds,
    tenants,
    timeline,
    transactions,
    webhooks,
)
from models.base import Base

METADATA = Base.metadata
