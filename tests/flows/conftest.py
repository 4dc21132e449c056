from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.factories import make_company
from tests.flows.paypal_till import Till, environ_of, forget_settings, open_till
from tests.sandbox_fixture import PayPalProcess
from tests.web.visitor import PASSWORD, Visitor
from web.app import Application, create_app
from web.auth import tokens
from web.limits import limits
from worker.passwords import hash_password


@pytest.fixture(scope="session")
def flows_app(migrated: dict[str, str]) -> Application:
    """This process's application; it reads its settings at each request."""
    return create_app()


@pytest.fixture(scope="session")
def flows_password_hash() -> str:
    return hash_password(PASSWORD)


@pytest.fixture
def till(
    database: dict[str, str],
    flows_app: Application,
    flows_password_hash: str,
    paypal: PayPalProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Till]:
    """A company at this process's own application, with PayPal's stand-in behind it."""
    for name, value in environ_of(paypal).items():
        monkeypatch.setenv(name, value)
    forget_settings()
    limits.cache_clear()
    tokens.keys.cache_clear()
    customer = make_company(password_hash=flows_password_hash)
    with open_till(paypal, lambda: Visitor(flows_app).sign_in(customer.email), customer) as opened:
        yield opened
    monkeypatch.undo()
    forget_settings()
    limits.cache_clear()
