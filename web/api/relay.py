"""The way into the relay: a ticket, and the address at which to show it."""

from __future__ import annotations

from flask import Response, request
from pydantic import BaseModel

from web import hosts
from web.auth import allowed, caller
from web.problems import Problem, unavailable
from web.routes import Input, Routes, respond
from web.schemas import Moment
from worker import tickets
from worker.cache import CacheAway
from worker.settings import settings
from worker.tickets import Ticket

routes = Routes("relay", __name__, url_prefix="/api/v1/relay")


class NewTicket(Input):
    """Nothing is to be said."""


class TicketAnswer(BaseModel):
    """A ticket for one connection, to be shown as the subprotocol `ticket.<ticket>`."""

    ticket: str
    expires_at: Moment
    url: str


@routes.post("/tickets", responses={201: TicketAnswer})
@allowed()
def make_ticket(body: NewTicket) -> Response:  # noqa: ARG001  a body may be sent, with nothing in it
    """Buy a ticket to the company's events, for one connection within 30 seconds.

    Without a company an operator hears the tenant's alerts.
    """
    who = caller()
    channel = tickets.channel_of(role=who.role, company_id=who.acting_for, tenant_id=who.tenant_id)
    if channel is None:
        raise Problem("forbidden", "Only operators hear a tenant.")
    ticket = Ticket(
        user_id=who.user_id,
        session_id=who.session_id,
        company_id=who.acting_for,
        channel=channel,
    )
    try:
        issued = tickets.issue(ticket)
    except CacheAway:
        raise unavailable("Redis cannot be reached, so there are no tickets now.") from None
    answer = TicketAnswer(ticket=issued.ticket, expires_at=issued.expires_at, url=address())
    return respond(answer, 201)


def address() -> str:
    """Return the address of the relay's sockets, as who makes this request can reach it.

    Raises:
        Problem: 400, it is at the host that was asked, which is none.
    """
    if settings().relay_url:
        return settings().relay_url
    scheme = "wss" if request.is_secure else "ws"
    return f"{scheme}://{hosts.asked()}:{settings().relay_port}/ws"
