"""What an operator sees and may touch: their own tenant's, and what is nobody's on the platform.

Every route that asks for the permission is tried, by the route map.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, text

from models import invariants
from models.alerts import Alert, Severity, raise_alert
from models.clock import now
from models.mail import ALL, MailStatus, MailSuppression, SuppressionReason, suppress
from models.outbox import Owed, OwedStatus, enqueue
from models.refunds import Refund, RefundReason, RefundStatus
from models.tables import METADATA
from models.tenants import Permission, Role, Tenant, User
from models.transactions import Status
from models.webhooks import PaymentWebhook, WebhookStatus
from tests.factories import Customer, make_company, make_invoice, make_mail, make_payment
from tests.web.visitor import problem_of
from web.app import create_app
from web.auth import guard_of
from worker.database import engine, transaction

OPERATIONS = "/api/v1/operations"
# What each route takes; a route that is not here fails the test of the map.
BODIES = {
    "/dead-letters/replay": {"ids": ["{dead_letter_id}"]},
    "/dead-letters/{dead_letter_id}/replay": {},
    "/dead-letters/{dead_letter_id}/dismiss": {"note": "mine"},
    "/events/replay": {"ids": ["{event_id}"]},
    "/alerts/{alert_id}/resolve": {"note": "mine"},
    "/payments/{transaction_id}/settle": {"outcome": "failed", "note": "mine"},
    "/refunds/{refund_id}/settle": {"outcome": "failed", "note": "mine"},
    "/mails/{mail_id}/resend": {"note": "mine"},
    "/mail-suppressions/{suppression_id}": None,
}
READ = {
    "/dead-letters",
    "/dead-letters/{dead_letter_id}",
    "/events",
    "/events/{event_id}",
    "/alerts",
    "/invariants",
    "/reviews",
    "/queues",
    "/mails",
    "/mail-suppressions",
}
# What tells of rows; the queues' numbers are of no tenant's.
LISTS = sorted(READ - {"/invariants", "/queues"} - {path for path in READ if "{" in path})
Ids = dict[str, str]


def fill(value: object, ids: Ids) -> object:
    if isinstance(value, dict):
        return {name: fill(each, ids) for name, each in value.items()}
    if isinstance(value, list):
        return [fill(each, ids) for each in value]
    return str(value).format(**ids)


def checksums() -> dict[str, int]:
    names = ", ".join(name for name in METADATA.tables if name != "user_sessions")
    with engine().connect() as connection:
        return dict(connection.execute(text(f"CHECKSUM TABLE {names}")).all())


def trouble(company_id: UUID | None) -> Ids:
    """A dead letter, a failed event and an alert: a company's, or nobody's."""
    with transaction() as session:
        letter = enqueue(session, "refunds.nothing", company_id=company_id, refund_id=uuid4())
        session.info["owed"].clear()
        letter.status = OwedStatus.DEAD
        event = PaymentWebhook(
            event_type="charge.updated",
            provider="stripe",
            provider_event_id=f"evt_{uuid4().hex}",
            payload={"data": {"object": {}}},
            status=WebhookStatus.FAILED,
            company_id=company_id,
            handled_at=now(),
        )
        session.add(event)
        alert = raise_alert(
            session, "a_test", severity=Severity.WARNING, message="Look.", company_id=company_id
        )
        session.flush()
        return {
            "dead_letter_id": str(letter.id),
            "event_id": str(event.id),
            "alert_id": str(alert.id),
        }


def letters(customer: Customer) -> Ids:
    """A letter that was not sent, and an address that is spared."""
    mail_id = make_mail(customer, status=MailStatus.FAILED)
    with transaction() as session:
        spared = suppress(
            session,
            customer.tenant_id,
            "spared@example.com",
            scope=ALL,
            reason=SuppressionReason.MANUAL,
        )
        session.flush()
        return {"mail_id": str(mail_id), "suppression_id": str(spared.id)}


def doubted(customer: Customer) -> Ids:
    """A payment and a refund that need a review."""
    invoice_id = make_invoice(customer.company_id)
    payment_id = make_payment(customer, invoice_id, status=Status.NEEDS_REVIEW)
    paid_id = make_payment(
        customer, invoice_id, status=Status.SUCCEEDED, amount_captured=Decimal("100.00")
    )
    with transaction(company_id=customer.company_id) as session:
        refund = Refund(
            company_id=customer.company_id,
            transaction_id=paid_id,
            amount=Decimal("1.00"),
            reason=RefundReason.REQUESTED,
            status=RefundStatus.PROCESSING,
            review_since=now() - timedelta(hours=1),
        )
        session.add(refund)
        session.flush()
        return {"transaction_id": str(payment_id), "refund_id": str(refund.id)}


@pytest.fixture
def theirs(use):
    """Another tenant's trouble of each kind."""
    stranger = make_company()
    return trouble(stranger.company_id) | doubted(stranger) | letters(stranger)


@pytest.fixture
def nobodys(use):
    return trouble(None)


@pytest.fixture(autouse=True)
def _put_away(database):
    yield
    with transaction() as session:
        for kind in (Owed, PaymentWebhook, Alert, MailSuppression):
            session.execute(delete(kind))


@pytest.fixture
def staff(use, password_hash):
    """An operator of a tenant that does not run this installation."""
    found = make_company(role=Role.OPERATOR, password_hash=password_hash)
    with transaction() as session:
        session.get_one(User, found.user_id).company_id = None
    return found


@pytest.fixture
def operator(visitor, staff):
    return visitor.sign_in(staff.email)


def make_platform(staff: Customer) -> None:
    with transaction() as session:
        session.get_one(Tenant, staff.tenant_id).is_platform = True


def test_every_route_for_operators_is_tried_here(use):
    app = create_app()
    found = {
        re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        if guard_of(app.view_functions[rule.endpoint]).permission is Permission.OPERATIONS
    }
    # The others are about one company and tried with all that are.
    assert {path.removeprefix(OPERATIONS) for path in found if OPERATIONS in path} == (
        READ | set(BODIES)
    )


def test_what_is_anothers_or_nobodys_is_not_found_and_not_touched(operator, staff, theirs, nobodys):
    own_company = {"X-Company-Id": str(staff.company_id)}
    before = checksums()
    for ids in (theirs, {**theirs, **nobodys}):
        for path, body in {**dict.fromkeys(READ), **BODIES}.items():
            method = "GET" if path in READ else "DELETE" if body is None else "POST"
            for headers in ({}, own_company):
                if "/settle" in path and not headers:
                    continue
                sent = headers | {"Idempotency-Key": str(uuid4())} if "/settle" in path else headers
                answer = operator.send(
                    method,
                    OPERATIONS + path.format(**ids),
                    json=fill(body, ids) if body is not None else None,
                    headers=sent,
                )
                if path in READ and "{" not in path:
                    assert answer.status_code == 200, path
                    assert not any(identity in answer.text for identity in ids.values()), path
                else:
                    problem_of(answer, 404, "not-found")
    assert checksums() == before


@pytest.mark.parametrize("kind", ["dead-letters", "events"])
def test_all_is_all_of_the_tenant(operator, staff, theirs, nobodys, kind):
    ours = trouble(staff.company_id)
    answer = operator.post(f"{OPERATIONS}/{kind}/replay", {"all": True})
    name = "dead_letter_id" if kind == "dead-letters" else "event_id"
    assert answer.json["replayed"] == [ours[name]]
    assert answer.json["left"] == 0


@pytest.mark.parametrize("path", LISTS)
def test_the_tenants_own_is_listed(operator, staff, path):
    ours = trouble(staff.company_id) | doubted(staff) | letters(staff)
    listed = {each["id"] for each in operator.get(OPERATIONS + path).json["data"]}
    assert listed
    assert listed <= set(ours.values())


def test_the_platforms_operators_see_what_is_nobodys_and_not_what_is_anothers(
    operator, staff, theirs, nobodys
):
    make_platform(staff)
    for path in ("/dead-letters", "/events", "/alerts"):
        listed = {each["id"] for each in operator.get(OPERATIONS + path).json["data"]}
        assert len(listed & set(nobodys.values())) == 1, path
        assert not listed & set(theirs.values()), path
        # Who names a company sees that company.
        header = {"X_Company_Id": str(staff.company_id)}
        assert operator.get(OPERATIONS + path, **header).json["data"] == []
    for path in READ | set(BODIES):
        if re.search(r"{(dead_letter|event|alert)_id}", path) and path in READ:
            assert operator.get(OPERATIONS + path.format(**nobodys)).status_code == 200, path
            problem_of(operator.get(OPERATIONS + path.format(**theirs)), 404, "not-found")


def test_what_the_platform_did_to_an_event_is_its_own(visitor, operator, staff, password_hash):
    make_platform(staff)
    tenants = make_company(role=Role.OPERATOR, password_hash=password_hash)
    event_id = trouble(None)["event_id"]
    done = operator.post(f"{OPERATIONS}/events/replay", {"ids": [event_id], "note": "for Acme"})
    assert done.json["replayed"] == [event_id]
    with transaction() as session:
        session.get_one(PaymentWebhook, UUID(event_id)).company_id = tenants.company_id
    seen = visitor.sign_in(tenants.email).get(f"{OPERATIONS}/events/{event_id}")
    assert (seen.status_code, seen.json["acts"]) == (200, [])


@pytest.fixture
def invoices_of_nine(monkeypatch):
    """Have one sentence checked, which each invoice of nine breaks, and one of no company's row."""
    sentences = {
        "nobody owes nine": "SELECT x.id, x.amount FROM invoices x WHERE x.amount = 9.09",
        "the system is well": "SELECT 'it is not'",
    }
    monkeypatch.setattr(invariants, "QUERIES", sentences)
    monkeypatch.setattr(invariants, "HISTORIES", ())


def test_a_tenants_invariants_are_of_its_rows(operator, staff, invoices_of_nine):
    make_invoice(make_company().company_id, "9.09")
    told = operator.get(f"{OPERATIONS}/invariants").json
    assert told["holds"] is True
    assert [(each["holds"], each["violations"], each["hidden"]) for each in told["data"]] == [
        (True, [], 0)
    ] * 2
    mine = make_invoice(staff.company_id, "9.09")
    told = operator.get(f"{OPERATIONS}/invariants").json
    assert told["holds"] is False
    owes, system = told["data"]
    assert (owes["holds"], owes["hidden"], len(owes["violations"])) == (False, 0, 1)
    assert str(mine) in owes["violations"][0]
    assert system["holds"] is True
    make_platform(staff)
    owes, system = operator.get(f"{OPERATIONS}/invariants").json["data"]
    assert owes["hidden"] >= 1
    assert (system["holds"], system["violations"]) == (False, ["it is not"])
