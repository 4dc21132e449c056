"""Every letter there is: whether one may do without it, what goes with it, and a sample.

A sample holds the arguments that the notice carries, named as they are where it is owed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_INVOICE = "01970000-0000-7000-8000-000000000001"
_PAYMENT: dict[str, Any] = {"invoice_id": _INVOICE, "amount": "1234.50", "currency": "INR"}
_DECLINE = {**_PAYMENT, "action": "contact_bank", "retry_at": None}
_CARD = {
    "last_four": "4242",
    "brand": "visa",
    "exp_month": 12,
    "exp_year": 2026,
    "is_default": True,
}


@dataclass(frozen=True)
class Template:
    """One letter.

    Attributes:
        entity: what it is about, as the notification names it.
        is_optional: whether its recipient may do without it. Letters about money that was or was
            not paid, and what must be answered in time, nobody can switch off.
        has_invoice: whether the invoice goes with it as a PDF.
        is_for_company: it goes to the company's own address alone, not to its people.
    """

    about: str
    entity: str
    sample: Mapping[str, Any]
    is_optional: bool = False
    has_invoice: bool = False
    is_for_company: bool = False


TEMPLATES: dict[str, Template] = {
    "payment_succeeded": Template(
        "A receipt.", "transaction", {**_PAYMENT, "paid_at": "2026-11-23T10:00:00+00:00"}
    ),
    "payment_failed": Template("A payment failed for good.", "transaction", _DECLINE),
    "retry_scheduled": Template(
        "A payment failed and is tried again.",
        "transaction",
        {**_DECLINE, "action": "add_funds", "retry_at": "2026-11-24T10:00:00+00:00"},
    ),
    "retries_exhausted": Template(
        "A payment failed each time that it was tried.",
        "transaction",
        {**_DECLINE, "action": "use_another_method"},
    ),
    "card_needs_update": Template(
        "A payment failed for its card's details.",
        "transaction",
        {**_DECLINE, "action": "update_card"},
    ),
    "payment_recovered": Template("A payment that had failed was made.", "transaction", _PAYMENT),
    "card_expiring": Template("A card ends soon.", "payment_method", _CARD, is_optional=True),
    "card_expired": Template("A card has ended.", "payment_method", _CARD, is_optional=True),
    "invoice_issued": Template(
        "A new invoice.",
        "invoice",
        {
            "invoice_number": "INV-000042",
            "amount": "1234.50",
            "currency": "INR",
            "due_on": "2026-12-31",
        },
        has_invoice=True,
    ),
    "credit_note_issued": Template(
        "A new credit note.",
        "credit_note",
        {
            "credit_note_number": "CN-000007",
            "invoice_number": "INV-000042",
            "amount": "100.00",
            "currency": "INR",
        },
    ),
    "dispute_opened": Template(
        "A bank asks for money back.",
        "dispute",
        {
            "transaction_id": _INVOICE,
            "amount": "1234.50",
            "currency": "INR",
            "reason": "product_not_received",
            "evidence_due_at": "2026-12-01T23:59:59+00:00",
        },
    ),
    "dispute_due_soon": Template(
        "A dispute is to be answered soon.",
        "dispute",
        {"evidence_due_at": "2026-12-01T23:59:59+00:00"},
    ),
    "usage_alert": Template(
        "A module's use has reached a threshold.",
        "module_usage_total",
        {
            "module_id": _INVOICE,
            "code": "api",
            "name": "API calls",
            "unit": "calls",
            "usage": "80000",
            "threshold": "80000",
            "level": "warning",
            "hard_limit": "100000",
            "period_start": "2026-11-01T00:00:00+00:00",
            "period_end": "2026-12-01T00:00:00+00:00",
        },
        is_optional=True,
    ),
    "trial_ending": Template(
        "A trial ends soon.",
        "subscription",
        {"plan": "Team", "ends_at": "2026-12-01T00:00:00+00:00"},
        is_optional=True,
    ),
    "subscription_canceled": Template(
        "A subscription has ended.",
        "subscription",
        {"plan": "Team", "ended_at": "2026-12-01T00:00:00+00:00"},
    ),
    "payment_link": Template(
        "A new link to pay an invoice, as the old one had ended.",
        "invoice",
        {"invoice_id": _INVOICE},
        is_for_company=True,
    ),
    "portal_link": Template(
        "A new link to the portal, as the old one had ended.",
        "portal",
        {},
        is_for_company=True,
    ),
    "report_ready": Template(
        "A report that the clock asks for is there.",
        "analytics_report",
        {
            "name": "Revenue by month",
            "from": "2026-10-01",
            "to": "2026-10-31",
            "rows": 31,
            "report_id": _INVOICE,
        },
        is_optional=True,
    ),
    "reconciliation_breaks": Template(
        "A provider's book and ours differ by more than they may.",
        "reconciliation_run",
        {"provider": "Stripe", "count": 12, "sums": "1234.50 INR, 20.00 EUR", "run_id": _INVOICE},
    ),
    "endpoint_disabled": Template(
        "A webhook endpoint was given up.",
        "endpoint",
        {
            "host": "hooks.example.com",
            "reason": "failing",
            "failing_since": "2026-11-20T10:00:00+00:00",
        },
    ),
}


def is_optional(template: str) -> bool:
    """Whether its recipient may do without a letter; what is not known is not optional."""
    return template in TEMPLATES and TEMPLATES[template].is_optional
