"""Refunds: full or in part, never more than was captured; pending or failing on command."""

from __future__ import annotations

from sandbox.stripe import charges, disputes
from sandbox.stripe.book import new_id
from sandbox.stripe.call import Call, Params, merged_metadata
from sandbox.stripe.currencies import shown
from sandbox.stripe.errors import InvalidRequest, Object, wrong_state
from sandbox.stripe.listing import list_of, one_of, page

FAULTS = frozenset({"refund_failed", "refund_pending", "refund_requires_action"})
SETTLED = frozenset({"canceled", "failed"})
MOVES = {
    "pending": {"canceled", "failed", "requires_action", "succeeded"},
    "requires_action": {"canceled", "failed", "pending", "succeeded"},
    "succeeded": {"failed"},
}


def create(call: Call, params: Params) -> Object:
    """Refund a charge, or an intent's successful charge."""
    charge = charge_of(call, params)
    return made(call, params, charge, _fate(call, charge))


def made(call: Call, params: Params, charge: Object, fate: str) -> Object:
    """Refund a charge; its fate is one of FAULTS, or anything else for success."""
    amount = _amount(call, params, charge)
    status = {"refund_pending": "pending", "refund_requires_action": "requires_action"}.get(
        fate, "succeeded"
    )
    refund: Object = {
        "id": new_id("refund"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": call.book.now(),
        "currency": charge["currency"],
        "destination_details": {
            "card": {
                "reference": None,
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
            "type": "card",
        },
        "metadata": merged_metadata({}, params.get("metadata")),
        "payment_intent": charge["payment_intent"],
        "reason": params.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }
    movement = charges.moved(call, refund, -amount, kind="refund")
    refund["balance_transaction"] = movement["id"]
    call.book.put(refund)
    _count(call, charge, amount)
    call.happened("refund.created", refund)
    call.happened("charge.refunded", charge)
    if fate == "refund_failed":
        call.afterwards.append(lambda: move(call, refund, "failed"))
    return refund


def charge_of(call: Call, params: Params) -> Object:
    """Return the captured charge that a refund is asked for."""
    if intent_id := params.get("payment_intent"):
        intent = call.book.get("payment_intent", intent_id, param="payment_intent")
        charge_id = intent["latest_charge"]
        if intent["status"] != "succeeded" or not charge_id:
            raise wrong_state(
                f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.",
                param="payment_intent",
            )
        return call.book.get("charge", charge_id)
    if charge_id := params.get("charge"):
        charge = call.book.get("charge", charge_id, param="charge")
        if charge["status"] != "succeeded" or not charge["captured"]:
            raise wrong_state(f"Charge {charge_id} has not been captured.", param="charge")
        return charge
    raise InvalidRequest(
        "One of the following params should be provided for this request: payment_intent or "
        "charge.",
        code="parameter_missing",
    )


def _amount(call: Call, params: Params, charge: Object) -> int:
    left: int = charge["amount_captured"] - charge["amount_refunded"]
    if charge["refunded"] or left == 0:
        raise wrong_state(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    left -= disputes.lost(call, charge["id"])
    if left <= 0 or disputes.is_open(call, charge["id"]):
        raise wrong_state(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.",
            code="charge_disputed",
        )
    amount: int = params.get("amount", left)
    if amount < 1:
        raise InvalidRequest(
            "Invalid positive integer", code="parameter_invalid_integer", param="amount"
        )
    if amount > left:
        currency = charge["currency"]
        raise wrong_state(
            f"Refund amount ({shown(amount, currency)} {currency}) is greater than unrefunded "
            f"amount on charge ({shown(left, currency)} {currency})",
            param="amount",
        )
    return amount


def _fate(call: Call, charge: Object) -> str:
    if fault := call.faults.take(FAULTS, "POST", "/v1/refunds"):
        return fault.kind
    return str(call.book.known(charge["payment_method"]).get("afterwards"))


def _count(call: Call, charge: Object, amount: int) -> None:
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    call.book.put(charge)


def move(call: Call, refund: Object, status: str) -> Object:
    """Move a refund on; where it fails or is canceled, the money is back.

    Raises:
        InvalidRequest: a settled refund doesn't move.
    """
    if status not in MOVES.get(refund["status"], ()):
        raise wrong_state(f"A refund can't go from {refund['status']} to {status}.")
    refund["status"] = status
    if status in SETTLED:
        charge = call.book.get("charge", refund["charge"])
        back = charges.moved(call, refund, refund["amount"], kind="refund_failure")
        refund["failure_balance_transaction"] = back["id"]
        if status == "failed":
            refund["failure_reason"] = "expired_or_canceled_card"
        _count(call, charge, -refund["amount"])
    call.book.put(refund)
    call.happened("refund.updated", refund)
    call.happened("charge.refund.updated", refund)
    if status == "failed":
        call.happened("refund.failed", refund)
    return refund


def update(call: Call, params: Params, object_id: str) -> Object:
    """Change metadata."""
    refund = call.book.get("refund", object_id)
    refund["metadata"] = merged_metadata(refund["metadata"], params.get("metadata"))
    call.book.put(refund)
    call.happened("refund.updated", refund)
    return refund


def cancel(call: Call, _params: Params, object_id: str) -> Object:
    """Cancel a refund that waits for the customer."""
    refund = call.book.get("refund", object_id)
    if refund["status"] != "requires_action":
        raise wrong_state(
            f"You can only cancel a refund that requires action; this one is {refund['status']}."
        )
    return move(call, refund, "canceled")


def of_charge(call: Call, params: Params, charge_id: str) -> Object:
    """List the refunds of one charge."""
    call.book.get("charge", charge_id)
    url = f"/v1/charges/{charge_id}/refunds"
    return page(call.book, "refund", params, url=url, charge=charge_id)


retrieve = one_of("refund")
listed = list_of("refund", "refunds", "charge", "payment_intent")
