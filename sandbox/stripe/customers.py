"""Customers."""

from __future__ import annotations

from sandbox.stripe import payment_methods
from sandbox.stripe.book import new_id
from sandbox.stripe.call import Call, Params, merged_metadata
from sandbox.stripe.errors import Object, missing
from sandbox.stripe.listing import one_of, page

TOLD = ("address", "description", "email", "name", "phone", "shipping", "preferred_locales")


def create(call: Call, params: Params) -> Object:
    """Create a customer, with a first payment method where one is given."""
    object_id = new_id("customer")
    customer: Object = {
        "id": object_id,
        "object": "customer",
        "balance": 0,
        "created": call.book.now(),
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "discount": None,
        "invoice_prefix": object_id[-8:].upper(),
        "invoice_settings": _invoice_settings(params),
        "livemode": False,
        "metadata": merged_metadata({}, params.get("metadata")),
        "next_invoice_sequence": 1,
        "tax_exempt": params.get("tax_exempt") or "none",
        "test_clock": None,
    }
    customer |= {name: params.get(name) or None for name in TOLD}
    customer["preferred_locales"] = params.get("preferred_locales") or []
    call.book.put(customer)
    if given := params.get("tax_id_data"):
        call.book.note(object_id, tax_ids=[_tax_id(call, object_id, each) for each in given])
    call.happened("customer.created", customer)
    if token := params.get("payment_method"):
        payment_methods.attach(call, {"customer": object_id}, token)
    return customer


def _tax_id(call: Call, customer_id: str, given: Params) -> Object:
    return {
        "id": "txi_" + new_id("customer").partition("_")[2],
        "object": "tax_id",
        "country": given["value"][:2],
        "created": call.book.now(),
        "customer": customer_id,
        "livemode": False,
        "type": given["type"],
        "value": given["value"],
    }


def _invoice_settings(params: Params) -> Object:
    given = params.get("invoice_settings") or {}
    return {
        "custom_fields": None,
        "default_payment_method": given.get("default_payment_method") or None,
        "footer": given.get("footer") or None,
        "rendering_options": None,
    }


def living(call: Call, object_id: str, *, param: str = "customer") -> Object:
    """Return a customer that was not deleted."""
    customer = call.book.get("customer", object_id, param=param)
    if customer.get("deleted"):
        raise missing("customer", object_id, param=param)
    return customer


def update(call: Call, params: Params, object_id: str) -> Object:
    """Change what is told."""
    customer = living(call, object_id, param="id")
    before = {name: customer[name] for name in TOLD if name in params}
    customer |= {name: params[name] or None for name in TOLD if name in params}
    customer["metadata"] = merged_metadata(customer["metadata"], params.get("metadata"))
    if default := (params.get("invoice_settings") or {}).get("default_payment_method"):
        customer["invoice_settings"]["default_payment_method"] = default
    call.book.put(customer)
    call.happened("customer.updated", customer, before)
    return customer


def delete(call: Call, _params: Params, object_id: str) -> Object:
    """Delete a customer for good."""
    customer = living(call, object_id, param="id")
    call.happened("customer.deleted", customer)
    for method in list(call.book.newest_first("payment_method", customer=object_id)):
        payment_methods.detach(call, {}, method["id"])
    stub = {key: customer[key] for key in ("id", "object")} | {"deleted": True}
    return call.book.put(stub)


def methods(call: Call, params: Params, object_id: str) -> Object:
    """List the payment methods of a customer."""
    living(call, object_id, param="id")
    url = f"/v1/customers/{object_id}/payment_methods"
    return page(
        call.book, "payment_method", params, url=url, customer=object_id, type=params.get("type")
    )


def method(call: Call, _params: Params, object_id: str, method_id: str) -> Object:
    """Return one payment method of a customer."""
    found = call.book.get("payment_method", method_id, param="payment_method")
    if found["customer"] != object_id:
        raise missing("payment_method", method_id, param="payment_method")
    return found


retrieve = one_of("customer")


def listed(call: Call, params: Params) -> Object:
    """List the customers that were not deleted."""
    return page(
        call.book,
        "customer",
        params,
        url="/v1/customers",
        fits=lambda customer: not customer.get("deleted"),
        email=params.get("email"),
    )
