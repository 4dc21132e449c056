"""The door of the relay: who comes in, to which channel, and why somebody does not.

What a program can mend (a wrong header, a bad token) is answered as HTTP. Browsers see nothing of
such an answer, so whatever they must know is told by a close code after the upgrade.
"""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app, g, request
from sqlalchemy.exc import SQLAlchemyError

from models.tenants import Role
from web.auth import guard
from web.problems import Problem
from web.relay import handshake
from web.relay.codes import (
    CANNOT_CHECK,
    NOT_ALLOWED,
    NOT_UNDERSTOOD,
    SESSION_ENDED,
    TICKET_INVALID,
    Refusal,
)
from web.relay.lives import Guest
from worker import sessions, telemetry, tickets
from worker.cache import CacheAway
from worker.channels import Place
from worker.database import is_away, is_conflict

if TYPE_CHECKING:
    from simple_websocket import Server  # type: ignore[import-untyped]

    from web.relay.process import Relay

log = logging.getLogger(__name__)
_access = logging.getLogger("web.access")


@dataclass(frozen=True)
class Visitor:
    """Who knocked: let in from a place on, unless refused."""

    guest: Guest | None = None
    since: Place | None = None
    refusal: Refusal | None = None


def knock() -> None:
    """Find out who asks for a connection, before the upgrade.

    Raises:
        Problem: the upgrade does not take place.
    """
    handshake.check()
    shown = handshake.ticket()
    if shown is not None and {"Authorization", guard.COMPANY_HEADER} & set(request.headers.keys()):
        raise Problem("bad-request", "Show a ticket or Authorization: the ticket says it all.")
    g.visitor = _visitor(shown)
    g.user_agent = request.headers.get("User-Agent")
    handshake.strip(request.environ)


def _visitor(shown: str | None) -> Visitor:
    given = request.args.get("since")
    try:
        since = Place.parse(given) if given else None
    except ValueError:
        return Visitor(refusal=NOT_UNDERSTOOD)
    try:
        found = _by_header() if shown is None else _by_ticket(shown)
    except guard.SessionEnded:
        return Visitor(refusal=SESSION_ENDED)
    except CacheAway:
        return Visitor(refusal=CANNOT_CHECK)
    except SQLAlchemyError as error:
        if not is_away(error) and not is_conflict(error):
            raise
        log.warning("the database is away: %s", type(error).__name__)
        return Visitor(refusal=CANNOT_CHECK)
    if isinstance(found, Refusal):
        return Visitor(refusal=found)
    return Visitor(found, since)


def _by_header() -> Guest | Refusal:
    who = guard.authenticate_by_header()
    channel = tickets.channel_of(role=who.role, company_id=who.acting_for, tenant_id=who.tenant_id)
    if channel is None:
        return NOT_ALLOWED
    return Guest(
        channel=str(channel),
        user_id=who.user_id,
        session_id=who.session_id,
        company_id=who.acting_for,
        expires_at=who.expires_at,
        role=who.role,
    )


def _by_ticket(shown: str) -> Guest | Refusal:
    ticket = tickets.take(shown)
    if ticket is None:
        return TICKET_INVALID
    alive = sessions.verify(ticket.session_id, ticket.user_id)
    if alive is None:
        return SESSION_ENDED
    # An operator's company was one of the tenant's when the ticket was bought.
    may_act = alive.role is Role.OPERATOR or ticket.company_id == alive.company_id
    if not may_act or ticket.channel != tickets.channel_of(
        role=alive.role, company_id=ticket.company_id, tenant_id=alive.tenant_id
    ):
        return NOT_ALLOWED
    return Guest(
        channel=str(ticket.channel),
        user_id=ticket.user_id,
        session_id=ticket.session_id,
        company_id=ticket.company_id,
        expires_at=alive.expires_at,
        role=alive.role,
    )


def enter(ws: Server) -> None:
    """Hand the upgraded socket to the reactor, or close it with the reason."""
    visitor: Visitor = g.visitor
    guest, refusal = visitor.guest, visitor.refusal
    relay: Relay = current_app.extensions["relay"]
    if guest is not None:
        refusal = relay.limits.admit(guest)
    _tell(guest, refusal)
    if refusal is not None:
        ws.close(refusal.code, refusal.reason)
    elif guest is not None:
        relay.adopt(_taken_from(ws), guest, visitor.since)


def _taken_from(ws: Server) -> socket.socket:
    """Take the socket away from the server, which then finds nothing to read, write or close."""
    sock = socket.socket(fileno=ws.sock.detach())
    sock.settimeout(0)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ws.connected = False
    return sock


def _tell(guest: Guest | None, refusal: Refusal | None) -> None:
    """Write the access line, which gunicorn does not write for an upgrade."""
    telemetry.count("relay.connects", outcome=str(refusal.code if refusal else 101))
    if guest is not None:
        telemetry.note(user_id=guest.user_id, company_id=guest.company_id)
    _access.info(
        "GET %s %s",
        request.path,
        f"closed {refusal.code}" if refusal else "101",
        extra={
            "method": "GET",
            "path": request.path,
            "status": 101,
            "close_code": refusal.code if refusal else None,
            "remote": request.remote_addr,
            "user_agent": g.user_agent,
        },
    )
