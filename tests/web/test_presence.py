"""Who is online, with their names, of the own company or tenant and no other."""

from __future__ import annotations

import pytest

from models.ids import new_id
from models.tenants import Role, User
from tests.factories import make_company
from tests.web.visitor import problem_of
from worker.channels import channels
from worker.database import transaction
from worker.presence import Held, Presence

PRESENCE = "/api/v1/presence"
SINCE = "2026-11-23T03:26:38.020198+00:00"


@pytest.fixture
def hold(use):
    """Hold users on a channel as a relay does; let go in the end."""
    relay = Presence(channels(), new_id().hex)
    held: list[Held] = []

    def hold_them(channel, *users):
        made = [Held(str(channel), user, SINCE) for user in users]
        held.extend(made)
        relay.hold(made)

    yield hold_them
    relay.let_go(held, grace_s=0)


@pytest.fixture
def owner(visitor, person):
    return visitor.sign_in(person.email)


def test_who_is_online_is_told_with_their_names(owner, person, hold):
    assert owner.get(PRESENCE).json == {"data": []}
    with transaction() as session:
        session.get_one(User, person.user_id).name = "Mira"
    hold(person.company_id, person.user_id)
    assert owner.get(PRESENCE).json["data"] == [
        {
            "user_id": str(person.user_id),
            "name": "Mira",
            "email": person.email,
            "since": SINCE.replace("+00:00", "Z"),
        }
    ]


def test_nobody_of_another_company_or_tenant_is_told(owner, person, hold):
    neighbour = make_company(tenant_id=person.tenant_id)
    hold(neighbour.company_id, neighbour.user_id)
    # On our channel, but of no tenant of ours: that would be a relay's mistake.
    hold(person.company_id, make_company().user_id)
    assert owner.get(PRESENCE).json == {"data": []}


def test_an_operator_sees_the_tenants_channel_or_the_companys_they_name(
    visitor, password_hash, hold
):
    staff = make_company(role=Role.OPERATOR, password_hash=password_hash)
    ours = make_company(tenant_id=staff.tenant_id)
    with transaction() as session:
        session.get_one(User, staff.user_id).company_id = None
    operator = visitor.sign_in(staff.email)
    hold(staff.tenant_id, staff.user_id)
    hold(ours.company_id, ours.user_id)
    [alone] = operator.get(PRESENCE).json["data"]
    assert alone["user_id"] == str(staff.user_id)
    [theirs] = operator.get(PRESENCE, X_Company_Id=str(ours.company_id)).json["data"]
    assert theirs["user_id"] == str(ours.user_id)


def test_without_redis_it_says_so_and_that_nobody_is_offline(owner, use):
    use(redis_url="redis://127.0.0.1:1/0")
    answer = owner.get(PRESENCE)
    problem = problem_of(answer, 503, "unavailable")
    assert "online" in problem["detail"]
    assert answer.headers["Retry-After"]
