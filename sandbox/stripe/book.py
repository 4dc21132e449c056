"""The book in Stripe's terms: its ids, and what its objects are looked up by."""

from __future__ import annotations

import secrets

from sandbox.standin.book import Book as AnyBook
from sandbox.stripe.errors import InvalidRequest, missing

PREFIXES = {
    "balance_transaction": "txn_",
    "charge": "ch_",
    "customer": "cus_",
    "dispute": "dp_",
    "event": "evt_",
    "payment_intent": "pi_",
    "payment_method": "pm_",
    "payout": "po_",
    "refund": "re_",
    "subscription": "sub_",
}


def new_id(kind: str) -> str:
    """Return an id that looks like Stripe's."""
    return PREFIXES[kind] + "3Q" + secrets.token_hex(11)


def kind_of(object_id: str) -> str:
    """Return the kind of object that an id belongs to."""
    prefix = object_id.partition("_")[0] + "_"
    return next((kind for kind, known in PREFIXES.items() if known == prefix), "object")


class Book(AnyBook):
    """Objects in Stripe's shapes."""

    indexed = {  # noqa: RUF012  declared as ClassVar where it is inherited from
        "balance_transaction": ("payout", "source", "type"),
        "charge": ("customer", "payment_intent"),
        "customer": ("email",),
        "dispute": ("charge", "payment_intent"),
        "event": ("type",),
        "payment_intent": ("customer",),
        "payment_method": ("customer",),
        "payout": ("status",),
        "refund": ("charge", "payment_intent"),
        "subscription": ("customer", "status"),
    }
    key_life_s = 24 * 60 * 60

    def missing(self, kind: str, object_id: str, *, param: str) -> InvalidRequest:
        """Return Stripe's `resource_missing`."""
        return missing(kind, object_id, param=param)
