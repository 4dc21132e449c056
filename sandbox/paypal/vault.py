"""The vault: setup tokens that a payer approves, payment tokens that pay without the payer."""

from __future__ import annotations

import secrets
import string

from sandbox.paypal import payers
from sandbox.paypal.bodies import PaymentTokenRequest, SetupTokenRequest, TokenQuery
from sandbox.paypal.book import new_id
from sandbox.paypal.call import Call
from sandbox.paypal.errors import ApiError, Object, refused
from sandbox.paypal.payers import Fate

TOKENS = "/v3/vault/payment-tokens"
SETUPS = "/v3/vault/setup-tokens"
LOWER = string.ascii_lowercase + string.digits
LETTERS = string.ascii_letters
WAITING = "PAYER_ACTION_REQUIRED"


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def keep(call: Call, email: str, customer_id: str | None, **wallet: object) -> Object:
    """Keep a payer's wallet as a payment token."""
    token_id, customer = _random(LOWER, 17), customer_id or _random(LETTERS, 10)
    shown: Object = {
        "id": token_id,
        "customer": {"id": customer},
        "payment_source": {"paypal": payers.vaulted(email) | wallet},
        "links": [
            call.link(f"{TOKENS}/{token_id}", "self"),
            call.link(f"{TOKENS}/{token_id}", "delete", "DELETE"),
        ],
    }
    record = call.book.keep("payment_token", shown, customer=customer, email=email)
    call.book.note(token_id, **payers.fate_of_address(email).traits())
    _tell(call, record, "CREATED")
    return record


def payer_of(call: Call, token_id: str) -> tuple[str, Fate]:
    """Return whose token it is and how a payment with it ends.

    Raises:
        ApiError: TOKEN_ID_NOT_FOUND.
    """
    if fate := payers.fate_of_token(token_id):
        return payers.address_of(token_id), fate
    try:
        record = _living(call, token_id)
    except ApiError:
        raise refused("TOKEN_ID_NOT_FOUND") from None
    return record["email"], Fate(**call.book.known(token_id))


def _living(call: Call, token_id: str) -> Object:
    record = call.book.get("payment_token", token_id)
    if not record["customer"]:
        raise call.book.missing("payment_token", token_id, param="id")
    return record


def create(call: Call, body: PaymentTokenRequest) -> Object:
    """Make a payment token of a setup token that its payer has approved, or that needs none."""
    token = body.payment_source.token
    if token.id.startswith(payers.TOKENS):
        email = payers.address_of(token.id)
        return keep(call, email, _customer_of(body), usage_type="MERCHANT")
    setup = call.book.get("setup_token", token.id)
    if setup["shown"]["status"] != "APPROVED":
        raise refused("SETUP_TOKEN_NOT_APPROVED", field="/payment_source/token/id", value=token.id)
    customer = _customer_of(body) or setup["shown"]["customer"]["id"]
    setup["shown"]["status"] = "VAULTED"
    call.book.put(setup)
    return keep(call, setup["email"], customer, **setup["wallet"])


def _customer_of(body: PaymentTokenRequest | SetupTokenRequest) -> str | None:
    return body.customer.id if body.customer else None


def retrieve(call: Call, _params: object, token_id: str) -> Object:
    """Return a payment token that was not deleted."""
    return _living(call, token_id)


def listed(call: Call, query: TokenQuery) -> Object:
    """List the payment tokens of a customer."""
    found = list(call.book.newest_first("payment_token", customer=query.customer_id))
    first = (query.page - 1) * query.page_size
    pages = max(1, -(-len(found) // query.page_size))
    path = f"{TOKENS}?customer_id={query.customer_id}&page={{}}&page_size={query.page_size}"
    shown: Object = {
        "customer": {"id": query.customer_id},
        "payment_tokens": [one["shown"] for one in found[first : first + query.page_size]],
        "links": [
            call.link(path.format(query.page), "self"),
            call.link(path.format(1), "first"),
            call.link(path.format(pages), "last"),
        ],
    }
    if query.page < pages:
        shown["links"].append(call.link(path.format(query.page + 1), "next"))
    if query.total_required and found:
        shown |= {"total_items": len(found), "total_pages": pages}
    return {"shown": shown}


def delete(call: Call, _params: object, token_id: str) -> None:
    """Forget a payment token; it can never pay again."""
    record = _living(call, token_id)
    # A customer is what a token is listed by, and what a living one has.
    _tell(call, call.book.put(record | {"customer": None}), "DELETED")


def _tell(call: Call, record: Object, how: str) -> None:
    call.happened(
        f"VAULT.PAYMENT-TOKEN.{how}",
        "payment_token",
        record["shown"],
        f"A payment token has been {how.lower()}.",
        about=record["id"],
    )


def set_up(call: Call, body: SetupTokenRequest) -> Object:
    """Ask a payer to agree to later payments."""
    token_id = new_id()
    wallet = body.payment_source.paypal.said()
    context = wallet.pop("experience_context", {})
    shown: Object = {
        "id": token_id,
        "customer": {"id": _customer_of(body) or _random(LETTERS, 10)},
        "status": WAITING,
        "payment_source": {"paypal": dict(wallet)},
        "links": [
            call.link(f"{SETUPS}/{token_id}", "self"),
            call.link(f"/sandbox/approve/{token_id}", "approve"),
            call.link(TOKENS, "confirm", "POST"),
        ],
    }
    return call.book.keep("setup_token", shown, email=None, wallet=wallet, context=context)


def approved(call: Call, setup: Object, email: str) -> Object:
    """Have the payer agree."""
    setup["email"] = email
    source = {"paypal": payers.vaulted(email) | setup["wallet"]}
    setup["shown"] |= {"status": "APPROVED", "payment_source": source}
    return call.book.put(setup)


def setup(call: Call, _params: object, token_id: str) -> Object:
    """Return a setup token."""
    return call.book.get("setup_token", token_id)
