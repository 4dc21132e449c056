"""Views that only tests have: they make invoices in each way that the API makes things."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from itertools import repeat
from typing import Any
from uuid import UUID

from flask import Response
from pydantic import ConfigDict, Field
from sqlalchemy.orm import Session

from models.invoices import Invoice, InvoiceStatus, next_number
from models.tenants import Permission
from web.app import Application, create_app
from web.auth import allowed, caller, public
from web.idempotency import Begun, Made, Told, idempotent
from web.problems import Problem
from web.routes import Input, Routes, respond
from worker import replies


class NewThing(Input):
    amount: Decimal


class ThingPath(Input):
    thing_id: UUID


class ThingQuery(Input):
    limit: int = 10
    tags: list[str] = Field(default=[])


class Anything(Input):
    model_config = ConfigDict(extra="allow")


class Probe:
    """An application with the probe's routes, and what its views are told to do."""

    def __init__(self) -> None:
        self.reset()
        self.app: Application = create_app(self._routes())

    def reset(self) -> None:
        """Forget what the views were told, and how often they ran."""
        self.error: BaseException | None = None
        self.errors: Iterator[BaseException | None] = repeat(None)
        self.runs = 0

    def _routes(self) -> Routes:
        routes = Routes("probe", __name__, url_prefix="/api/v1/probe")
        routes.post("/things")(
            allowed(Permission.INVOICES_WRITE)(idempotent()(self._make(make_thing)))
        )
        begun = idempotent(tell=tell_thing, ask_again=ask_again)(self._make(begin_thing))
        routes.post("/begun")(allowed(Permission.INVOICES_WRITE)(begun))
        routes.get("/things/<thing_id>")(allowed(Permission.INVOICES_READ)(read_thing))
        routes.get("/things")(allowed(Permission.INVOICES_READ)(list_things))
        routes.post("/echo")(public(echo))

        @routes.get("/fails")
        @public
        def fail() -> Response:
            assert self.error is not None
            raise self.error

        return routes

    def _make(self, make):
        lock = threading.Lock()

        def view(session: Session, body: NewThing):
            with lock:
                self.runs += 1
            outcome = make(session, body)
            if error := (self.error or next(self.errors)):
                raise error
            return outcome

        view.__name__ = make.__name__
        return view


def create_probe() -> Application:
    """For gunicorn."""
    return Probe().app


def make_invoice(session: Session, amount: Decimal) -> Invoice:
    company_id = caller().company_id
    invoice = Invoice(
        company_id=company_id,
        number=next_number(session, company_id),
        status=InvoiceStatus.OPEN,
        amount=amount,
    )
    session.add(invoice)
    session.flush()
    return invoice


def make_thing(session: Session, body: NewThing) -> Made:
    invoice = make_invoice(session, body.amount)
    shown = {"id": invoice.id, "number": invoice.number, "amount": invoice.amount}
    return Made(shown, location=f"/api/v1/probe/things/{invoice.id}")


def begin_thing(session: Session, body: NewThing) -> Begun:
    invoice = make_invoice(session, body.amount)
    key = replies.new_key()
    replies.send(key, {"secret": "first"})
    return Begun(invoice.id, key)


def ask_again(_session: Session, _thing_id: UUID) -> str:
    key = replies.new_key()
    replies.send(key, {"secret": "again"})
    return key


def tell_thing(session: Session, thing_id: UUID, reply: dict[str, Any] | None) -> Told:
    invoice = session.get_one(Invoice, thing_id)
    shown = {"id": invoice.id, "number": invoice.number, "secret": reply and reply["secret"]}
    return Told(shown, 200 if reply else 202, location=f"/api/v1/probe/things/{thing_id}")


def read_thing(path: ThingPath) -> Response:
    raise Problem("not-found", f"No thing {path.thing_id}.")


def list_things(query: ThingQuery) -> Response:
    return respond({"limit": query.limit, "tags": query.tags})


def echo(body: Anything) -> Response:
    return respond(body.model_extra)
