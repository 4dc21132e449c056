"""Payment methods: cards and bank accounts of test names and numbers, attached to customers."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from sandbox.stripe import banks, customers
from sandbox.stripe.book import new_id
from sandbox.stripe.call import Call, Params, merged_metadata
from sandbox.stripe.cards import NUMBERS, Card, card_of, error_fields
from sandbox.stripe.errors import CardError, InvalidRequest, Object, missing, wrong_state
from sandbox.stripe.listing import list_of

YEARS_LEFT = 1
NO_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


def create(call: Call, params: Params) -> Object:
    """Make a card from `card[token]` or a test number, or a bank account from a test number."""
    kind = params.get("type", "card")
    if kind not in ("card", banks.TYPE) or kind not in params:
        raise InvalidRequest(
            f"The sandbox makes cards and bank accounts: give type=card and card, or "
            f"type={banks.TYPE} and {banks.TYPE}.",
            param="type",
        )
    if kind == banks.TYPE:
        return _bank_account(call, params)
    given = params["card"]
    token = given.get("token") or "tok_" + NUMBERS.get(given.get("number", ""), "")
    card = card_of(token)
    if card is None:
        if "token" in given:
            raise missing("token", token, param="card[token]")
        raise CardError(
            code="incorrect_number", message="Your card number is incorrect.", param="number"
        )
    return _card(call, token, card, params)


def _bank_account(call: Call, params: Params) -> Object:
    name = banks.NUMBERS.get(params[banks.TYPE].get("account_number", ""))
    if name is None:
        raise InvalidRequest(
            "The sandbox knows Stripe's test account numbers only.",
            param=f"{banks.TYPE}[account_number]",
        )
    account = banks.ACCOUNTS[name]
    traits = account.traits() | {"token": banks.PREFIX + name}
    return _made(call, banks.TYPE, banks.shown(account), traits, params)


def _card(call: Call, token: str, card: Card, params: Params) -> Object:
    given = params.get("card") or {}
    told = {
        "brand": card.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "pass" if given.get("cvc") else None,
        },
        "country": card.country,
        "display_brand": card.brand,
        "exp_month": given.get("exp_month") or 12,
        "exp_year": given.get("exp_year") or datetime.now(UTC).year + YEARS_LEFT,
        "fingerprint": _fingerprint(card),
        "funding": card.funding,
        "generated_from": None,
        "last4": card.last4,
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
    return _made(call, "card", told, card.traits() | {"token": token}, params)


def _made(call: Call, kind: str, told: Object, traits: dict[str, Any], params: Params) -> Object:
    billing: dict[str, Any] = params.get("billing_details") or {}
    method: Object = {
        "id": new_id("payment_method"),
        "object": "payment_method",
        "allow_redisplay": params.get("allow_redisplay", "unspecified"),
        "billing_details": {
            "address": NO_ADDRESS | (billing.get("address") or {}),
            "email": billing.get("email") or None,
            "name": billing.get("name") or None,
            "phone": billing.get("phone") or None,
            "tax_id": None,
        },
        "created": call.book.now(),
        "customer": None,
        "livemode": False,
        "metadata": merged_metadata({}, params.get("metadata")),
        "type": kind,
        kind: told,
    }
    call.book.note(method["id"], **traits)
    return call.book.put(method)


def _fingerprint(card: Card) -> str:
    return _hashed(repr(card))


def _hashed(told: str) -> str:
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def usable(call: Call, token: str, *, param: str = "payment_method") -> Object:
    """Return a payment method; each use of a test one (`pm_card_visa`) makes a new one."""
    if card := card_of(token):
        return _card(call, token, card, {})
    if account := banks.account_of(token):
        traits = account.traits() | {"token": token}
        return _made(call, banks.TYPE, banks.shown(account), traits, {})
    return call.book.get("payment_method", token, param=param)


def retrieve(call: Call, _params: Params, object_id: str) -> Object:
    """Return a payment method."""
    return usable(call, object_id, param="id")


def update(call: Call, params: Params, object_id: str) -> Object:
    """Change metadata, billing details or the expiry date."""
    method = call.book.get("payment_method", object_id)
    method["metadata"] = merged_metadata(method["metadata"], params.get("metadata"))
    billing = params.get("billing_details") or {}
    method["billing_details"] |= {k: v or None for k, v in billing.items() if k != "address"}
    expiry = params.get("card") or {}
    changes = {k: v for k, v in expiry.items() if k in ("exp_month", "exp_year")}
    return _changed(call, method, changes, "payment_method.updated")


def renew(call: Call, params: Params, object_id: str) -> Object:
    """Renew a card as the networks' updater does: a new date, perhaps a new number."""
    method = call.book.get("payment_method", object_id)
    known = ("exp_month", "exp_year", "fingerprint", "last4")
    changes = {name: params[name] for name in known if name in params}
    if "last4" in changes:
        told = f"{method['card']['brand']}{changes['last4']}"
        changes.setdefault("fingerprint", _hashed(told))
    if token := params.get("behaves_as"):
        card = card_of(token)
        if card is None:
            raise missing("token", token, param="behaves_as")
        call.book.note(object_id, **card.traits())
    return _changed(call, method, changes, "payment_method.automatically_updated")


def _changed(call: Call, method: Object, changes: Object, kind: str) -> Object:
    if method["type"] == "card":
        before = {"card": {name: method["card"][name] for name in changes}}
        method["card"] |= changes
    else:
        before = {}
    call.book.put(method)
    call.happened(kind, method, before)
    return method


def attach(call: Call, params: Params, object_id: str) -> Object:
    """Keep a payment method for a customer; the card is checked by its issuer."""
    customer_id = params.get("customer")
    if not customer_id:
        raise InvalidRequest(
            "Missing required param: customer.", code="parameter_missing", param="customer"
        )
    customers.living(call, customer_id)
    method = usable(call, object_id, param="id")
    if method["customer"] == customer_id:
        return method
    if method["customer"]:
        raise wrong_state(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    check_unspent(call, method)
    traits = call.book.known(method["id"])
    if traits.get("decline_code") and not traits["can_be_attached"]:
        raise CardError(**error_fields(traits))
    method["customer"] = customer_id
    told = method[method["type"]]
    # A test number stands for a card of its kind; two customers do not have the same one, or what
    # is counted a card would be counted for all of them together.
    told["fingerprint"] = _hashed(f"{told['fingerprint']} of {customer_id}")
    call.book.put(method)
    call.happened("payment_method.attached", method)
    return method


def check_unspent(call: Call, method: Object) -> None:
    """Refuse a method that was used without a customer, or detached from one."""
    if call.book.known(method["id"]).get("is_spent"):
        raise wrong_state(
            "The provided PaymentMethod was previously used with a PaymentIntent without Customer "
            "attachment, shared with a connected account without Customer attachment, or was "
            "detached from a Customer. It may not be used again. To use a PaymentMethod multiple "
            "times, you must attach it to a Customer first.",
            param="payment_method",
        )


def detach(call: Call, _params: Params, object_id: str) -> Object:
    """Let a customer's payment method go; it can never be used again."""
    method = call.book.get("payment_method", object_id)
    if not method["customer"]:
        raise wrong_state(
            "The payment method you provided is not attached to a customer so detachment is "
            "impossible.",
            param="payment_method",
        )
    before = {"customer": method["customer"]}
    method["customer"] = None
    call.book.note(object_id, is_spent=True)
    call.book.put(method)
    call.happened("payment_method.detached", method, before)
    return method


listed = list_of("payment_method", "payment_methods", "customer", "type")
