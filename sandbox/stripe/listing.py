"""Lists: newest first, `limit`, cursors both ways, `created` ranges, and `expand`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from typing import Any

from sandbox.stripe.book import Book, kind_of
from sandbox.stripe.call import Call, Operation, Params
from sandbox.stripe.errors import InvalidRequest, Object

DEFAULT_LIMIT = 10
MAX_LIMIT = 100
MAX_DEPTH = 4
EXPANDABLE: dict[str, str | None] = {
    "balance_transaction": "balance_transaction",
    "charge": "charge",
    "customer": "customer",
    "failure_balance_transaction": "balance_transaction",
    "default_payment_method": "payment_method",
    "latest_charge": "charge",
    "payment_intent": "payment_intent",
    "payment_method": "payment_method",
    "source": None,  # of a balance transaction: the charge, refund or dispute that moved it
}


def list_of(kind: str, noun: str, *filters: str) -> Operation:
    """Return the operation that lists a kind of object at `/v1/<noun>`, filtered by parameters."""

    def listed(call: Call, params: Params) -> Object:
        equal = {name: params.get(name) for name in filters}
        return page(call.book, kind, params, url=f"/v1/{noun}", **equal)

    return listed


def one_of(kind: str) -> Operation:
    """Return the operation that shows one object of a kind."""

    def retrieve(call: Call, _params: Params, object_id: str) -> Object:
        return call.book.get(kind, object_id)

    return retrieve


def page(
    book: Book,
    kind: str,
    params: dict[str, Any],
    *,
    url: str,
    fits: Callable[[Object], bool] | None = None,
    **equal: Any,
) -> Object:
    """Return one page of the objects that fit and have the values in `equal`."""
    limit = params.get("limit", DEFAULT_LIMIT)
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(
            f"This value must be between 1 and {MAX_LIMIT}.",
            param="limit",
            code="parameter_invalid_integer",
        )
    equal = {name: value for name, value in equal.items() if value is not None}
    is_backwards = "ending_before" in params
    candidates = _candidates(book, kind, params, equal)
    if fits:
        candidates = filter(fits, candidates)
    found = list(islice(candidates, limit + 1))
    data = found[:limit]
    return {
        "object": "list",
        "data": data[::-1] if is_backwards else data,
        "has_more": len(found) > limit,
        "url": url,
    }


def _candidates(
    book: Book, kind: str, params: dict[str, Any], equal: dict[str, Any]
) -> Iterator[Object]:
    low, high = _range(params.get("created"))
    if cursor := params.get("ending_before"):
        newer = book.around(kind, equal, cursor=cursor, is_older=False)
        fitting = takewhile(lambda o: high is None or o["created"] <= high, newer)
        return (o for o in fitting if low is None or o["created"] >= low)
    if cursor := params.get("starting_after"):
        older = book.around(kind, equal, cursor=cursor, is_older=True)
    else:
        older = book.newest_first(kind, **equal)
    fitting = takewhile(lambda o: low is None or o["created"] >= low, older)
    return (o for o in fitting if high is None or o["created"] <= high)


def _range(created: Any) -> tuple[int | None, int | None]:
    if created is None or isinstance(created, int):
        return created, created
    low, high = created.get("gte"), created.get("lte")
    if "gt" in created:
        low = max(created["gt"] + 1, low or 0)
    if "lt" in created:
        high = min(created["lt"] - 1, created["lt"] if high is None else high)
    return low, high


def expanded(book: Book, shown: Object, paths: list[str]) -> Object:
    """Return a copy of `shown` in which the ids at `paths` are whole objects.

    Raises:
        InvalidRequest: a path that can't be expanded, or is more than four levels deep.
    """
    for path in paths:
        keys = path.split(".")
        if len(keys) > MAX_DEPTH:
            raise InvalidRequest(
                f"You cannot expand more than {MAX_DEPTH} levels of a property.", param="expand"
            )
        shown = _expanded(book, shown, keys, path)
    return shown


def _expanded(book: Book, shown: Object, keys: list[str], path: str) -> Object:
    key, rest = keys[0], keys[1:]
    if shown.get("object") == "list" and key == "data" and rest:
        return shown | {"data": [_expanded(book, o, rest, path) for o in shown["data"]]}
    if key == "refunds" and shown.get("object") == "charge":
        url = f"/v1/charges/{shown['id']}/refunds"
        return shown | {"refunds": page(book, "refund", {}, url=url, charge=shown["id"])}
    if key == "tax_ids" and shown.get("object") == "customer":
        return shown | {"tax_ids": _tax_ids(book, shown)}
    value = shown.get(key)
    if isinstance(value, dict) and rest:
        return shown | {key: _expanded(book, value, rest, path)}
    if key not in EXPANDABLE or key not in shown:
        raise InvalidRequest(
            f"This property cannot be expanded ({path}).", param="expand", code="parameter_unknown"
        )
    if value is None:
        return shown
    inner = value if isinstance(value, dict) else book.get(EXPANDABLE[key] or kind_of(value), value)
    return shown | {key: _expanded(book, inner, rest, path) if rest else inner}


def _tax_ids(book: Book, customer: Object) -> Object:
    """Return what a customer is known by to its tax office; told only where it is asked for."""
    return {
        "object": "list",
        "data": book.known(customer["id"]).get("tax_ids", []),
        "has_more": False,
        "url": f"/v1/customers/{customer['id']}/tax_ids",
    }
