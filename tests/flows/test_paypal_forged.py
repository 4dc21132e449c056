"""PayPal's events are acted on once they are known to be PayPal's, and never before."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import undefer

from models.alerts import Alert
from models.base import across_companies
from models.cursors import ProviderCursor
from models.transactions import Status, Transaction
from models.webhooks import PaymentWebhook, WebhookStatus
from sandbox.paypal.certificates import Signer
from tasks import missed
from tests.bell import ring
from tests.flows.paypal_till import NOBODY, Till
from worker.database import transaction
from worker.gateways.paypal import signatures, verification
from worker.gateways.paypal.certificates import Certificates


def approved(till: Till) -> tuple[Transaction, dict[str, Any]]:
    """A payment that is approved, and the event that tells so, on its way."""
    payment = till.pay()
    till.approve(payment)
    [event] = till.sent()
    return payment, event


def kept(event: dict[str, Any]) -> list[PaymentWebhook]:
    """The rows that bear the event's id, oldest first."""
    event_id = orjson.loads(event["body"])["id"]
    query = select(PaymentWebhook).where(PaymentWebhook.provider_event_id == event_id)
    with transaction() as session:
        raw = undefer(PaymentWebhook.raw_body)
        return list(session.scalars(query.order_by(PaymentWebhook.id).options(raw)))


def test_a_forged_event_never_acts_and_the_true_one_with_its_id_does(till: Till) -> None:
    payment, event = approved(till)
    forged = event["body"].replace(b"CHECKOUT.ORDER.APPROVED", b"PAYMENT.CAPTURE.COMPLETED")
    assert till.post(forged, event["headers"]).status_code == 200
    till.work()
    [refused] = kept(event)
    assert (refused.status, refused.company_id) == (WebhookStatus.FAILED, None)
    assert refused.error_message == "Refused: The signature does not match."
    assert till.payment(payment.id).status == Status.REQUIRES_ACTION
    assert till.owed("webhooks.verify") == []
    with transaction() as session:
        open_ones = across_companies(
            select(Alert.kind).where(Alert.resolved_at.is_(None)), because=NOBODY
        )
        assert "webhook_refused" in session.scalars(open_ones).all()
    assert till.deliver() == ["CHECKOUT.ORDER.APPROVED"]
    till.judge()
    assert [each.status for each in kept(event)] == [WebhookStatus.FAILED, WebhookStatus.COMPLETED]
    assert till.payment(payment.id).status == Status.SUCCEEDED


def test_a_certificate_of_another_root_is_refused(till: Till, tmp_path, monkeypatch) -> None:
    payment, event = approved(till)
    monkeypatch.setattr("tasks.webhooks.check", strangers_check(tmp_path))
    till.deliver()
    till.work()
    [refused] = kept(event)
    assert refused.status == WebhookStatus.FAILED
    assert "no root that we trust" in (refused.error_message or "")
    assert till.payment(payment.id).status == Status.REQUIRES_ACTION


def strangers_check(folder):
    """The check as it is, with somebody else's root in the trust store."""
    root = signatures.chain_of(Signer(folder).root)

    def check(*given: Any, **more: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(verification, "roots", lambda: root)
            verification.check(*given, **more)

    return check


def test_an_event_waits_for_its_certificate(till: Till, monkeypatch) -> None:
    payment, event = approved(till)
    away = Certificates(api_base="http://127.0.0.1:1", timeout_s=1)
    till.deliver()
    with monkeypatch.context() as patch:
        patch.setattr(verification, "certificates", lambda: away)
        till.work("webhooks.verify")
    [waiting] = kept(event)
    assert (waiting.status, waiting.retry_count) == (WebhookStatus.RECEIVED, 1)
    assert till.payment(payment.id).status == Status.REQUIRES_ACTION
    till.work("webhooks.verify", later=True)
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED


def test_an_event_that_is_to_be_handled_is_checked_first(till: Till) -> None:
    payment, event = approved(till)
    till.deliver()
    [owed] = till.owed("webhooks.verify")
    with transaction() as session:
        session.get_one(type(owed), owed.id).task = "webhooks.handle"
    ring("webhooks.handle", owed.id)
    assert till.payment(payment.id).status == Status.REQUIRES_ACTION
    assert [each.task for each in till.owed("webhooks.verify")] == ["webhooks.verify"]
    till.judge()
    assert kept(event)[0].verified_at is not None
    assert till.payment(payment.id).status == Status.SUCCEEDED


def test_an_event_that_never_came_is_fetched_and_needs_no_signature(till: Till) -> None:
    payment, event = approved(till)
    with transaction() as session:
        session.execute(delete(ProviderCursor).where(ProviderCursor.provider == "paypal"))
    missed.fetch("paypal")
    [fetched] = kept(event)
    assert fetched.raw_body is None
    assert fetched.verified_at is not None
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED
