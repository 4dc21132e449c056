from __future__ import annotations

import shutil

import pytest

from tests.documents import answers_of, make_demo_company


@pytest.mark.skipif(shutil.which("curl") is None, reason="the guide's examples use curl")
def test_every_example_of_the_guide_works(system):
    make_demo_company(system)
    methods, payment, given_up, refund, _, timeline, payments, invoices, problem = answers_of(
        "api.md", system
    )
    assert methods[0]["is_default"]
    assert payment["status"] == "succeeded"
    assert (given_up["status"], given_up["error"]["code"]) == ("canceled", "canceled_by_customer")
    assert refund["status"] == "succeeded"
    assert {line["subject"] for line in timeline["data"]} == {"transaction", "invoice", "refund"}
    assert len(payments["data"]) == 1
    assert len(invoices["data"]) >= 1
    assert problem["errors"][0]["field"] == "lines.0.unit_amount"
