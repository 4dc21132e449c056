"""What happens is in the figures: from real payments over workers to the series of today."""

from __future__ import annotations

from tests.system import System
from tests.web.api.shop import INVOICES, PAYMENTS, add_card, bill, paid, pay

SERIES = "/api/v1/metrics/series"
WANTED = (
    "revenue,refunds,net_revenue,payments_attempted,payments_succeeded,payment_success_rate,"
    "invoices_issued,days_to_pay"
)


def test_a_payment_a_decline_and_a_refund_are_in_todays_figures(system: System) -> None:
    owner = system.member()
    payment_id = paid(owner, "120.00")
    # Kept without a word, and declined when it is charged.
    declined = add_card(owner, "pm_card_chargeCustomerFail")
    answer = pay(owner, bill(owner, "80.00"), "80.00", payment_method_id=declined)
    assert answer.body["status"] == "failed"
    refund = owner.post(f"{PAYMENTS}/{payment_id}/refund", {"amount": 20}, prefer="wait=20")
    assert refund.status in (200, 201, 202)
    assert len(owner.get(INVOICES).body["data"]) == 2

    def totals() -> dict[str, str]:
        told = owner.get(f"{SERIES}?metrics={WANTED}").body["data"]
        return {each["metric"]: each["total"] for each in told}

    # Today is read at most ten seconds old.
    system.wait_until(lambda: totals().get("refunds") == "20.00", timeout_s=40)
    told = totals()
    assert (told["revenue"], told["net_revenue"]) == ("120.00", "100.00")
    assert (told["payments_attempted"], told["payments_succeeded"]) == ("2", "1")
    assert (told["payment_success_rate"], told["invoices_issued"]) == ("0.5000", "2")
    assert told["days_to_pay"] is not None
