"""The API: one blueprint a noun, each listed here."""

from __future__ import annotations

from web.api import auth, health, invoices, payment_methods, payments, refunds
from web.routes import Routes

BLUEPRINTS: tuple[Routes, ...] = (
    health.routes,
    auth.routes,
    invoices.routes,
    payments.routes,
    refunds.routes,
    payment_methods.routes,
)
