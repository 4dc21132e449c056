"""Disputes: opened by test cards or on command; the money leaves at once and returns when won."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.stripe import charges
from sandbox.stripe.book import new_id
from sandbox.stripe.call import Call, Params, merged_metadata
from sandbox.stripe.errors import Object, wrong_state
from sandbox.stripe.listing import list_of, one_of

DUE_AFTER_S = 7 * 24 * 60 * 60
FEE_MINOR = 1500
INQUIRY = "warning_needs_response"
CLOSED = frozenset({"lost", "prevented", "warning_closed", "won"})
# What an inquiry or a bank's second question may become, besides being closed.
OPEN = frozenset({"needs_response", "under_review", "warning_under_review"})
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


def opened(call: Call, charge: Object, how: str, amount: int | None = None) -> Object:
    """Dispute a charge: `dispute:<reason>`, or `inquiry`, which takes no money yet.

    Args:
        amount: how much of the charge; all that has not been refunded unless given.
    """
    is_inquiry = how == "inquiry"
    method = charge["payment_method_details"]
    dispute: Object = {
        "id": new_id("dispute"),
        "object": "dispute",
        "amount": amount or charge["amount_captured"] - charge["amount_refunded"],
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
    if not is_inquiry:
        _move_money(call, dispute, -dispute["amount"], fee=FEE_MINOR)
    call.book.put(dispute)
    _flag(call, charge["id"])
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


def _taken(dispute: Object) -> int:
    """Return what the bank holds of the charge for this dispute."""
    amounts: list[int] = [movement["amount"] for movement in dispute["balance_transactions"]]
    return -sum(amounts)


def lost(call: Call, charge_id: str) -> int:
    """Return what banks have kept of a charge, by disputes that were lost."""
    return sum(_taken(dispute) for dispute in _of(call, charge_id) if dispute["status"] == "lost")


def is_open(call: Call, charge_id: str) -> bool:
    """Whether a bank has still to decide about a charge."""
    return any(dispute["status"] not in CLOSED for dispute in _of(call, charge_id))


def _of(call: Call, charge_id: str) -> Iterator[Object]:
    told = call.book.newest_first("dispute")
    return (dispute for dispute in told if dispute["charge"] == charge_id)


def _flag(call: Call, charge_id: str) -> None:
    """Mark a charge as disputed while a dispute of it is open or lost."""
    charge = call.book.get("charge", charge_id)
    charge["disputed"] = any(
        dispute["status"] not in CLOSED - {"lost"} for dispute in _of(call, charge_id)
    )
    call.book.put(charge)


def move(call: Call, dispute: Object, status: str) -> Object:
    """Have the bank look at a dispute, or make one of an inquiry, which takes the money."""
    if dispute["status"] in CLOSED - {"warning_closed"}:
        raise wrong_state(f"This dispute is already closed: {dispute['status']}.")
    takes = status in {"needs_response", "under_review"} and not _taken(dispute)
    dispute |= {"status": status, "is_charge_refundable": status.startswith("warning_")}
    if takes:
        _move_money(call, dispute, -dispute["amount"], fee=FEE_MINOR)
    call.book.put(dispute)
    _flag(call, dispute["charge"])
    call.happened("charge.dispute.updated", dispute)
    if takes:
        call.happened("charge.dispute.funds_withdrawn", dispute)
    return dispute


def end(call: Call, dispute: Object, status: str, *, won_back: int = 0) -> Object:
    """Close a dispute: lost, won, prevented, warning_closed. Unless lost, the money is back.

    Args:
        won_back: of one that is lost, the part that is given back all the same.
    """
    if dispute["status"] in CLOSED:
        raise wrong_state(f"This dispute is already closed: {dispute['status']}.")
    dispute |= {"status": status, "is_charge_refundable": status != "lost"}
    back = min(won_back, _taken(dispute)) if status == "lost" else _taken(dispute)
    if back:
        _move_money(call, dispute, back, fee=0)
    call.book.put(dispute)
    _flag(call, dispute["charge"])
    call.happened("charge.dispute.closed", dispute)
    if back:
        call.happened("charge.dispute.funds_reinstated", dispute)
    return dispute


def update(call: Call, params: Params, object_id: str) -> Object:
    """Add evidence; `submit` (the default) sends it to the bank."""
    dispute = call.book.get("dispute", object_id)
    if dispute["status"] in CLOSED:
        raise wrong_state("This dispute is already closed", param="evidence")
    if call.book.now() > dispute["evidence_details"]["due_by"]:
        raise wrong_state("The evidence was due earlier", param="evidence")
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
    """Accept a dispute: it is lost. An inquiry that is accepted takes no money."""
    dispute = call.book.get("dispute", object_id)
    is_inquiry = dispute["status"].startswith("warning_")
    return end(call, dispute, "warning_closed" if is_inquiry else "lost")


retrieve = one_of("dispute")
listed = list_of("dispute", "disputes", "charge", "payment_intent")
