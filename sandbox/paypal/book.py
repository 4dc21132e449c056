"""The book in PayPal's terms.

An object is kept as a record: `shown` is what PayPal would show of it, the other fields are what it
is looked up by.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sandbox.paypal.errors import ApiError, Object, missing
from sandbox.standin.book import Book as AnyBook

ORDER_KEY_S = 6 * 60 * 60
PAYMENT_KEY_S = 45 * 24 * 60 * 60
VAULT_KEY_S = 3 * 60 * 60
ALPHABET = string.ascii_uppercase + string.digits


class Book(AnyBook):
    """Records of PayPal's objects."""

    indexed = {  # noqa: RUF012  declared as ClassVar where it is inherited from
        "capture": ("custom_id", "invoice_id", "order"),
        "dispute": ("capture",),
        "event": ("type",),
        "order": (),
        "payment_token": ("customer",),
        "refund": ("capture", "invoice_id", "order"),
        "setup_token": (),
    }
    key_life_s = ORDER_KEY_S

    def missing(self, kind: str, object_id: str, *, param: str) -> ApiError:  # noqa: ARG002
        """Return PayPal's 404."""
        return missing(field=param, value=object_id)

    def keep(self, kind: str, shown: Object, *, key: str = "id", **more: Any) -> Object:
        """Add a record of what PayPal shows; `key` is the name of its id."""
        record = {"id": shown[key], "object": kind, "created": self.now(), "shown": shown}
        return self.put(record | more)

    def time(self, at: int | None = None) -> str:
        """Return a moment, now by default, as PayPal writes it."""
        moment = datetime.fromtimestamp(self.now() if at is None else at, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def within(self, kind: str, start: str | None, end: str | None) -> Iterator[Object]:
        """Yield the records that were made from one moment to another, newest first."""
        low = seconds(start) if start else 0
        high = seconds(end) if end else self.now()
        for record in self.newest_first(kind):
            if low <= record["created"] <= high:
                yield record

    def known_record(self, object_id: str) -> Object:
        """Return the record of an id, whatever its kind.

        Raises:
            ApiError: PayPal's 404.
        """
        found = self._objects.get(object_id)
        if found is None:
            raise missing(value=object_id)
        return found

    def changed(self, record: Object, **shown: Any) -> Object:
        """Change what is shown of a record."""
        record["shown"] |= shown | {"update_time": self.time()}
        return self.put(record)


def seconds(moment: str) -> float:
    """Return a moment that was given, in seconds since 1970."""
    return datetime.fromisoformat(moment.upper()).timestamp()


def shown(record: Object) -> Object:
    """Return what PayPal shows of a record."""
    told: Object = record["shown"]
    return told


def new_id(length: int = 17) -> str:
    """Return an id that looks like PayPal's, of upper-case letters and digits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
