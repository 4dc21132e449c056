"""Disputes: opened by test cards or on command; the money leaves at once and returns when won."""

from __future__ import annotations

from sandbox.stripe import charges
from sandbox.stripe.book import new_id
from sandbox.stripe.call import Call, Params, merged_metadata
from sandbox.stripe.errors import Object, wrong_state
from sandbox.stripe.listing import list_of, one_of

DUE_AFTER_S = 7 * 24 * 60 * 60
FEE_MINOR = 1500
INQUIRY = "warning_needs_response"
CLOSED = frozenset({"lost", "prevented", "warning_closed", "won"})
NO_EVIDENCE = dict.fromkeys(
    (
        "access_activity_log",
        "billing_address",
        "cancellation_policy",
        "cancellation_policy_disclosure",
        "cancellation_rebuttal",
        "customer_communication",
        "customer_email_address",
        "customer_name",
        "customer_purchase_ip",
        "customer_signature",
        "duplicate_charge_documentation",
        "duplicate_charge_explanation",
        "duplicate_charge_id",
        "product_description",
        "receipt",
        "refund_policy",
        "refund_policy_disclosure",
        "refund_refusal_explanation",
        "service_date",
        "service_documentation",
        "shipping_address",
        "shipping_carrier",
        "shipping_date",
        "shipping_documentation",
        "shipping_tracking_number",
        "uncategorized_file",
        "uncategorized_text",
    )
)


def opened(call: Call, charge: Object, how: str) -> Object:
    """Dispute a charge: `dispute:<reason>`, or `inquiry`, which takes no money yet."""
    is_inquiry = how == "inquiry"
    method = charge["payment_method_details"]
    dispute: Object = {
        "id": new_id("dispute"),
        "object": "dispute",
        "amount": charge["amount_captured"] - charge["amount_refunded"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": call.book.now(),
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": NO_EVIDENCE | {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": call.book.now() + DUE_AFTER_S,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": is_inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": _details_of(method, is_inquiry=is_inquiry),
        "reason": how.removeprefix("dispute:") if not is_inquiry else "general",
        "status": INQUIRY if is_inquiry else "needs_response",
    }
    charge["disputed"] = True
    call.book.put(charge)
    if not is_inquiry:
        _move_money(call, dispute, -dispute["amount"], fee=FEE_MINOR)
    call.book.put(dispute)
    call.happened("charge.dispute.created", dispute)
    if not is_inquiry:
        call.happened("charge.dispute.funds_withdrawn", dispute)
    return dispute


def _details_of(method: Object, *, is_inquiry: bool) -> Object | None:
    if method["type"] != "card":
        return None  # Stripe has no details of a bank's
    return {
        "card": {
            "brand": method["card"]["brand"],
            "case_type": "inquiry" if is_inquiry else "chargeback",
            "network": method["card"]["network"],
            "network_reason_code": "10.4",
        },
        "type": "card",
    }


def _move_money(call: Call, dispute: Object, amount: int, *, fee: int) -> None:
    movement = charges.moved(call, dispute, amount, kind="adjustment", fee=fee)
    dispute["balance_transactions"].append(dict(movement))


def end(call: Call, dispute: Object, status: str) -> Object:
    """Close a dispute as lost, won or warning_closed; a won one gives the money back."""
    if dispute["status"] in CLOSED:
        raise wrong_state(f"This dispute is already closed: {dispute['status']}.")
    dispute |= {"status": status, "is_charge_refundable": status != "lost"}
    if status == "won":
        _move_money(call, dispute, dispute["amount"], fee=0)
    if status != "lost":
        charge = call.book.get("charge", dispute["charge"])
        charge["disputed"] = False
        call.book.put(charge)
    call.book.put(dispute)
    call.happened("charge.dispute.closed", dispute)
    if status == "won":
        call.happened("charge.dispute.funds_reinstated", dispute)
    return dispute


def update(call: Call, params: Params, object_id: str) -> Object:
    """Add evidence; `submit` (the default) sends it to the bank."""
    dispute = call.book.get("dispute", object_id)
    if dispute["status"] in CLOSED:
        raise wrong_state("This dispute is already closed", param="evidence")
    dispute["metadata"] = merged_metadata(dispute["metadata"], params.get("metadata"))
    if evidence := params.get("evidence"):
        dispute["evidence"] |= evidence
        dispute["evidence_details"]["has_evidence"] = True
    if dispute["evidence_details"]["has_evidence"] and params.get("submit", True):
        details = dispute["evidence_details"]
        details |= {
            "submission_count": details["submission_count"] + 1,
            "submission_method": "manual",
        }
        is_inquiry = dispute["status"].startswith("warning_")
        dispute["status"] = "warning_under_review" if is_inquiry else "under_review"
    call.book.put(dispute)
    call.happened("charge.dispute.updated", dispute)
    return dispute


def close(call: Call, _params: Params, object_id: str) -> Object:
    """Accept a dispute: it is lost."""
    return end(call, call.book.get("dispute", object_id), "lost")


retrieve = one_of("dispute")
listed = list_of("dispute", "disputes", "charge", "payment_intent")
