"""Who is online: whoever has a socket open at a relay, for the company or the tenant."""

from __future__ import annotations

from uuid import UUID

from flask import Response
from pydantic import BaseModel
from sqlalchemy import select

from models.tenants import User
from web.auth import allowed, caller
from web.problems import unavailable
from web.routes import Routes, respond
from web.schemas import Moment
from worker.cache import CacheAway
from worker.database import transaction
from worker.presence import present

routes = Routes("presence", __name__, url_prefix="/api/v1/presence")


class PresentAnswer(BaseModel):
    """Somebody who is online, and since when."""

    user_id: UUID
    name: str
    email: str
    since: Moment


class PresenceAnswer(BaseModel):
    """Who is online, first who has been for longest."""

    data: list[PresentAnswer]


@routes.get("", responses={200: PresenceAnswer})
@allowed()
def read_presence() -> Response:
    """Return who hears the company's events now; for an operator without a company, the tenant's.

    503 while Redis is away, which alone knows: ask again in a moment. Nobody is offline for that.
    """
    who = caller()
    try:
        found = present(who.company_in_sight or who.tenant_id)
    except CacheAway:
        raise unavailable("Redis cannot be reached, so nobody can say who is online.") from None
    with transaction() as session:
        ids = [each.user_id for each in found]
        named = select(User.id, User.name, User.email).where(
            User.id.in_(ids), User.tenant_id == who.tenant_id
        )
        people = {user_id: (name, email) for user_id, name, email in session.execute(named)}
    return respond(
        {
            "data": [
                {
                    "user_id": each.user_id,
                    "name": people[each.user_id][0],
                    "email": people[each.user_id][1],
                    "since": each.since,
                }
                for each in found
                if each.user_id in people
            ]
        }
    )
