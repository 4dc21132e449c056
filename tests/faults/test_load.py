"""Hundreds of payments at once through the door; `make chaos` has a thousand."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import local
from uuid import UUID, uuid4

import pytest
import requests
from sqlalchemy import func, select

from models.base import across_companies
from models.transactions import Transaction
from tests.faults.till import Till
from tests.invariants import judge
from tests.system import System
from tests.web.api.shop import INTENTS

PAYMENTS = int(os.environ.get("PAYBEAT_PAYMENTS", "400"))
CALLERS = 64
COMPANIES = 4
ANSWER_MS = 20


@pytest.mark.slow
def test_hundreds_of_payments_at_once_are_each_charged_once(tmp_path, database_url):
    environ = {
        "WEB_WORKERS": "2",
        "WEB_THREADS": "64",
        # The production pace: nothing is resent because a busy machine is slow.
        "OUTBOX_RESEND_AFTER_S": "30",
        "OUTBOX_SWEEP_EVERY_S": "5",
    }
    with System(tmp_path, database_url=database_url, environ=environ) as system:
        tills = [Till(system) for _ in range(COMPANIES)]
        judge(system)
        system.stripe.fault("slow", delay_ms=ANSWER_MS, path="/v1/payment_intents", count=None)
        owners = [system.member(company_id=till.company_id) for till in tills]
        orders = [
            (owners[n % COMPANIES].token, till.invoice(), till.method_id)
            for n in range(PAYMENTS)
            for till in [tills[n % COMPANIES]]
        ]
        sessions = local()

        def pay(order: tuple[str, UUID, UUID]) -> requests.Response:
            token, invoice_id, method_id = order
            if not hasattr(sessions, "own"):
                sessions.own = requests.Session()
            return sessions.own.post(
                system.web_url + INTENTS,
                json={
                    "invoice_id": str(invoice_id),
                    "amount": "100.00",
                    "payment_method_id": str(method_id),
                },
                headers={"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid4())},
                timeout=60,
            )

        began = time.monotonic()
        with ThreadPoolExecutor(CALLERS) as pool:
            answers = list(pool.map(pay, orders))
        answered_s = time.monotonic() - began
        assert {answer.status_code for answer in answers} <= {200, 201, 202}
        system.wait_until(lambda: count_paid(system) == PAYMENTS)
        paid_s = time.monotonic() - began
        judge(system)
        quiet_s = time.monotonic() - began

        assert len({answer.json()["transaction_id"] for answer in answers}) == PAYMENTS
        assert len(system.stripe.charges()) == PAYMENTS
        for till in tills:
            heard = system.redis.xrange(f"events:{till.company_id}")
            paid = [m for _, m in heard if '"invoice.paid"' in m["message"]]
            assert len(paid) == PAYMENTS / COMPANIES
        sys.stdout.write(
            f"\n{PAYMENTS} payments: answered in {answered_s:.1f} s, paid in {paid_s:.1f} s"
            f" ({PAYMENTS / paid_s:.0f}/s), all quiet after {quiet_s:.1f} s\n"
        )


def count_paid(system: System) -> int:
    with system.session() as session:
        query = (
            select(func.count()).select_from(Transaction).where(Transaction.status == "succeeded")
        )
        return session.scalar(across_companies(query, because="a test counts")) or 0
