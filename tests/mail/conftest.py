from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.mail.office import Office, alone, opened
from tests.sandbox_fixture import MailProcess
from web.app import create_app


@pytest.fixture
def office(database, mail: MailProcess, monkeypatch) -> Iterator[Office]:
    """A company with one address, whose letters go to the stand-in."""
    with opened(
        monkeypatch,
        MAIL_PROVIDER="sendgrid",
        SENDGRID_API_KEY="SG.tests",
        SENDGRID_API_BASE=mail.url,
        SENDGRID_WEBHOOK_KEY=mail.webhook_key,
        PUBLIC_URL="https://pay.example.com",
    ):
        made = Office(mail)
        alone(made)
        yield made


@pytest.fixture(scope="session")
def app(migrated) -> Flask:
    return create_app()


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    """Whoever comes without a login."""
    return app.test_client()
