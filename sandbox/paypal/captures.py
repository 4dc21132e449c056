"""Captures: money that was taken, is pending, or was refused by the processor."""

from __future__ import annotations

from decimal import Decimal

from sandbox.paypal import amounts
from sandbox.paypal.book import new_id
from sandbox.paypal.call import Call
from sandbox.paypal.errors import Object, refused
from sandbox.paypal.payers import Fate

PATH = "/v2/payments/captures"
COUNTED = frozenset({"COMPLETED", "PARTIALLY_REFUNDED", "PENDING", "REFUNDED"})
TAKEN = COUNTED - {"PENDING"}
DUPLICATE_FIELD = "/purchase_units/0/invoice_id"


def check_invoice(call: Call, invoice_id: str | None) -> None:
    """Refuse an invoice that a completed or pending capture names already."""
    if invoice_id is None:
        return
    for record in call.book.newest_first("capture", invoice_id=invoice_id):
        if record["shown"]["status"] in COUNTED:
            raise refused("DUPLICATE_INVOICE_ID", field=DUPLICATE_FIELD, value=invoice_id)


def made(call: Call, order_id: str, unit: Object, fate: Fate) -> Object:
    """Capture a purchase unit and tell of it; the fate says how it ends."""
    record = kept(call, order_id, unit, fate)
    _tell(call, record)
    return record


def kept(call: Call, order_id: str, unit: Object, fate: Fate) -> Object:
    """Capture a purchase unit; nobody is told."""
    capture_id, amount = new_id(), unit["amount"]
    shown: Object = {
        "id": capture_id,
        "status": "COMPLETED",
        "amount": dict(amount),
        "final_capture": True,
        "disbursement_mode": "INSTANT",
        "seller_protection": {
            "status": "ELIGIBLE",
            "dispute_categories": ["ITEM_NOT_RECEIVED", "UNAUTHORIZED_TRANSACTION"],
        },
        "create_time": call.book.time(),
        "update_time": call.book.time(),
        "links": [
            call.link(f"{PATH}/{capture_id}", "self"),
            call.link(f"{PATH}/{capture_id}/refund", "refund", "POST"),
            call.link(f"/v2/checkout/orders/{order_id}", "up"),
        ],
    }
    shown |= {name: unit[name] for name in ("custom_id", "invoice_id") if name in unit}
    if fate.response_code:
        shown |= {"status": "DECLINED", "processor_response": {"response_code": fate.response_code}}
    elif fate.is_pending:
        shown |= {"status": "PENDING", "status_details": {"reason": "PENDING_REVIEW"}}
    else:
        shown["seller_receivable_breakdown"] = _breakdown(amount)
    return call.book.keep(
        "capture",
        shown,
        order=order_id,
        custom_id=unit.get("custom_id"),
        invoice_id=unit.get("invoice_id"),
        refunded="0",
        disputed=None,
    )


def _breakdown(amount: Object) -> Object:
    currency, gross = amount["currency_code"], amounts.of(amount)
    fee = amounts.of(amounts.money(amounts.fee(gross), currency))
    return {
        "gross_amount": amounts.money(gross, currency),
        "paypal_fee": amounts.money(fee, currency),
        "net_amount": amounts.money(gross - fee, currency),
    }


def settle(call: Call, record: Object, *, is_completed: bool) -> Object:
    """End a pending capture: the money comes, or it is denied."""
    if record["shown"]["status"] != "PENDING":
        raise refused("REFUND_NOT_ALLOWED", field="status", value=record["shown"]["status"])
    del record["shown"]["status_details"]
    if is_completed:
        breakdown = _breakdown(record["shown"]["amount"])
        call.book.changed(record, status="COMPLETED", seller_receivable_breakdown=breakdown)
    else:
        call.book.changed(record, status="DECLINED")
    _tell(call, record, was_pending=True)
    return record


def refunded(call: Call, record: Object, amount: Decimal) -> None:
    """Count what was given back; negative when a refund failed."""
    total = Decimal(record["refunded"]) + amount
    record["refunded"] = str(total)
    gross = amounts.of(record["shown"]["amount"])
    status = "REFUNDED" if total == gross else "PARTIALLY_REFUNDED" if total else "COMPLETED"
    call.book.changed(record, status=status)


def left(record: Object) -> Decimal:
    """Return what can still be given back."""
    return amounts.of(record["shown"]["amount"]) - Decimal(record["refunded"])


def retrieve(call: Call, _params: object, capture_id: str) -> Object:
    """Return a capture."""
    return call.book.get("capture", capture_id, param="capture_id")


def whole(call: Call, record: Object) -> Object:
    """Return a capture as it is shown by itself."""
    told: Object = record["shown"] | {
        "supplementary_data": {"related_ids": {"order_id": record["order"]}},
        "payee": payee(call),
    }
    return told


def payee(_call: Call) -> Object:
    """Return the merchant."""
    return {"email_address": "merchant@example.com", "merchant_id": "MERCHANT23456"[:13]}


def _tell(call: Call, record: Object, *, was_pending: bool = False) -> None:
    status = record["shown"]["status"]
    kind = "DENIED" if status == "DECLINED" and was_pending else status
    amount = record["shown"]["amount"]
    summary = f"Payment {kind.lower()} for {amount['currency_code']} {amount['value']}"
    shown = whole(call, record)
    call.happened(f"PAYMENT.CAPTURE.{kind}", "capture", shown, summary, about=record["id"])
