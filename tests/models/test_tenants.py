"""Who may do what, as data."""

from __future__ import annotations

import pytest

from models.tenants import GRANTS, Permission, Role

READING = {
    Permission.PAYMENTS_READ,
    Permission.METHODS_READ,
    Permission.INVOICES_READ,
    Permission.DISPUTES_READ,
    Permission.MODULES_READ,
    Permission.ANALYTICS_READ,
}
PAYING = {
    Permission.PAYMENTS_WRITE,
    Permission.METHODS_WRITE,
    Permission.REFUNDS_WRITE,
    Permission.DISPUTES_WRITE,
}
BILLING = {Permission.INVOICES_WRITE, Permission.MODULES_WRITE, Permission.ANALYTICS_WRITE}
CONNECTING = {Permission.ENDPOINTS_READ, Permission.ENDPOINTS_WRITE}


@pytest.mark.parametrize(
    ("role", "permissions"),
    [
        (Role.MEMBER, READING),
        (Role.BILLING_ADMIN, READING | PAYING | BILLING),
        (Role.OWNER, READING | PAYING | BILLING | CONNECTING),
        (Role.OPERATOR, set(Permission)),
    ],
)
def test_a_role_is_granted_just_this(role, permissions):
    assert GRANTS[role] == permissions


def test_every_role_is_granted_something_and_every_permission_to_somebody():
    assert set(GRANTS) == set(Role)
    assert frozenset().union(*GRANTS.values()) == set(Permission)


def test_operations_are_for_operators_only():
    granted = {role for role, permissions in GRANTS.items() if Permission.OPERATIONS in permissions}
    assert granted == {Role.OPERATOR}
