"""The API as its users meet it: the whole system runs, and they speak HTTP to it."""

from __future__ import annotations

import pytest

from models.tenants import Role, Tenant, User
from tests.client import Client
from tests.factories import make_company
from tests.system import System
from worker.database import transaction


@pytest.fixture
def owner(system: System) -> Client:
    """The signed-in owner of a new company."""
    return system.member()


@pytest.fixture
def staff(use, password_hash):
    """An operator of the platform's own tenant, in this process."""
    found = make_company(role=Role.OPERATOR, password_hash=password_hash)
    with transaction() as session:
        session.get_one(Tenant, found.tenant_id).is_platform = True
    return found


@pytest.fixture
def ours(staff):
    return make_company(tenant_id=staff.tenant_id)


@pytest.fixture
def operator(visitor, staff):
    """Signed in for the whole tenant: an operator has no company of their own."""
    with transaction() as session:
        session.get_one(User, staff.user_id).company_id = None
    return visitor.sign_in(staff.email)
