"""Refunds: full or in part, never more than was captured; pending or failing on command."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sandbox.paypal import amounts, captures
from sandbox.paypal.bodies import RefundRequest
from sandbox.paypal.book import new_id
from sandbox.paypal.call import Call
from sandbox.paypal.errors import Object, refused
from sandbox.paypal.faults import REFUNDS

PATH = "/v2/payments/refunds"
MOVES = {"PENDING": {"COMPLETED", "FAILED", "CANCELLED"}, "COMPLETED": {"FAILED"}}
FATES = {"refund_pending": "PENDING", "refund_failed": "FAILED"}


def create(call: Call, body: RefundRequest, capture_id: str) -> Object:
    """Refund a capture, the rest of it where no amount is given."""
    fault = call.faults.take(REFUNDS, "POST", f"{captures.PATH}/{capture_id}/refund")
    if fault and fault.kind == "decline":
        raise refused(fault.decline_code or "REFUND_NOT_ALLOWED")
    status = FATES[fault.kind] if fault else "COMPLETED"
    capture = call.book.get("capture", capture_id, param="capture_id")
    return made(call, capture, body.said(), status=status)


def made(call: Call, capture: Object, said: dict[str, Any], *, status: str) -> Object:
    """Refund a capture; one that will fail succeeds first, as at PayPal."""
    amount = _amount(capture, said.get("amount"))
    _check_invoice(call, said.get("invoice_id"))
    record = _kept(call, capture, amount, said)
    if status == "PENDING":
        record["shown"] |= {"status": status, "status_details": {"reason": "ECHECK"}}
    _tell(call, record)
    if status == "FAILED":
        call.afterwards.append(lambda: move(call, record, "FAILED"))
    return record


def reverse(call: Call, capture: Object, amount: Decimal | None = None) -> Object:
    """Give back what is left of a capture, or a part, as PayPal does without asking us."""
    record = _kept(call, capture, amount or captures.left(capture), {}, is_reversal=True)
    money = record["shown"]["amount"]
    summary = f"A {money['currency_code']} {money['value']} capture payment was reversed"
    call.happened(
        "PAYMENT.CAPTURE.REVERSED", "refund", whole(call, record), summary, about=record["id"]
    )
    return record


def _kept(
    call: Call,
    capture: Object,
    amount: Decimal,
    said: dict[str, Any],
    *,
    is_reversal: bool = False,
) -> Object:
    refund_id, currency = new_id(), capture["shown"]["amount"]["currency_code"]
    total = Decimal(capture["refunded"]) + amount
    shown: Object = {
        "id": refund_id,
        "status": "COMPLETED",
        "amount": amounts.money(amount, currency),
        "seller_payable_breakdown": {
            "gross_amount": amounts.money(amount, currency),
            "paypal_fee": amounts.money(Decimal(0), currency),
            "net_amount": amounts.money(amount, currency),
            "total_refunded_amount": amounts.money(total, currency),
        },
        "create_time": call.book.time(),
        "update_time": call.book.time(),
        "links": [
            call.link(f"{PATH}/{refund_id}", "self"),
            call.link(f"{captures.PATH}/{capture['id']}", "up"),
        ],
    }
    told = {
        "custom_id": said.get("custom_id") or capture["custom_id"],
        "invoice_id": said.get("invoice_id") or capture["invoice_id"],
        "note_to_payer": said.get("note_to_payer"),
    }
    shown |= {name: text for name, text in told.items() if text}
    captures.refunded(call, capture, amount)
    return call.book.keep(
        "refund",
        shown,
        capture=capture["id"],
        order=capture["order"],
        invoice_id=said.get("invoice_id"),
        is_reversal=is_reversal,
    )


def _amount(capture: Object, given: Object | None) -> Decimal:
    currency = capture["shown"]["amount"]["currency_code"]
    left = captures.left(capture)
    amount = amounts.checked(given, no_decimals="DECIMALS_NOT_SUPPORTED") if given else left
    _check_state(capture, left, amount)
    if given and given["currency_code"] != currency:
        raise refused("REFUND_CAPTURE_CURRENCY_MISMATCH")
    if amount > left:
        raise refused("REFUND_AMOUNT_EXCEEDED", field="/amount/value", value=str(amount))
    return amount


def _check_state(capture: Object, left: Decimal, amount: Decimal) -> None:
    status, disputed = capture["shown"]["status"], capture["disputed"]
    if status == "PENDING":
        raise refused("PENDING_CAPTURE")
    if status not in captures.TAKEN:
        raise refused("REFUND_NOT_ALLOWED")
    if left == 0:
        raise refused("CAPTURE_FULLY_REFUNDED")
    if disputed == "CHARGEBACK":
        raise refused("REFUND_NOT_PERMITTED_DUE_TO_CHARGEBACK")
    if disputed and amount < left:
        raise refused("TRANSACTION_DISPUTED")


def _check_invoice(call: Call, invoice_id: str | None) -> None:
    if invoice_id and next(call.book.newest_first("refund", invoice_id=invoice_id), None):
        raise refused("DUPLICATE_INVOICE_ID", field="/invoice_id", value=invoice_id)


def move(call: Call, record: Object, status: str) -> Object:
    """Move a refund on; where it fails or is cancelled, the money is back.

    Raises:
        ApiError: a settled refund doesn't move.
    """
    if status not in MOVES.get(record["shown"]["status"], ()):
        raise refused("REFUND_NOT_ALLOWED", field="status", value=record["shown"]["status"])
    record["shown"].pop("status_details", None)
    call.book.changed(record, status=status)
    if status != "COMPLETED":
        capture = call.book.get("capture", record["capture"], param="capture_id")
        captures.refunded(call, capture, -amounts.of(record["shown"]["amount"]))
    _tell(call, record)
    return record


def retrieve(call: Call, _params: object, refund_id: str) -> Object:
    """Return a refund."""
    return call.book.get("refund", refund_id, param="refund_id")


def shown(call: Call, record: Object) -> Object:
    """Return a refund, the least of it unless the caller prefers the whole."""
    if call.is_whole:
        return whole(call, record)
    return {name: record["shown"][name] for name in ("id", "status", "links")}


def whole(call: Call, record: Object) -> Object:
    """Return all of a refund."""
    told: Object = record["shown"] | {"payer": captures.payee(call)}
    return told


def _tell(call: Call, record: Object) -> None:
    status = record["shown"]["status"]
    kind = "PAYMENT.CAPTURE.REFUNDED" if status == "COMPLETED" else f"PAYMENT.REFUND.{status}"
    amount = record["shown"]["amount"]
    summary = f"A {amount['currency_code']} {amount['value']} refund is {status.lower()}"
    call.happened(kind, "refund", whole(call, record), summary, about=record["id"])
