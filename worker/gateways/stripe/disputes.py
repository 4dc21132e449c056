"""Stripe's disputes in our words. Pure: plain mappings in, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from models.disputes import DisputeStatus
from models.money import Money, decimals
from worker.gateways.base import DisputeAnswer, Movement
from worker.gateways.stripe.minor import money_of
from worker.gateways.stripe.translate import Body, id_of

_KNOWN = frozenset(DisputeStatus)


def dispute_of(body: Body, request_id: str = "") -> DisputeAnswer:
    """Return a Dispute in our words. A status that is new to us (an appeal's) is told as None."""
    details = body.get("evidence_details") or {}
    due_by = details.get("due_by")
    money = money_of(body["amount"], body["currency"])
    return DisputeAnswer(
        provider_id=body["id"],
        intent_id=id_of(body.get("payment_intent")),
        charge_id=id_of(body.get("charge")),
        state=DisputeStatus(body["status"]) if body["status"] in _KNOWN else None,
        money=money,
        reason=body.get("reason") or "general",
        evidence_due_at=datetime.fromtimestamp(due_by, UTC) if due_by else None,
        is_refundable=bool(body.get("is_charge_refundable")),
        evidence={
            name: value
            for name, value in (body.get("evidence") or {}).items()
            if value and isinstance(value, str)
        },
        submissions=details.get("submission_count") or 0,
        movements=tuple(_movements(body.get("balance_transactions") or (), money)),
        fees=tuple(_fees(body.get("balance_transactions") or ())),
        metadata=dict(body.get("metadata") or {}),
        provider_request_id=request_id,
    )


def _movements(told: Any, disputed: Money) -> Iterator[Movement]:
    """Return what was taken (below zero) and given back, in the currency of the charge.

    A balance in another currency tells shares only: what is first taken is the whole dispute.
    """
    entries = [each for each in told if isinstance(each, Mapping) and each["amount"]]
    whole_minor = next((-each["amount"] for each in entries if each["amount"] < 0), 0)
    for each in entries:
        if each["currency"].upper() == disputed.currency:
            yield Movement(each["id"], money_of(each["amount"], each["currency"]))
        elif whole_minor:
            share = disputed.amount * each["amount"] / whole_minor
            places = Decimal(1).scaleb(-decimals(disputed.currency))
            amount = share.quantize(places, ROUND_HALF_EVEN).quantize(Decimal("0.01"))
            yield Movement(each["id"], Money(amount, disputed.currency))


def _fees(told: Any) -> Iterator[Movement]:
    """Return the fees that Stripe kept (below zero) or, for one that was countered, gave back.

    Each comes with a movement, in the currency of the balance. One may move nothing else.
    """
    for each in told:
        if isinstance(each, Mapping) and each.get("fee"):
            yield Movement(each["id"], money_of(-each["fee"], each["currency"]))


def evidence_params(evidence: Mapping[str, str], *, submit: bool, action_id: str) -> dict[str, Any]:
    """Return the parameters that add evidence. The action's id tells later that it came."""
    return {
        "evidence": dict(evidence),
        "submit": submit,
        "metadata": {"dispute_action_id": action_id},
    }
