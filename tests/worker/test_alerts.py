from uuid import uuid4

from sqlalchemy import select

from models.alerts import Alert, Severity
from models.outbox import Owed
from models.tenants import Tenant
from models.transactions import Transaction
from tests.factories import make_company, make_invoice, make_payment
from worker import alerts
from worker.database import transaction


def owed_events(company_id):
    """What a channel is to hear, company or tenant."""
    with transaction() as session:
        debts = session.scalars(select(Owed).where(Owed.company_id == company_id)).all()
    return [event for debt in debts for event in debt.arguments.get("events", [])]


def found(kind):
    with transaction() as session:
        return session.scalars(select(Alert).where(Alert.kind == kind)).all()


def test_a_companys_alert_is_a_row_and_an_event_of_its_company(customer):
    payment_id = make_payment(customer, make_invoice(customer.company_id))
    kind = f"test_{uuid4().hex}"
    with transaction(company_id=customer.company_id) as session:
        payment = session.get(Transaction, payment_id)
        alerts.alert(
            session, kind, severity=Severity.WARNING, message="Look at it.", subject=payment
        )
    (row,) = found(kind)
    assert (row.company_id, row.subject, row.subject_id) == (
        customer.company_id,
        "transaction",
        payment_id,
    )
    (event,) = owed_events(customer.company_id)
    assert event["type"] == "system.alert"
    assert event["data"]["message"] == "Look at it."
    assert event["data"]["kind"] == kind
    assert event["data"]["is_resolved"] is False
    assert owed_events(customer.tenant_id) == []


def test_the_same_thing_is_told_once_while_it_is_open(customer):
    kind = f"test_{uuid4().hex}"

    def tell():
        with transaction(company_id=customer.company_id) as session:
            return alerts.alert(
                session,
                kind,
                severity=Severity.CRITICAL,
                message="It is so.",
                company_id=customer.company_id,
                open_key=kind,
            )

    assert tell() is not None
    assert tell() is None
    with transaction(company_id=customer.company_id) as session:
        alerts.resolve(session, kind, why="It is over.", user_id=customer.user_id)
    (row,) = found(kind)
    assert row.resolved_at is not None
    assert (row.resolution, row.resolved_by) == ("It is over.", customer.user_id)
    told = [
        (event["data"]["is_resolved"], event["data"]["message"])
        for event in owed_events(customer.company_id)
    ]
    assert told == [(False, "It is so."), (True, "It is over.")]
    assert tell() is not None
    assert len(found(kind)) == 2


def test_what_is_nobodys_is_told_to_the_platforms_operators_alone(database):
    platform, other = make_company(), make_company()
    kind = f"test_{uuid4().hex}"
    with transaction() as session:
        session.get_one(Tenant, platform.tenant_id).is_platform = True
    with transaction() as session:
        alerts.alert(session, kind, severity=Severity.INFO, message="They must know.")
    assert [e["data"]["kind"] for e in owed_events(platform.tenant_id)] == [kind]
    for channel in (platform.company_id, other.tenant_id, other.company_id):
        assert owed_events(channel) == []
