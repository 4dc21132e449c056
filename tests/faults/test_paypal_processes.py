"""A payment through PayPal by real processes: the page, lost answers, events that come twice."""

from __future__ import annotations

from pathlib import Path

from tests.faults.conftest import HASTY
from tests.invariants import judge
from tests.system import System
from tests.web.api.shop import PAYMENTS, bill, pay

PARTS = ("sandbox", "paypal", "web", "worker", "beat")


def test_what_a_payer_approves_is_taken_once_though_answers_are_lost(
    tmp_path: Path, database_url: str
) -> None:
    environ = HASTY | {"PAYPAL_TIMEOUT_S": "2", "CLAIM_LEASE_S": "7"}
    with System(tmp_path, database_url=database_url, environ=environ, parts=PARTS) as system:
        owner = system.member()
        begun = pay(owner, bill(owner, currency="EUR"), provider="paypal", currency="EUR")
        assert begun.body["status"] == "requires_action", begun
        payment_id = begun.body["transaction_id"]
        [order] = system.paypal.book()["orders"]

        system.paypal.webhooks(duplicates=2, retry_first_ms=20)
        system.paypal.fault("drop_after", path="/v2/checkout/orders/*/capture")
        system.paypal.approve(order["id"])

        path = f"{PAYMENTS}/{payment_id}"
        system.wait_until(lambda: owner.get(path).body["status"] == "succeeded")
        judge(system)
        [charge] = system.paypal.charges(payment_id)
        assert (charge["currency"], charge["amount_captured"]) == ("eur", 10000)
        assert system.paypal.faults() == []
