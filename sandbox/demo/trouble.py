"""The scenario `trouble`: what an operator has to see to, so that the runbook can be tried.

Left are a payment that needs a review, with its alert; three dead letters: an event's, a charge's
that was settled meanwhile, and one of a task that there is not; and an event that was ignored. The
rows are written as they would stand: what leads to them takes a quarter of an hour or worse.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from models.alerts import Severity
from models.clock import now
from models.outbox import Owed, OwedStatus, enqueue
from models.transactions import Provider, Status, Transaction
from models.webhooks import PaymentWebhook, WebhookStatus
from sandbox.demo.company import Api
from sandbox.demo.screen import Json, Screen
from worker.alerts import alert
from worker.database import transaction

LINES = [{"description": "Seats", "quantity": 1, "unit_amount": "100.00"}]
ERROR = "KeyError: 'id'"


def run(api: Api, screen: Screen) -> Json:
    """Leave trouble in the demo company; return the ids.

    Raises:
        Unexpected: the API does not answer as it should.
    """
    company_id = UUID(api.sign_in()["company_id"])
    canceled, doubted = (
        Transaction(
            company_id=company_id,
            invoice_id=UUID(api.post("invoices", {"lines": LINES}, expected=201)["id"]),
            amount=Decimal("100.00"),
            payment_method=Provider.STRIPE,
            status=status,
        )
        for status in (Status.CANCELED, Status.NEEDS_REVIEW)
    )
    with transaction(company_id=company_id) as session:
        session.add_all([canceled, doubted])
        session.flush()
        alert(
            session,
            "needs_review",
            severity=Severity.CRITICAL,
            message="Nobody can tell what became of a payment.",
            subject=doubted,
        )
        unknown = _give_up(session, "methods.nobody", method_id=doubted.id)
        charge = _give_up(session, "payments.charge", transaction_id=canceled.id)
    with transaction() as session:
        failed, ignored = map(_event, (WebhookStatus.FAILED, WebhookStatus.IGNORED))
        session.add_all([failed, ignored])
        session.flush()
        handling = _give_up(session, "webhooks.handle", event_id=failed.id)
    screen.step("trouble", "one review, one alert, three dead letters, one ignored event", 0)
    return {
        "review": str(doubted.id),
        "dead_letters": [str(each.id) for each in (unknown, charge, handling)],
        "ignored_event": str(ignored.id),
    }


def _give_up(session: Session, task: str, **arguments: UUID) -> Owed:
    moment = now()
    letter = enqueue(session, task, due_at=moment, **arguments)
    letter.status, letter.error, letter.failures = OwedStatus.DEAD, ERROR, 5
    return letter


def _event(status: WebhookStatus) -> PaymentWebhook:
    kind, provider_id = "payment_intent.succeeded", uuid4().hex
    intent = {"id": f"pi_{provider_id}", "object": "payment_intent", "metadata": {}}
    return PaymentWebhook(
        event_type=kind,
        provider="stripe",
        provider_event_id=f"evt_{provider_id}",
        payload={"type": kind, "data": {"object": intent}},
        status=status,
        handled_at=now(),
    )
