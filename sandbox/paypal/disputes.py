"""Disputes: opened on command, answered with evidence or accepted, decided on command."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from sandbox.paypal import amounts, captures, refunds
from sandbox.paypal.bodies import AcceptRequest, DisputeQuery, EvidenceRequest
from sandbox.paypal.book import new_id, seconds
from sandbox.paypal.call import Call
from sandbox.paypal.errors import Object, refused

PATH = "/v1/customer/disputes"
DUE_AFTER_S = 10 * 24 * 60 * 60
CHARGEBACK_FEE = Decimal(20)  # kept whoever wins
CHARGEBACK, INQUIRY = "CHARGEBACK", "INQUIRY"
ASKED = frozenset({"OPEN", "WAITING_FOR_SELLER_RESPONSE"})
WON, LOST = "RESOLVED_SELLER_FAVOUR", "RESOLVED_BUYER_FAVOUR"
LISTED = (
    "dispute_id",
    "create_time",
    "update_time",
    "reason",
    "status",
    "dispute_state",
    "dispute_amount",
    "dispute_life_cycle_stage",
    "dispute_channel",
    "seller_response_due_date",
)


def opened(
    call: Call, capture: Object, *, reason: str, stage: str, value: str | None = None
) -> Object:
    """Dispute what is left of a capture, or `value` of it: a chargeback, or an inquiry."""
    dispute_id = f"PP-R-{new_id(3)}-{new_id(8)}"
    currency = capture["shown"]["amount"]["currency_code"]
    amount = amounts.money(Decimal(value) if value else captures.left(capture), currency)
    shown: Object = {
        "dispute_id": dispute_id,
        "create_time": call.book.time(),
        "update_time": call.book.time(),
        "disputed_transactions": [_transaction(capture)],
        "reason": reason,
        "dispute_amount": amount,
        "dispute_life_cycle_stage": stage,
        "dispute_channel": "EXTERNAL" if stage == CHARGEBACK else "INTERNAL",
        "messages": [
            {
                "posted_by": "BUYER",
                "time_posted": call.book.time(),
                "content": "This is not what was agreed.",
            }
        ],
        "seller_response_due_date": call.book.time(call.book.now() + DUE_AFTER_S),
        "allowed_response_options": {"accept_claim": {"accept_claim_types": ["REFUND"]}},
    }
    if stage == CHARGEBACK:
        shown |= {"status": "WAITING_FOR_SELLER_RESPONSE", "dispute_state": "REQUIRED_ACTION"}
        fee = amounts.money(CHARGEBACK_FEE, currency)
        shown["money_movements"] = [
            _moved(call, amount, "DEBIT"),
            _moved(call, fee, "DEBIT", reason="CHARGEBACK_FEE"),
        ]
    else:
        shown |= {"status": "OPEN", "dispute_state": "OPEN_INQUIRIES"}
    capture["disputed"] = stage
    call.book.put(capture)
    record = call.book.keep("dispute", shown, key="dispute_id", capture=capture["id"])
    _tell(call, record, "CREATED")
    return record


def _transaction(capture: Object) -> Object:
    shown = capture["shown"]
    told = {"invoice_number": shown.get("invoice_id"), "custom": shown.get("custom_id")}
    return {
        "buyer_transaction_id": new_id(),
        "seller_transaction_id": capture["id"],
        "create_time": shown["create_time"],
        "transaction_status": shown["status"],
        "gross_amount": shown["amount"],
        "buyer": {"name": "Test Payer"},
        "seller": {"email": "merchant@example.com", "merchant_id": "MERCHANT23456"},
    } | {name: text for name, text in told.items() if text}


def _moved(call: Call, amount: Object, kind: str, *, reason: str = "DISPUTE_SETTLEMENT") -> Object:
    return {
        "affected_party": "SELLER",
        "amount": dict(amount),
        "initiated_time": call.book.time(),
        "type": kind,
        "reason": reason,
    }


def decide(call: Call, record: Object, outcome: str) -> Object:
    """End a dispute; a lost one gives the money to the payer, a won one gives it back."""
    if record["shown"]["status"] == "RESOLVED":
        raise refused("ACTION_NOT_ALLOWED_IN_CURRENT_DISPUTE_STATE")
    capture = call.book.get("capture", record["capture"])
    capture["disputed"] = None
    amount = record["shown"]["dispute_amount"]
    movements = list(record["shown"].get("money_movements", []))
    outcome_told: Object = {"outcome_code": outcome}
    if outcome == LOST:
        outcome_told["amount_refunded"] = dict(amount)
        if not movements:
            movements.append(_moved(call, amount, "DEBIT"))
        refunds.reverse(call, capture, amounts.of(amount))
    elif movements:
        movements.append(_moved(call, amount, "CREDIT"))
    call.book.put(capture)
    more: dict[str, Any] = {"money_movements": movements} if movements else {}
    call.book.changed(
        record,
        status="RESOLVED",
        dispute_state="RESOLVED",
        dispute_outcome=outcome_told,
        **more,
    )
    record["shown"].pop("seller_response_due_date", None)
    _tell(call, record, "RESOLVED")
    return record


def accept(call: Call, _body: AcceptRequest, dispute_id: str) -> Object:
    """Accept a claim: it is lost at once."""
    decide(call, call.book.get("dispute", dispute_id), LOST)
    return _subsequent(call, dispute_id)


def provide_evidence(call: Call, body: EvidenceRequest, dispute_id: str) -> Object:
    """Answer a dispute; PayPal looks at it until it is decided."""
    record = call.book.get("dispute", dispute_id)
    if record["shown"]["status"] not in ASKED:
        raise refused("ACTION_NOT_ALLOWED_IN_CURRENT_DISPUTE_STATE")
    given = [
        one.said() | {"source": "SUBMITTED_BY_SELLER", "date": call.book.time()}
        for one in body.evidences
    ]
    record["shown"].pop("seller_response_due_date", None)
    call.book.changed(
        record,
        status="UNDER_REVIEW",
        dispute_state="UNDER_PAYPAL_REVIEW",
        evidences=[*record["shown"].get("evidences", []), *given],
    )
    _tell(call, record, "UPDATED")
    return _subsequent(call, dispute_id)


def _subsequent(call: Call, dispute_id: str) -> Object:
    return {"shown": {"links": [call.link(f"{PATH}/{dispute_id}", "self")]}}


def retrieve(call: Call, _query: object, dispute_id: str) -> Object:
    """Return a dispute."""
    return call.book.get("dispute", dispute_id)


def whole(call: Call, record: Object) -> Object:
    """Return all of a dispute, with what may be done about it."""
    path, status = f"{PATH}/{record['id']}", record["shown"]["status"]
    links = [call.link(path, "self")]
    if status != "RESOLVED":
        links.append(call.link(f"{path}/accept-claim", "accept_claim", "POST"))
    if status in ASKED:
        links.append(call.link(f"{path}/provide-evidence", "provide_evidence", "POST"))
    told: Object = record["shown"] | {"links": links}
    del told["dispute_state"]  # the list tells it, the dispute itself does not
    return told


def listed(call: Call, query: DisputeQuery) -> Object:
    """List disputes, newest first."""
    found = list(_fitting(call, query))
    first, end = query.next_page_token, query.next_page_token + query.page_size
    links = [_page(call, query, first, "self"), _page(call, query, 0, "first")]
    if end < len(found):
        links.append(_page(call, query, end, "next"))
    items = [_item(call, record) for record in found[first:end]]
    return {"shown": {"items": items, "links": links}}


def _item(call: Call, record: Object) -> Object:
    shown = record["shown"]
    links = [call.link(f"{PATH}/{record['id']}", "self")]
    return {name: shown[name] for name in LISTED if name in shown} | {"links": links}


def _fitting(call: Call, query: DisputeQuery) -> Iterator[Object]:
    states = query.dispute_state.split(",") if query.dispute_state else None
    after = seconds(query.update_time_after) if query.update_time_after else 0
    before = seconds(query.update_time_before) if query.update_time_before else call.book.now()
    for record in call.book.within("dispute", query.start_time, None):
        is_of = query.disputed_transaction_id in (None, record["capture"])
        is_in = states is None or record["shown"]["dispute_state"] in states
        if is_of and is_in and after <= seconds(record["shown"]["update_time"]) <= before:
            yield record


def _page(call: Call, query: DisputeQuery, first: int, rel: str) -> Object:
    told = query.model_dump(exclude_none=True) | {"next_page_token": first}
    return call.link(f"{PATH}?{urlencode(told)}", rel)


def _tell(call: Call, record: Object, how: str) -> None:
    shown = dict(whole(call, record))
    call.happened(
        f"CUSTOMER.DISPUTE.{how}",
        "dispute",
        shown,
        f"A dispute was {how.lower()}",
        about=record["id"],
    )
