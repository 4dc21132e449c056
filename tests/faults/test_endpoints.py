"""kill -9 between sending and writing it down: sent again, and the attempts tell what is known."""

from __future__ import annotations

import pytest

from tests.receiving import receiving
from tests.system import System

pytestmark = pytest.mark.xdist_group("tests/faults")

ENDPOINTS = "/api/v1/endpoints"


def test_a_delivery_outlives_its_worker(system: System, till, marks):
    owner = system.member()
    with receiving() as receiver:
        answer = owner.post(ENDPOINTS, {"url": receiver.url, "events": ["invoice.created"]})
        assert answer.status == 201, answer
        endpoint = f"{ENDPOINTS}/{answer.body['id']}"
        (marks / "endpoint.sent").touch()
        line = {"description": "Seats", "quantity": 1, "unit_amount": "10.00"}
        assert owner.post("/api/v1/invoices", {"lines": [line]}).status == 201
        system.worker.wait_dead()
        assert [each.told["type"] for each in receiver.heard] == ["invoice.created"]
        system.worker.start()

        def made():
            [delivery] = owner.get(f"{endpoint}/deliveries").body["data"]
            if delivery["status"] != "delivered":
                return None
            return owner.get(f"{ENDPOINTS}/deliveries/{delivery['id']}").body["made"]

        system.wait_until(made)
        attempts = made()
        assert attempts[0]["error"] == "no outcome was written down: the worker died"
        assert 200 in {each["status_code"] for each in attempts[1:]}
        assert len(receiver.heard) >= 2
        assert len({each.headers["webhook-id"] for each in receiver.heard}) == 1
        owner.delete(endpoint)
