"""Which operation answers which request, what it takes and how it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from sandbox.paypal import bodies, captures, disputes, events, orders, refunds, reporting, vault
from sandbox.paypal.book import ORDER_KEY_S, PAYMENT_KEY_S, VAULT_KEY_S, shown
from sandbox.paypal.call import EVENTS, Call, Operation
from sandbox.paypal.errors import Object

OK, CREATED, ACCEPTED, NOTHING = 200, 201, 202, 204


def as_it_is(_call: Call, record: Object) -> Object:
    """Show a record as it is kept."""
    return shown(record)


def whole_order(call: Call, record: Object) -> Object:
    """Show all of an order, whatever is preferred."""
    return orders.whole(call, record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation."""

    method: str
    path: str
    run: Operation
    takes: TypeAdapter[Any]
    status: int = OK
    show: Callable[[Call, Object], Object] = as_it_is
    key_life_s: int | None = None
    """How long a PayPal-Request-Id is remembered; None where none is looked at."""
    needs_key: bool = False
    is_multipart: bool = False


def _get(path: str, run: Operation, takes: Any = bodies.Nothing, **more: Any) -> Route:
    return Route(method="GET", path=path, run=run, takes=TypeAdapter(takes), **more)


def _post(path: str, run: Operation, takes: Any, **more: Any) -> Route:
    return Route(method="POST", path=path, run=run, takes=TypeAdapter(takes), **more)


ORDER = {"show": orders.shown, "status": CREATED, "key_life_s": ORDER_KEY_S}
REFUND = {"show": refunds.shown, "status": CREATED, "key_life_s": PAYMENT_KEY_S}
TOKEN = {"status": CREATED, "key_life_s": VAULT_KEY_S, "needs_key": True}
ROUTES = (
    _post(orders.PATH, orders.create, bodies.OrderRequest, **ORDER),
    _get(f"{orders.PATH}/*", orders.retrieve, bodies.OrderQuery, show=whole_order),
    Route(
        method="PATCH",
        path=f"{orders.PATH}/*",
        run=orders.update,
        takes=TypeAdapter(list[bodies.Patch]),
        status=NOTHING,
    ),
    _post(f"{orders.PATH}/*/capture", orders.capture, bodies.CaptureRequest, **ORDER),
    _post(f"{orders.PATH}/*/authorize", orders.authorize, bodies.CaptureRequest, **ORDER),
    _get(f"{captures.PATH}/*", captures.retrieve, show=captures.whole),
    _post(f"{captures.PATH}/*/refund", refunds.create, bodies.RefundRequest, **REFUND),
    _get(f"{refunds.PATH}/*", refunds.retrieve, show=refunds.whole),
    _post(vault.SETUPS, vault.set_up, bodies.SetupTokenRequest, **TOKEN),
    _get(f"{vault.SETUPS}/*", vault.setup),
    _post(vault.TOKENS, vault.create, bodies.PaymentTokenRequest, **TOKEN),
    _get(vault.TOKENS, vault.listed, bodies.TokenQuery),
    _get(f"{vault.TOKENS}/*", vault.retrieve),
    Route(
        method="DELETE",
        path=f"{vault.TOKENS}/*",
        run=vault.delete,
        takes=TypeAdapter(bodies.Nothing),
        status=NOTHING,
    ),
    _get(EVENTS, events.listed, bodies.EventQuery),
    _get(f"{EVENTS}/*", events.retrieve),
    _post(f"{EVENTS}/*/resend", events.resend, bodies.ResendRequest, status=ACCEPTED),
    _get(reporting.PATH, reporting.listed, bodies.TransactionQuery),
    _get(disputes.PATH, disputes.listed, bodies.DisputeQuery),
    _get(f"{disputes.PATH}/*", disputes.retrieve, show=disputes.whole),
    _post(
        f"{disputes.PATH}/*/accept-claim",
        disputes.accept,
        bodies.AcceptRequest,
        is_multipart=True,
    ),
    _post(
        f"{disputes.PATH}/*/provide-evidence",
        disputes.provide_evidence,
        bodies.EvidenceRequest,
        is_multipart=True,
    ),
)
COMPILED = [
    (route, re.compile(re.escape(route.path).replace(r"\*", "([^/]+)") + "$")) for route in ROUTES
]


def found(method: str, path: str) -> tuple[Route, tuple[str, ...]] | None:
    """Return the route of a path and the ids in it."""
    for route, pattern in COMPILED:
        if route.method == method and (match := pattern.match(path)):
            return route, match.groups()
    return None
