"""A company's cards and other ways to pay: seen, added, made the default, removed.

A card's data goes from the browser to its provider; what comes here is a token of theirs. The views
are the API's own.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint

from web.api import payment_methods
from web.api.payment_methods import MethodPath, MethodsQuery, NewMethod, Token
from web.auth import visiting
from web.portal.visits import PREFIX
from web.routes import Input, read_body

routes = Blueprint("portal_cards", __name__)
ONE = f"{PREFIX}/payment-methods/<uuid:method_id>"
MOST = 100


class Nothing(Input):
    """A body that says nothing."""


@routes.get(f"{PREFIX}/payment-methods")
@visiting(whole=True)
def list_methods(visit_id: UUID) -> Any:  # noqa: ARG001  the guard has read it
    """List what the company pays with, the default first."""
    return payment_methods.list_methods(query=MethodsQuery(cursor=None, limit=MOST))


@routes.post(f"{PREFIX}/payment-methods")
@visiting(whole=True)
def add(visit_id: UUID) -> Any:  # noqa: ARG001
    """Add what a provider's token stands for."""
    return payment_methods.add_method(body=read_body(NewMethod))


@routes.get(ONE)
@visiting(whole=True)
def read(visit_id: UUID, method_id: UUID) -> Any:  # noqa: ARG001
    """Return one, also while its provider has not answered."""
    return payment_methods.read_method(path=MethodPath(payment_method_id=method_id))


@routes.post(f"{ONE}/replace")
@visiting(whole=True)
def replace(visit_id: UUID, method_id: UUID) -> Any:  # noqa: ARG001
    """Put a new card in the place of one."""
    path = MethodPath(payment_method_id=method_id)
    return payment_methods.replace_method(path=path, body=read_body(Token))


@routes.post(f"{ONE}/default")
@visiting(whole=True)
def choose(visit_id: UUID, method_id: UUID) -> Any:  # noqa: ARG001
    """Make one the default."""
    read_body(Nothing)
    return payment_methods.choose_default(path=MethodPath(payment_method_id=method_id))


@routes.delete(ONE)
@visiting(whole=True)
def remove(visit_id: UUID, method_id: UUID) -> Any:  # noqa: ARG001
    """Remove one."""
    return payment_methods.remove_method(path=MethodPath(payment_method_id=method_id))
