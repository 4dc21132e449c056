from __future__ import annotations

import shutil

import pytest

from tests.documents import answers_of, make_demo_company


@pytest.mark.skipif(shutil.which("curl") is None, reason="the guide's examples use curl")
def test_every_example_of_the_guide_works(system):
    make_demo_company(system)
    methods, payment, given_up, refund, _, timeline, *rest = answers_of("api.md", system)
    overview, taken, payments, invoices, found, companies, presence, problem = rest
    assert methods[0]["is_default"]
    assert payment["status"] == "succeeded"
    assert (given_up["status"], given_up["error"]["code"]) == ("canceled", "canceled_by_customer")
    assert refund["status"] == "succeeded"
    assert {line["subject"] for line in timeline["data"]} == {"transaction", "invoice", "refund"}
    # The demo company may have more behind it than the guide.
    assert overview["payments"]["partially_refunded"] >= 1
    [rupees] = [each for each in overview["currencies"] if each["currency"] == "INR"]
    assert rupees["paid"]["last_7_days"] >= 1188
    assert rupees["refunded"]["last_7_days"] >= 88
    assert len(rupees["days"]) == 30
    assert (taken["accepted"], len(taken["ids"])) == (1, 1)
    assert len(payments["data"]) == 1
    assert {each["status"] for each in found["data"]} <= {"canceled", "failed"}
    assert [each["name"] for each in companies["data"]] == ["Demo"]
    assert isinstance(presence["data"], list)
    assert len(invoices["data"]) >= 1
    assert problem["errors"][0]["field"] == "lines.0.unit_amount"
