"""PayPal's objects in our words, and ours in PayPal's. Pure: plain mappings in, no I/O.

An order holds one purchase unit of ours with at most one capture; a webhook's `resource` has the
same shapes. Our ids travel in `custom_id`, and a payment's own id as the `invoice_id` of its order,
of which PayPal completes one only.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from worker.gateways.base import (
    ChargeRequest,
    Declined,
    Intent,
    IntentStatus,
    MethodAnswer,
    OutcomeUnknown,
    RefundAnswer,
    RefundRequest,
    RefundState,
)
from worker.gateways.paypal.codes import PROCESSOR, UNTOLD, advice_for, wait_at_least_s
from worker.gateways.paypal.money import amount_of, money_of

Body = Mapping[str, Any]
T = TypeVar("T")

# An order, as long as nothing has been captured of it.
ORDER_STATUSES = {
    "CREATED": IntentStatus.REQUIRES_ACTION,
    "SAVED": IntentStatus.REQUIRES_ACTION,
    "PAYER_ACTION_REQUIRED": IntentStatus.REQUIRES_ACTION,
    "APPROVED": IntentStatus.REQUIRES_ACTION,
    "VOIDED": IntentStatus.CANCELED,
}
# Once there is a capture it alone tells where the money is.
CAPTURE_STATUSES = {
    "COMPLETED": IntentStatus.SUCCEEDED,
    "PARTIALLY_REFUNDED": IntentStatus.SUCCEEDED,
    "REFUNDED": IntentStatus.SUCCEEDED,
    "PENDING": IntentStatus.PROCESSING,
    "DECLINED": IntentStatus.DECLINED,
    "FAILED": IntentStatus.DECLINED,
}
REFUND_STATES = {
    "PENDING": RefundState.PENDING,
    "COMPLETED": RefundState.SUCCEEDED,
    "FAILED": RefundState.FAILED,
    "CANCELLED": RefundState.CANCELED,
}
APPROVE_LINKS = ("payer-action", "approve")
# `custom_id` takes 127 characters: a word and three ids of 36.
PAYMENT_IDS = ("transaction_id", "company_id", "attempt_id")
REFUND_IDS = ("refund_id", "transaction_id", "company_id")
DESCRIPTION_CHARACTERS = 127


def customer_id_of(company_id: UUID) -> str:
    """Return the customer's id in PayPal's vault: our own, in the 22 characters that fit there."""
    return base64.urlsafe_b64encode(company_id.bytes).decode().rstrip("=")


def custom_id_of(metadata: Mapping[str, str], names: tuple[str, ...]) -> str:
    """Return our ids as the one text that PayPal keeps for us."""
    return ".".join([names[0].removesuffix("_id"), *(metadata.get(name, "") for name in names)])


def metadata_of(custom_id: str | None) -> dict[str, str]:
    """Return our ids from a `custom_id`; none if it is not of our making."""
    kind, *values = (custom_id or "").split(".")
    names = {"transaction": PAYMENT_IDS, "refund": REFUND_IDS}.get(kind, ())
    if len(values) != len(names):
        return {}
    return {name: value for name, value in zip(names, values, strict=True) if value}


def intent_of(order: Body, request_id: str = "") -> Intent:
    """Return an order in our words; `captured` only where money has moved.

    Raises:
        OutcomeUnknown: a status that this version does not know; nobody may guess where money is.
    """
    unit = order["purchase_units"][0]
    capture = capture_in(order)
    status = _known(ORDER_STATUSES, order["status"]) if capture is None else status_of(capture)
    metadata = metadata_of(unit.get("custom_id") or (capture or {}).get("custom_id"))
    money = money_of(unit["amount"] if "amount" in unit else (capture or {})["amount"])
    is_captured = capture is not None and status is IntentStatus.SUCCEEDED
    return Intent(
        provider_id=order["id"],
        status=status,
        money=money,
        captured=money_of(capture["amount"]) if capture and is_captured else None,
        charge_id=capture["id"] if capture else "",
        metadata=metadata,
        approve_url=link_of(order, *APPROVE_LINKS) if capture is None else "",
        is_approved=capture is None and order["status"] == "APPROVED",
        kept_method=kept_of(order),
        decline=declined_of(capture, order["id"], request_id)
        if capture and status is IntentStatus.DECLINED
        else None,
        provider_request_id=request_id,
    )


def capture_in(order: Body) -> Body | None:
    """Return the order's capture: the one that took money, else the newest, else none."""
    captures = (order["purchase_units"][0].get("payments") or {}).get("captures") or []
    taken = [each for each in captures if status_of(each) is not IntentStatus.DECLINED]
    return next(iter([*taken, *reversed(captures)]), None)


def status_of(capture: Body) -> IntentStatus:
    """Return where a capture stands."""
    return _known(CAPTURE_STATUSES, capture["status"])


def intent_of_capture(capture: Body, request_id: str = "") -> Intent | None:
    """Return the intent that a capture by itself tells of, None if it names no order."""
    related = (capture.get("supplementary_data") or {}).get("related_ids") or {}
    order_id = related.get("order_id")
    if not order_id:
        return None
    unit = {"custom_id": capture.get("custom_id"), "amount": capture["amount"]}
    order = {
        "id": order_id,
        "status": "COMPLETED",
        "purchase_units": [{**unit, "payments": {"captures": [capture]}}],
    }
    return intent_of(order, request_id)


def declined_of(capture: Body, order_id: str, request_id: str = "") -> Declined:
    """Return the decline that a capture tells, by its processor's answer."""
    processor = capture.get("processor_response") or {}
    number = processor.get("response_code") or ""
    network_advice = processor.get("payment_advice_code") or ""
    word = PROCESSOR.get(number, (f"PROCESSOR_{number}" if number else "CAPTURE_DECLINED", None))[0]
    return refusal_of(
        word, provider_id=order_id, request_id=request_id, network_advice_code=network_advice
    )


def refusal_of(
    code: str,
    *,
    message: str = "",
    provider_id: str = "",
    request_id: str = "",
    network_advice_code: str = "",
) -> Declined:
    """Return a refusal as a decline; what the customer may not know is not told."""
    advice = advice_for(code, network_advice_code)
    return Declined(
        message="The payment was declined." if code in UNTOLD or not message else message,
        code="declined",
        provider_request_id=request_id,
        advice=advice,
        decline_code=code,
        network_advice_code=network_advice_code,
        provider_id=provider_id,
        wait_at_least_s=wait_at_least_s(advice, network_advice_code),
    )


def refund_of(body: Body, request_id: str = "") -> RefundAnswer:
    """Return a refund in our words."""
    reason = (body.get("status_details") or {}).get("reason") or ""
    state = _known(REFUND_STATES, body["status"])
    return RefundAnswer(
        provider_id=body["id"],
        state=state,
        money=money_of(body["amount"]),
        charge_id=link_of(body, "up").rpartition("/")[2],
        metadata=metadata_of(body.get("custom_id")),
        failure_reason=reason if state in (RefundState.FAILED, RefundState.CANCELED) else "",
        provider_request_id=request_id,
    )


def method_of(token: Body, request_id: str = "") -> MethodAnswer:
    """Return a payment token in our words: what a customer may see of it."""
    [(kind, details)] = token["payment_source"].items()
    year, _, month = (details.get("expiry") or "").partition("-")
    return MethodAnswer(
        provider_id=token["id"],
        type="card" if kind == "card" else "paypal",
        last_four=details.get("last_digits"),
        brand=(details.get("brand") or "").lower() or None,
        exp_month=int(month) if month else None,
        exp_year=int(year) if year else None,
        provider_request_id=request_id,
    )


def kept_of(order: Body) -> MethodAnswer | None:
    """Return the payment token that PayPal has made of what an order was paid with."""
    for kind, details in (order.get("payment_source") or {}).items():
        vault = ((details or {}).get("attributes") or {}).get("vault") or {}
        if vault.get("status") == "VAULTED" and vault.get("id"):
            return method_of({"id": vault["id"], "payment_source": {kind: details}})
    return None


def link_of(body: Body, *relations: str) -> str:
    """Return the address of the first of these links that an object has, empty if none."""
    links = {link.get("rel"): str(link.get("href") or "") for link in body.get("links") or []}
    return next((links[relation] for relation in relations if links.get(relation)), "")


def order_params(request: ChargeRequest, *, return_url: str, cancel_url: str) -> dict[str, Any]:
    """Return the body that creates an order, the same for the same request every time.

    With a method of the vault the one call also captures; without one the payer approves first.
    """
    transaction_id = request.metadata.get("transaction_id", "")
    unit: dict[str, Any] = {
        "amount": amount_of(request.money),
        "custom_id": custom_id_of(request.metadata, PAYMENT_IDS),
        "invoice_id": transaction_id,
    }
    if request.description:
        unit["description"] = request.description[:DESCRIPTION_CHARACTERS]
    paypal: dict[str, Any]
    if request.method is not None:
        paypal = {"vault_id": request.method}
    else:
        paypal = {
            "experience_context": {
                "return_url": _with_id(request.return_url or return_url, transaction_id),
                "cancel_url": _with_id(
                    request.return_url or cancel_url or return_url, transaction_id, canceled="true"
                ),
                "user_action": "PAY_NOW",
                "shipping_preference": "NO_SHIPPING",
            }
        }
        if request.keep_method:
            paypal["attributes"] = {
                "customer": {"id": request.customer},
                "vault": {"store_in_vault": "ON_SUCCESS", "usage_type": "MERCHANT"},
            }
    return {
        "intent": "CAPTURE",
        "purchase_units": [unit],
        "payment_source": {"paypal": paypal},
    }


def refund_params(request: RefundRequest) -> dict[str, Any]:
    """Return the body of a refund."""
    return {
        "amount": amount_of(request.money),
        "custom_id": custom_id_of(request.metadata, REFUND_IDS),
    }


def _with_id(url: str, transaction_id: str, **more: str) -> str:
    """Return the address with our payment's id, by which the page that is there asks for it."""
    if not url:
        return url
    mark = "&" if urlsplit(url).query else "?"
    return f"{url}{mark}{urlencode({'transaction_id': transaction_id, **more})}"


def _known(statuses: Mapping[str, T], status: str) -> T:
    try:
        return statuses[status]
    except KeyError:
        raise OutcomeUnknown(message="the object has a new status", code="new_status") from None
