"""Charges and the balance transactions that carry their fees."""

from __future__ import annotations

from typing import Any

from sandbox.stripe.book import new_id
from sandbox.stripe.call import Call, Params, merged_metadata
from sandbox.stripe.cards import error_fields
from sandbox.stripe.currencies import fee_minor
from sandbox.stripe.errors import Object
from sandbox.stripe.listing import list_of, one_of

AVAILABLE_AFTER_S = 2 * 24 * 60 * 60
BANK_TOLD = (
    "account_holder_type",
    "account_type",
    "bank_name",
    "fingerprint",
    "last4",
    "routing_number",
)
CARD_TOLD = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding")


def charged(call: Call, intent: Object, method: Object, *, is_captured: bool) -> Object:
    """Charge an intent's amount: money moves."""
    charge = _made(call, intent, method)
    charge |= {
        "captured": is_captured,
        "paid": True,
        "status": "succeeded",
        "receipt_url": f"{call.base_url}/sandbox/receipts/{charge['id']}",
    }
    charge["outcome"] |= {
        "network_status": "approved_by_network",
        "seller_message": "Payment complete.",
        "type": "authorized",
    }
    if is_captured:
        capture(call, charge, intent["amount"])
    call.book.put(charge)
    call.happened("charge.succeeded", charge)
    return charge


def pending(call: Call, intent: Object, method: Object) -> Object:
    """Begin a charge that the bank answers days later: no money has moved."""
    charge = _made(call, intent, method) | {"captured": True, "status": "pending"}
    charge["outcome"] |= {
        "network_status": "approved_by_network",
        "seller_message": "Payment pending.",
        "type": "authorized",
    }
    call.book.put(charge)
    call.happened("charge.pending", charge)
    return charge


def arrived(call: Call, charge: Object) -> Object:
    """End a pending charge: the money is there."""
    charge |= {"paid": True, "status": "succeeded"}
    charge["outcome"]["seller_message"] = "Payment complete."
    capture(call, charge, charge["amount"])
    call.book.put(charge)
    call.happened("charge.succeeded", charge)
    return charge


def bounced(call: Call, charge: Object, told: Object) -> None:
    """End a pending charge that the bank sent back."""
    charge |= {
        "failure_code": told["code"],
        "failure_message": told["message"],
        "status": "failed",
    }
    charge["outcome"] |= {"network_status": "declined_by_network", "type": "issuer_declined"}
    call.book.put(charge)
    call.happened("charge.failed", charge)


def capture(call: Call, charge: Object, amount: int) -> None:
    """Take an amount that was authorized."""
    charge["captured"] = True
    charge["amount_captured"] = amount
    charge["balance_transaction"] = moved(
        call, charge, amount, kind="charge", fee=fee_minor(amount)
    )["id"]


def refused(call: Call, intent: Object, method: Object, traits: dict[str, Any]) -> Object:
    """Write down a charge that the issuer declined."""
    told = error_fields(traits)
    charge = _made(call, intent, method)
    charge |= {
        "failure_code": told["code"],
        "failure_message": told["message"],
        "paid": False,
        "status": "failed",
    }
    charge["outcome"] |= {
        "advice_code": told.get("advice_code"),
        "network_advice_code": told.get("network_advice_code"),
        "network_decline_code": told.get("network_decline_code"),
        "network_status": "declined_by_network",
        "reason": told["decline_code"],
        "seller_message": "The bank did not return any further details with this decline.",
        "type": "issuer_declined",
    }
    call.book.put(charge)
    call.happened("charge.failed", charge)
    return charge


def _made(call: Call, intent: Object, method: Object) -> Object:
    return {
        "id": new_id("charge"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "PAYBEAT SANDBOX",
        "captured": False,
        "created": call.book.now(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "reason": None,
            "risk_level": "normal",
            "risk_score": 20,
        },
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": _details_of(method, intent["amount"]),
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": intent["shipping"],
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "transfer_data": None,
        "transfer_group": intent["transfer_group"],
    }


def _details_of(method: Object, amount: int) -> Object:
    if method["type"] == "card":
        return {"card": _card_of(method["card"], amount), "type": "card"}
    account = method[method["type"]]
    told = {name: account[name] for name in BANK_TOLD} | {"mandate": None}
    return {method["type"]: told, "type": method["type"]}


def _card_of(card: Object, amount: int) -> Object:
    return {name: card[name] for name in CARD_TOLD} | {
        "amount_authorized": amount,
        "installments": None,
        "last4": card["last4"],
        "mandate": None,
        "network": card["brand"],
        "network_token": {"used": False},
        "network_transaction_id": None,
        "three_d_secure": None,
        "wallet": None,
    }


def moved(call: Call, source: Object, amount: int, *, kind: str, fee: int = 0) -> Object:
    """Enter a movement of the balance; `amount` is negative when money leaves."""
    now = call.book.now()
    fees = {
        "amount": fee,
        "application": None,
        "currency": source["currency"],
        "description": "Processing fee",
        "type": "stripe_fee",
    }
    return call.book.put(
        {
            "id": new_id("balance_transaction"),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": now + AVAILABLE_AFTER_S,
            "balance_type": "payments",
            "created": now,
            "currency": source["currency"],
            "description": source.get("description"),
            "exchange_rate": None,
            "fee": fee,
            "fee_details": [fees] if fee else [],
            "net": amount - fee,
            "reporting_category": {"adjustment": "dispute"}.get(kind, kind),
            "source": source["id"],
            "status": "pending",
            "type": kind,
        }
    )


def update(call: Call, params: Params, object_id: str) -> Object:
    """Change metadata, description or the receipt's address."""
    charge = call.book.get("charge", object_id)
    charge["metadata"] = merged_metadata(charge["metadata"], params.get("metadata"))
    told = ("description", "receipt_email")
    charge |= {name: params[name] or None for name in told if name in params}
    call.book.put(charge)
    call.happened("charge.updated", charge)
    return charge


retrieve = one_of("charge")
listed = list_of("charge", "charges", "customer", "payment_intent")
movement = one_of("balance_transaction")
