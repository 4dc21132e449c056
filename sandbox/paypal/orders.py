"""Orders: created, approved by the payer or paid by a vaulted token, captured once."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from sandbox.paypal import amounts, captures, payers, vault
from sandbox.paypal.bodies import (
    CaptureRequest,
    Nothing,
    OrderRequest,
    Patch,
    PaymentSource,
    PurchaseUnit,
)
from sandbox.paypal.book import new_id
from sandbox.paypal.call import Call
from sandbox.paypal.errors import Object, invalid, refused
from sandbox.paypal.faults import PAYMENTS
from sandbox.paypal.payers import Fate

PATH = "/v2/checkout/orders"
APPROVABLE = frozenset({"APPROVED", "CREATED", "PAYER_ACTION_REQUIRED"})
BACK_TO_PAYER = frozenset(
    {"INSTRUMENT_DECLINED", "PAYER_ACTION_REQUIRED", "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING"}
)
PATCHABLE = re.compile(
    r"^/purchase_units/@reference_id=='(?P<unit>[^']+)'"
    r"/(?P<name>amount|custom_id|description|invoice_id)$"
)


def create(call: Call, body: OrderRequest) -> Object:
    """Create an order; one with a vaulted token is captured at once, unless its payer must act."""
    source = body.payment_source
    if source and not call.request_id:
        raise refused("PAYPAL_REQUEST_ID_REQUIRED", status=400)
    if body.intent != "CAPTURE":
        raise refused("UNSUPPORTED_INTENT_FOR_PAYMENT_SOURCE", field="/intent", value=body.intent)
    if len(body.purchase_units) > 1:
        raise refused("NOT_SUPPORTED", status=400, field="/purchase_units/1", location="body")
    unit = {"reference_id": "default"} | body.purchase_units[0].said()
    unit["amount"] = _checked(unit["amount"])
    wallet = source.paypal.said() if source and source.paypal else {}
    context = body.application_context.said() if body.application_context else {}
    context |= wallet.get("experience_context", {})
    order_id = new_id()
    shown: Object = {
        "id": order_id,
        "intent": body.intent,
        "status": "PAYER_ACTION_REQUIRED" if source else "CREATED",
        "purchase_units": [unit | {"payee": captures.payee(call)}],
        "create_time": call.book.time(),
        "update_time": call.book.time(),
    }
    if wallet:
        known = {"email_address": wallet["email_address"]} if "email_address" in wallet else {}
        shown["payment_source"] = {"paypal": known}
    paid_by = None
    if token_id := _token_of(source):
        email, fate = vault.payer_of(call, token_id)
        fate = _judged(call, PATH, unit, fate)
        if fate.issue not in (None, "PAYER_ACTION_REQUIRED"):
            raise refused(fate.issue)
        paid_by = (email, fate) if fate.issue is None else None
    order = call.book.keep("order", shown, wallet=wallet, context=context, email=None)
    return _paid(call, order, *paid_by) if paid_by else order


def _checked(money: Object) -> Object:
    amount = amounts.checked(money, field="/purchase_units/0/amount")
    return amounts.money(amount, money["currency_code"])


def _token_of(source: PaymentSource | None) -> str | None:
    if source and source.token:
        return source.token.id
    return source.paypal.vault_id if source and source.paypal else None


def _judged(call: Call, path: str, unit: Object, fate: Fate) -> Fate:
    """Return how a payment ends: as its payer's do, or as a fault says."""
    captures.check_invoice(call, unit.get("invoice_id"))
    fault = call.faults.take(PAYMENTS, "POST", path)
    if fault is None:
        return fate
    if fault.kind == "capture_pending":
        return Fate(is_pending=True)
    return Fate(issue=fault.decline_code or "INSTRUMENT_DECLINED")


def _paid(call: Call, order: Object, email: str, fate: Fate) -> Object:
    unit = order["shown"]["purchase_units"][0]
    order["email"], wallet = email, payers.wallet(email)
    capture = captures.made(call, order["id"], unit, fate)
    instruction = order["wallet"].get("attributes", {})
    is_kept = "vault_id" not in order["wallet"] and "vault" in instruction
    if is_kept and capture["shown"]["status"] != "DECLINED":
        wallet["attributes"] = {"vault": _vaulted(call, email, instruction)}
    return call.book.changed(
        order, status="COMPLETED", payment_source={"paypal": wallet}, payer=payers.payer(email)
    )


def _vaulted(call: Call, email: str, instruction: Object) -> Object:
    customer = instruction.get("customer", {}).get("id")
    usage = instruction["vault"]["usage_type"]
    token = vault.keep(call, email, customer, usage_type=usage)["shown"]
    told = {name: token[name] for name in ("id", "customer", "links")}
    return told | {"status": "VAULTED"}


def approved(call: Call, order: Object, email: str) -> Object:
    """Have the payer approve; the merchant captures."""
    order["email"] = email
    call.book.changed(
        order,
        status="APPROVED",
        payment_source={"paypal": payers.wallet(email)},
        payer=payers.payer(email),
    )
    call.happened(
        "CHECKOUT.ORDER.APPROVED",
        "checkout-order",
        whole(call, order),
        "An order has been approved by buyer",
        about=order["id"],
    )
    return order


def capture(call: Call, body: CaptureRequest, order_id: str) -> Object:
    """Take the money that the payer approved, or that a vaulted token pays."""
    order = call.book.get("order", order_id)
    if order["shown"]["status"] == "COMPLETED":
        raise refused("ORDER_ALREADY_CAPTURED")
    page = call.link(f"/sandbox/approve/{order_id}", "payer-action")
    if token_id := _token_of(body.payment_source):
        email, fate = vault.payer_of(call, token_id)
    elif order["shown"]["status"] == "APPROVED":
        email, fate = order["email"], payers.fate_of_address(order["email"])
    else:
        raise refused("ORDER_NOT_APPROVED", links=[page])
    unit = order["shown"]["purchase_units"][0]
    fate = _judged(call, f"{PATH}/{order_id}/capture", unit, fate)
    if fate.issue:
        raise refused(fate.issue, links=[page] if fate.issue in BACK_TO_PAYER else [])
    return _paid(call, order, email, fate)


def authorize(call: Call, _body: object, order_id: str) -> None:
    """Refuse: all orders here are to be captured."""
    call.book.get("order", order_id)
    raise refused("PAYMENT_TYPE_NOT_SUPPORTED_FOR_INTENT")


def update(call: Call, patches: list[Patch], order_id: str) -> None:
    """Change an order that is not captured yet; all of the patches, or none."""
    order = call.book.get("order", order_id)
    if order["shown"]["status"] == "COMPLETED":
        raise refused("ORDER_ALREADY_COMPLETED")
    [unit] = order["shown"]["purchase_units"]
    changed = {name: value for name, value in unit.items() if name != "payee"}
    for patch in patches:
        match = PATCHABLE.match(patch.path)
        if match is None or match["unit"] != unit["reference_id"]:
            raise refused("NOT_PATCHABLE", field=patch.path)
        if patch.op == "remove":
            changed.pop(match["name"], None)
        else:
            changed[match["name"]] = patch.value
    try:
        changed = PurchaseUnit.model_validate(changed).said()
    except ValidationError as wrong:
        raise invalid(wrong.errors()) from None
    changed["amount"] = _checked(changed["amount"])
    call.book.changed(order, purchase_units=[changed | {"payee": unit["payee"]}])


def retrieve(call: Call, _query: Nothing, order_id: str) -> Object:
    """Return an order."""
    return call.book.get("order", order_id)


def shown(call: Call, order: Object) -> Object:
    """Return an order, the least of it unless the caller prefers the whole."""
    told = whole(call, order)
    if call.is_whole:
        return told
    names = ("id", "status", "payment_source", "payer", "links")
    least: dict[str, Any] = {name: told[name] for name in names if name in told}
    units = told["purchase_units"]
    if "payments" in units[0]:
        least["purchase_units"] = [
            {name: unit[name] for name in ("reference_id", "payments")} for unit in units
        ]
    return least


def whole(call: Call, order: Object) -> Object:
    """Return all of an order with what was captured and refunded of it."""
    order_id, [unit] = order["id"], order["shown"]["purchase_units"]
    taken = [one["shown"] for one in call.book.newest_first("capture", order=order_id)]
    back = [one["shown"] for one in call.book.newest_first("refund", order=order_id)]
    payments = {"captures": taken[::-1], "refunds": back[::-1]}
    payments = {name: found for name, found in payments.items() if found}
    told: Object = order["shown"] | {
        "purchase_units": [unit | ({"payments": payments} if payments else {})],
        "links": _links(call, order),
    }
    return told


def _links(call: Call, order: Object) -> list[Object]:
    order_id, status = order["id"], order["shown"]["status"]
    links = [call.link(f"{PATH}/{order_id}", "self")]
    if status in APPROVABLE:
        rel = "payer-action" if order["wallet"] else "approve"
        links.append(call.link(f"/sandbox/approve/{order_id}", rel))
    if status in ("APPROVED", "CREATED"):
        links.append(call.link(f"{PATH}/{order_id}/capture", "capture", "POST"))
    return links
