"""Stripe's customers in our words. Pure: plain mappings in, no I/O."""

from __future__ import annotations

from models.imported_customers import FoundCustomer, KeptMethod
from worker.gateways.base import CustomerPage
from worker.gateways.stripe.translate import Body, id_of, method_of


def customer_page(body: Body, _request_id: str = "") -> CustomerPage:
    """Return a page of customers; those that were deleted are not listed by Stripe."""
    found = list(body["data"])
    customers = tuple(customer_of(each) for each in found)
    return CustomerPage(customers, found[-1]["id"] if body["has_more"] and found else None)


def customer_of(body: Body) -> FoundCustomer:
    """Return a Customer in our words; an empty text for what Stripe does not know."""
    settings = body.get("invoice_settings") or {}
    tax_ids = (body.get("tax_ids") or {}).get("data") or ()
    return FoundCustomer(
        provider="stripe",
        provider_id=body["id"],
        name=body.get("name") or body.get("description") or "",
        email=body.get("email") or "",
        address={name: value for name, value in (body.get("address") or {}).items() if value},
        language=next(iter(body.get("preferred_locales") or ()), ""),
        tax_id=tax_ids[0]["value"] if tax_ids else "",
        currency=body.get("currency") or "",
        company_id=(body.get("metadata") or {}).get("company_id") or "",
        default_method=id_of(settings.get("default_payment_method")),
    )


def kept_method_of(body: Body) -> KeptMethod:
    """Return a PaymentMethod as an import takes it over."""
    told = method_of(body)
    return KeptMethod(
        provider_id=told.provider_id,
        type=told.type,
        last_four=told.last_four,
        brand=told.brand,
        exp_month=told.exp_month,
        exp_year=told.exp_year,
        fingerprint=told.fingerprint,
    )
