from __future__ import annotations

import re
import shutil
import subprocess
from decimal import Decimal

import pytest
from sqlalchemy import select

from models.alerts import Severity, raise_alert
from models.clock import now
from models.outbox import Owed, OwedStatus, enqueue
from models.tenants import Company, User
from models.transactions import Provider, Status, Transaction
from models.webhooks import PaymentWebhook, WebhookStatus
from tests.factories import add_invoice
from tests.flows.test_api_guide import documents
from tests.system import BIN, ROOT

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
INTENT = {"id": "pi_runbook", "object": "payment_intent", "metadata": {}}


@pytest.fixture
def trouble(system):
    """A demo company with a dead letter of each kind, an ignored event and an alert."""
    subprocess.run(
        [BIN / "flask", "--app", "web.app", "demo-company"],
        env=system.environ,
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    with system.session() as session:
        operator = session.scalars(select(User).where(User.email == "operator@demo.example")).one()
        company_id = session.scalars(
            select(Company.id).where(Company.tenant_id == operator.tenant_id)
        ).one()
    with system.session(company_id) as session:
        canceled, doubted = (
            Transaction(
                company_id=company_id,
                invoice_id=add_invoice(session, company_id, "100.00"),
                amount=Decimal("100.00"),
                payment_method=Provider.STRIPE,
                status=status,
            )
            for status in (Status.CANCELED, Status.NEEDS_REVIEW)
        )
        session.add_all([canceled, doubted])
        session.flush()
        raise_alert(
            session, "needs_review", severity=Severity.CRITICAL, message="Look.", subject=doubted
        )
        dead = [
            enqueue(session, "methods.nobody", method_id=doubted.id),
            enqueue(session, "payments.charge", transaction_id=canceled.id),
        ]
    with system.session() as session:
        failed, ignored = (
            PaymentWebhook(
                event_type="payment_intent.succeeded",
                provider="stripe",
                provider_event_id=f"evt_{status}",
                payload={"data": {"object": INTENT}},
                status=status,
                handled_at=now(),
            )
            for status in (WebhookStatus.FAILED, WebhookStatus.IGNORED)
        )
        session.add_all([failed, ignored])
        session.flush()
        dead.append(enqueue(session, "webhooks.handle", event_id=failed.id))
    with system.session() as session:
        for row in dead:
            letter = session.get_one(Owed, row.id)
            letter.status, letter.error, letter.failures = OwedStatus.DEAD, "KeyError: 'id'", 5
    return [row.id for row in dead]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the runbook's commands use curl")
def test_every_command_of_the_runbook_works(system, trouble):
    commands = re.findall(r"```sh\n(.*?)```", RUNBOOK, re.DOTALL)
    script = "\n".join(["set -euo pipefail", *(f"{one}\necho" for one in commands)])
    done = subprocess.run(
        ["bash", "-c", script],
        env={**system.environ, "api": system.web_url},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = list(documents(done.stdout.replace("methods.nobody\n", "")))
    (ready, alerts, closed, listed, letter, tried, replayed, many, dismissed, event, seen, again,
     reviews, invariants) = told  # fmt: skip
    unhandled, by_filter, of_event = trouble
    assert ready["dead_letters"]["number"] == 3
    assert [each["kind"] for each in alerts["data"]] == ["needs_review"]
    assert closed["is_resolved"]
    assert [each["id"] for each in listed["data"]] == [str(of_event)]
    assert letter["id"] == str(of_event)
    assert [each["error"] for each in tried["foreseen"]] == [None]
    assert replayed["replayed"] == [str(of_event)]
    assert many["replayed"] == [str(by_filter)]
    assert (dismissed["id"], dismissed["status"]) == (str(unhandled), "dismissed")
    assert event["status"] == "ignored"
    assert seen["dry_run"]
    assert again["replayed"] == [event["id"]]
    assert [each["kind"] for each in reviews["data"]] == ["payment"]
    assert invariants["data"]
    assert all(verdict["holds"] is not None for verdict in invariants["data"])
