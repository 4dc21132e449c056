"""PayPal's events are acted on once they are known to be PayPal's, and never before."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import undefer

from models import invariants, replays, webhooks
from models.alerts import Alert
from models.base import across_companies
from models.clock import now
from models.cursors import ProviderCursor
from models.ids import new_id
from models.outbox import RETRIES
from models.timeline import Cause
from models.transactions import Status, Transaction
from models.webhooks import PaymentWebhook, WebhookStatus
from sandbox.paypal.certificates import Signer
from tasks import missed
from tests.bell import ring
from tests.flows.paypal_till import NOBODY, Till
from worker.database import transaction
from worker.gateways.paypal import signatures, verification
from worker.gateways.paypal.certificates import Certificates

BECAUSE = Cause(why="a test")


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


def broken_by(event: PaymentWebhook) -> list[str]:
    """The sentences that an event breaks."""
    with transaction() as session:
        found = invariants.check(session, limit=1000)
    return [each.invariant for each in found if str(event.id) in each.detail]


def test_a_forged_event_never_acts_and_the_true_one_with_its_id_does(till: Till) -> None:
    payment, event = approved(till)
    forged = event["body"].replace(b"CHECKOUT.ORDER.APPROVED", b"PAYMENT.CAPTURE.COMPLETED")
    assert till.post(forged, event["headers"]).status_code == 200
    till.work()
    [refused] = kept(event)
    assert (refused.status, refused.company_id) == (WebhookStatus.REFUSED, None)
    assert refused.error_message == "Refused: The signature does not match."
    assert till.payment(payment.id).status == Status.REQUIRES_ACTION
    assert till.owed("webhooks.verify") == []
    assert broken_by(refused) == []
    with transaction() as session:
        open_ones = across_companies(
            select(Alert.kind).where(Alert.resolved_at.is_(None)), because=NOBODY
        )
        assert "webhook_refused" in session.scalars(open_ones).all()
    assert till.deliver() == ["CHECKOUT.ORDER.APPROVED"]
    till.judge()
    assert [each.status for each in kept(event)] == [WebhookStatus.REFUSED, WebhookStatus.COMPLETED]
    assert till.payment(payment.id).status == Status.SUCCEEDED


def test_a_certificate_of_another_root_is_refused(till: Till, tmp_path, monkeypatch) -> None:
    payment, event = approved(till)
    monkeypatch.setattr("tasks.webhooks.check", strangers_check(tmp_path))
    till.deliver()
    till.work()
    [refused] = kept(event)
    assert refused.status == WebhookStatus.REFUSED
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
    assert broken_by(waiting) == []
    assert till.payment(payment.id).status == Status.REQUIRES_ACTION
    till.work("webhooks.verify", later=True)
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED


def test_an_event_whose_certificate_never_came_is_a_dead_letter_until_it_does(
    till: Till, monkeypatch
) -> None:
    payment, event = approved(till)
    away = Certificates(api_base="http://127.0.0.1:1", timeout_s=1)
    till.deliver()
    [owed] = till.owed("webhooks.verify")
    with monkeypatch.context() as patch:
        patch.setattr(verification, "certificates", lambda: away)
        for _ in range(RETRIES + 1):
            ring("webhooks.verify", owed.id)
    [failed] = kept(event)
    assert failed.status == WebhookStatus.FAILED
    assert broken_by(failed) == []
    with transaction() as session:
        [dead] = replays.lock_dead(session, [owed.id])
        replays.replay(session, dead, cause=BECAUSE)
    assert kept(event)[0].status == WebhookStatus.RECEIVED
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED


def replayed(refused: PaymentWebhook) -> None:
    with transaction() as session:
        assert replays.replay_event(session, refused.id, cause=BECAUSE) is not None


def wrongly_refused(till: Till, tmp_path, monkeypatch) -> tuple[PaymentWebhook, dict[str, Any]]:
    """A true event that was refused twice, as the settings were wrong, and how it came."""
    _, event = approved(till)
    till.deliver()
    with monkeypatch.context() as patch:
        patch.setattr("tasks.webhooks.check", strangers_check(tmp_path))
        till.work()
        [refused] = kept(event)
        replayed(refused)
        till.work()
    [refused] = kept(event)
    assert refused.status == WebhookStatus.REFUSED
    assert broken_by(refused) == []
    return refused, event


def test_an_event_that_was_refused_is_checked_again_by_a_replay(
    till: Till, tmp_path, monkeypatch
) -> None:
    refused, event = wrongly_refused(till, tmp_path, monkeypatch)
    replayed(refused)
    till.judge()
    [true] = kept(event)
    assert (true.status, true.account) == (WebhookStatus.COMPLETED, "")
    assert broken_by(true) == []


def test_an_event_that_was_refused_and_has_come_again_meanwhile_acts_once(
    till: Till, tmp_path, monkeypatch
) -> None:
    refused, event = wrongly_refused(till, tmp_path, monkeypatch)
    assert till.post(event["body"], event["headers"]).status_code == 200
    till.judge()
    replayed(refused)
    till.judge()
    both = kept(event)
    assert [each.status for each in both] == [WebhookStatus.IGNORED, WebhookStatus.COMPLETED]
    assert [broken_by(each) for each in both] == [[], []]


def test_what_nobody_vouched_for_is_forgotten_in_time(till: Till) -> None:
    _, event = approved(till)
    body = orjson.loads(event["body"])
    forged = orjson.dumps(body | {"event_type": "PAYMENT.CAPTURE.COMPLETED"})
    dull = orjson.dumps(body | {"id": f"WH-{new_id().hex}", "event_type": "NOBODY.CARES"})
    for each in (forged, dull):
        till.post(each, event["headers"])
        till.work()
    till.settle()
    [ignored] = kept({"body": dull})
    rows = [*kept(event), ignored]
    became = [WebhookStatus.REFUSED, WebhookStatus.COMPLETED, WebhookStatus.IGNORED]
    assert [each.status for each in rows] == became
    beyond = now() + webhooks.KEPT_UNVOUCHED
    with transaction() as session:
        webhooks.forget_unvouched(session, moment=now())
    assert [each.id for each in kept(event)] == [each.id for each in rows[:2]]
    with transaction() as session:
        assert webhooks.forget_unvouched(session, moment=beyond, limit=1) == 1
        while webhooks.forget_unvouched(session, moment=beyond):
            pass
    assert [each.status for each in kept(event)] == [WebhookStatus.COMPLETED]
    assert kept({"body": dull}) == []


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
