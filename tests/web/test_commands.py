"""What people and releases run: `flask --app web.app ...`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select, text

from models import outbox
from models.clock import now
from models.ids import new_id
from models.outbox import Owed
from models.tenants import Role, Tenant, User
from tests.factories import make_company
from tests.waiting import wait_for
from tests.web.visitor import PASSWORD
from web.people import DEMO_OWNER, DEMO_PASSWORD, DEMO_STAFF
from worker import dispatch
from worker.database import transaction

BIN = Path(sys.executable).parent


@pytest.fixture
def run(probe):
    """Run a command in this process."""
    return lambda *words, **options: probe.app.test_cli_runner().invoke(
        args=[str(word) for word in words], **options
    )


def test_the_demo_company_can_be_signed_in_to(run, visitor):
    for _ in range(2):
        result = run("demo-company")
        assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == f"{DEMO_OWNER} / {DEMO_PASSWORD}"
    roles = set()
    for email in (DEMO_OWNER, *DEMO_STAFF):
        roles.add(visitor.sign_in(email, DEMO_PASSWORD).get("/api/v1/auth/me").json["role"])
    assert roles == set(Role)


def test_the_demo_company_is_brought_back_to_how_it_was(run, visitor):
    run("demo-company")
    with transaction() as session:
        user = session.scalars(select(User).where(User.email == DEMO_OWNER)).one()
        user.is_active, user.password_hash = False, "none"
    run("demo-company")
    visitor.sign_in(DEMO_OWNER, DEMO_PASSWORD)


def test_there_is_no_demo_company_in_production(run, monkeypatch):
    from worker.settings import Settings

    monkeypatch.setattr(Settings, "is_production", property(lambda _: True))
    result = run("demo-company")
    assert result.exit_code == 1
    assert DEMO_PASSWORD not in result.output


def test_a_company_and_its_users_are_added(run, visitor):
    added = run("company-add", "Acme", "bills@example.com", "--currency", "EUR")
    words = dict(line.split() for line in added.stdout.splitlines())
    email = f"{new_id()}@example.com"
    secret = ("--password", PASSWORD)
    owner = run("user-add", email, "--role", "owner", "--company-id", words["company"], *secret)
    assert owner.exit_code == 0, owner.output
    me = visitor.sign_in(email).get("/api/v1/auth/me").json
    assert (me["role"], me["company_id"]) == ("owner", words["company"])
    other = f"{new_id()}@example.com"
    run("user-add", other, "--role", "operator", "--tenant-id", words["tenant"], *secret)
    assert visitor.sign_in(other).get("/api/v1/auth/me").json["company_id"] is None


@pytest.mark.parametrize(
    "words",
    [
        ["--role", "owner", "--password", PASSWORD],
        ["--role", "operator", "--company-id", str(new_id()), "--password", PASSWORD],
        ["--role", "owner", "--company-id", str(new_id()), "--password", PASSWORD],
        ["--role", "operator", "--tenant-id", str(new_id()), "--password", PASSWORD],
        ["--role", "king", "--company-id", str(new_id()), "--password", PASSWORD],
        ["--role", "owner", "--company-id", str(new_id()), "--password", "short"],
    ],
)
def test_a_user_that_makes_no_sense_is_refused_in_a_sentence(run, words):
    result = run("user-add", f"{new_id()}@example.com", *words)
    assert result.exit_code in {1, 2}
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "words",
    [
        ["company-add", "Acme", "not an email"],
        ["company-add", "Acme", ""],
        ["company-add", " ", "bills@example.com"],
        ["user-add", "olga", "--role", "owner", "--company-id", str(new_id())],
    ],
)
def test_a_company_without_a_name_and_an_address_that_is_none_are_refused(run, words):
    secret = ["--password", PASSWORD] if words[0] == "user-add" else []
    result = run(*words, *secret)
    assert result.exit_code == 1
    assert "needs a name" in result.output or "is not an email address" in result.output


def test_an_email_is_taken_once(run, person):
    words = ["--role", "owner", "--company-id", str(person.company_id), "--password", PASSWORD]
    result = run("user-add", person.email.upper(), *words)
    assert (result.exit_code, "taken" in result.output) == (1, True)


def test_a_reset_password_ends_the_sessions(run, visitor, person):
    owner = visitor.sign_in(person.email)
    result = run("password-reset", person.email, input="a new password\na new password\n")
    assert result.exit_code == 0, result.output
    assert "1 sessions ended" in result.output
    wait_for(lambda: owner.get("/api/v1/auth/me").status_code == 401)
    visitor.sign_in(person.email, "a new password")
    assert run("password-reset", "nobody@example.com", "--password", PASSWORD).exit_code == 1


def test_rebuild_sends_again_what_the_broker_lost(run, customer):
    with transaction(company_id=customer.company_id) as session:
        owed = outbox.enqueue(session, "refunds.send", refund_id=new_id())
    bell = dispatch.doorbell().client
    bell.delete("refunds")
    result = run("rebuild")
    assert result.exit_code == 0, result.output
    assert str(owed.id) in "".join(bell.lrange("refunds", 0, -1))
    bell.delete("refunds")
    with transaction() as session:
        assert session.get_one(Owed, owed.id).sent_at <= now()
        session.execute(text("DELETE FROM outbox").execution_options(spans_companies="a test"))


def from_the_shell(command, environ):
    return subprocess.run(
        [BIN / "flask", "--app", "web.app", command],
        env=os.environ | environ,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_migrate_is_safe_twice_and_quick_from_the_shell(use, database):
    for _ in range(2):
        done = from_the_shell("migrate", database)
        assert done.returncode == 0, done.stderr
    assert "up to date" in done.stdout


def test_a_database_that_is_away_is_one_sentence(use, database):
    away = {"DATABASE_URL": "mysql+pymysql://paybeat:x@127.0.0.1:1/paybeat"}
    done = from_the_shell("demo-company", away)
    assert done.returncode == 1
    assert "The database cannot be reached." in done.stderr
    assert "Traceback" not in done.stderr


def test_ids_are_ids(run):
    customer = make_company()
    result = run("company-add", "B", "b@example.com", "--tenant-id", customer.tenant_id)
    assert UUID(result.stdout.split()[-1])
    assert run("company-add", "B", "b@example.com", "--tenant-id", new_id()).exit_code == 1
    assert run("company-add", "B", "b@example.com", "--currency", "XXX").exit_code == 1


def test_a_tenant_is_made_the_platform_and_unmade(run):
    tenant_id = make_company().tenant_id
    for options, is_platform in (((), True), (("--no",), False)):
        assert run("tenant-platform", tenant_id, *options).exit_code == 0
        with transaction() as session:
            assert session.get_one(Tenant, tenant_id).is_platform is is_platform
    assert run("tenant-platform", new_id()).exit_code == 1


def test_who_adds_a_company_hears_that_nobody_is_the_platform_yet(run):
    with transaction() as session:
        platforms = session.scalars(select(Tenant).where(Tenant.is_platform)).all()
        for each in platforms:
            each.is_platform = False
    added = run("company-add", "B", "b@example.com")
    tenant_id = added.stdout.split()[1]
    assert f"tenant-platform {tenant_id}" in added.stderr
    run("tenant-platform", tenant_id)
    assert "tenant-platform" not in run("company-add", "B", "b@example.com").stderr
    run("tenant-platform", tenant_id, "--no")
    with transaction() as session:
        for each in platforms:
            session.get_one(Tenant, each.id).is_platform = True
