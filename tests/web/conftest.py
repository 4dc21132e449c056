"""The application in this process, on real servers, and users who are signed in to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from models.tenants import Role
from tests.factories import Customer, make_company
from tests.web.probe import Probe
from tests.web.visitor import PASSWORD, Visitor
from web.auth import tokens
from web.limits import limits
from worker.passwords import hash_password
from worker.settings import settings

# Tests sign in more often than any address may; those of the limits set their own.
GENEROUS = {"LOGIN_RATE_LIMIT": "100000 per minute", "RATE_LIMIT": "100000 per minute"}

Setter = Callable[..., None]


@pytest.fixture(scope="session")
def password_hash() -> str:
    return hash_password(PASSWORD)


@pytest.fixture
def use(database: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Setter]:
    """Set settings for this test: `use(wait_s="1")`."""

    def forget() -> None:
        for cached in (settings, limits, tokens.keys):
            cached.cache_clear()

    def set_them(**environ: str) -> None:
        for name, value in environ.items():
            monkeypatch.setenv(name.upper(), value)
        forget()

    set_them(**GENEROUS)
    yield set_them
    monkeypatch.undo()
    forget()


@cache
def _probe() -> Probe:
    return Probe()


@pytest.fixture
def probe(use: Setter) -> Probe:
    """This process's application with the probe's routes; it reads its settings at each request.

    To make one takes as long as most tests of it do: a hundred and fifty routes are compiled.
    """
    found = _probe()
    found.reset()
    return found


@pytest.fixture
def visitor(probe: Probe) -> Visitor:
    """Somebody who is not signed in."""
    return Visitor(probe.app)


@pytest.fixture
def person(use: Setter, password_hash: str) -> Customer:
    """The owner of a company of this test's own, who has a password."""
    return make_company(password_hash=password_hash)


@pytest.fixture
def owner(visitor: Visitor, person: Customer) -> Visitor:
    return visitor.sign_in(person.email)


@pytest.fixture
def sign_in_as(visitor: Visitor, password_hash: str) -> Callable[[Role], Visitor]:
    """Sign in a new user of that role, of a company of their own."""

    def sign_in(role: Role) -> Visitor:
        return visitor.sign_in(make_company(role=role, password_hash=password_hash).email)

    return sign_in
