"""PayPal's disputes in our words, and our evidence in PayPal's. Pure: plain mappings in, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from models.disputes import DisputeStatus
from models.money import Money
from worker.gateways.base import DisputeAnswer, Movement
from worker.gateways.paypal.money import money_of

Body = Mapping[str, Any]

INQUIRY = "INQUIRY"
ASKED = frozenset({"OPEN", "WAITING_FOR_SELLER_RESPONSE"})
LOOKED_AT = frozenset({"UNDER_REVIEW", "WAITING_FOR_BUYER_RESPONSE"})
WON = frozenset({"RESOLVED_SELLER_FAVOUR", "RESOLVED_WITH_PAYOUT", "CANCELED_BY_BUYER", "DENIED"})
LOST = frozenset({"RESOLVED_BUYER_FAVOUR", "ACCEPTED"})
OURS = "SUBMITTED_BY_SELLER"
SELLER = "SELLER"
SETTLEMENT = frozenset({"DISPUTE_SETTLEMENT"})
FEES = frozenset({"DISPUTE_SETTLEMENT_FEE", "DISPUTE_FEE", "CHARGEBACK_FEE"})
NOTE_CHARACTERS = 2000
REFERENCE = "Reference: "
FILE = "file_"
# Fields of evidence that tell of a parcel.
PARCEL = ("shipping_carrier", "shipping_tracking_number")


def dispute_of(body: Body, request_id: str = "") -> DisputeAnswer:
    """Return a dispute in our words. A status that is new to us is told as None.

    It names captures and not orders, so `intent_id` is empty.
    """
    due = body.get("seller_response_due_date")
    notes = [
        str(each.get("notes") or "")
        for each in body.get("evidences") or []
        if each.get("source") == OURS
    ]
    references = [note.removeprefix(REFERENCE) for note in notes if note.startswith(REFERENCE)]
    return DisputeAnswer(
        provider_id=body["dispute_id"],
        intent_id="",
        charge_id=capture_in(body),
        state=_state_of(body),
        money=money_of(body["dispute_amount"]),
        reason=str(body.get("reason") or "OTHER").lower(),
        evidence_due_at=datetime.fromisoformat(due) if due else None,
        is_refundable=False,  # PayPal refunds through the dispute itself
        evidence={"notes": "\n".join(note for note in notes if not note.startswith(REFERENCE))}
        if notes
        else {},
        submissions=len(references) or int(bool(notes)),
        movements=tuple(_movements(body, SETTLEMENT)),
        fees=tuple(_movements(body, FEES, mark="fee-")),
        metadata={"dispute_action_id": references[-1]} if references else {},
        provider_request_id=request_id,
    )


def capture_in(body: Body) -> str:
    """Return the id of the capture that is disputed."""
    return str(_transaction_in(body).get("seller_transaction_id") or "")


def custom_id_in(body: Body) -> str:
    """Return our ids, as they were given with the order."""
    return str(_transaction_in(body).get("custom") or "")


def _transaction_in(body: Body) -> Body:
    found: Body = (body.get("disputed_transactions") or [{}])[0]
    return found


def _state_of(body: Body) -> DisputeStatus | None:
    status, is_inquiry = body.get("status"), body.get("dispute_life_cycle_stage") == INQUIRY
    if status in ASKED:
        return DisputeStatus.WARNING_NEEDS_RESPONSE if is_inquiry else DisputeStatus.NEEDS_RESPONSE
    if status in LOOKED_AT:
        return DisputeStatus.WARNING_UNDER_REVIEW if is_inquiry else DisputeStatus.UNDER_REVIEW
    outcome = (body.get("dispute_outcome") or {}).get("outcome_code")
    if status != "RESOLVED" or outcome not in WON | LOST:
        return None
    if outcome in LOST:
        return DisputeStatus.LOST
    has_moved = any(True for _ in _movements(body, SETTLEMENT))
    return DisputeStatus.WARNING_CLOSED if is_inquiry and not has_moved else DisputeStatus.WON


def _movements(body: Body, reasons: frozenset[str], *, mark: str = "") -> Iterator[Movement]:
    """Return what was taken (below zero) and given back. They have no ids: their place is one."""
    told = [
        each
        for each in body.get("money_movements") or []
        if each.get("affected_party") == SELLER
        and each.get("reason", "DISPUTE_SETTLEMENT") in reasons
    ]
    for number, each in enumerate(told, 1):
        money = money_of(each["amount"])
        amount = abs(money.amount) * (-1 if each["type"] == "DEBIT" else 1)
        yield Movement(f"{body['dispute_id']}:{mark}{number}", Money(amount, money.currency))


def evidence_of(evidence: Mapping[str, str], action_id: str) -> list[dict[str, Any]]:
    """Return the evidences to provide. The last is our own mark, which tells later that it came.

    Raises:
        ValueError: a file of another provider's.
    """
    if any(value.startswith(FILE) for value in evidence.values()):
        raise ValueError("PayPal takes no files of another provider's")
    given: list[dict[str, Any]] = []
    if number := evidence.get("shipping_tracking_number"):
        carrier = evidence.get("shipping_carrier", "")
        parcel = {
            "carrier_name": "OTHER",
            "carrier_name_other": carrier or "unknown",
            "tracking_number": number,
        }
        given.append(
            {"evidence_type": "PROOF_OF_FULFILLMENT", "evidence_info": {"tracking_info": [parcel]}}
        )
    for name, value in evidence.items():
        if name not in PARCEL or not given:
            text = f"{name.replace('_', ' ').capitalize()}: {value}"
            given += [
                {"evidence_type": "OTHER", "notes": text[start : start + NOTE_CHARACTERS]}
                for start in range(0, len(text), NOTE_CHARACTERS)
            ]
    return [*given, {"evidence_type": "OTHER", "notes": f"{REFERENCE}{action_id}"}]
