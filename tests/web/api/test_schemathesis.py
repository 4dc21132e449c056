"""Requests made up from the OpenAPI document: no 500, and every answer is as it is described.

A handful an operation; with PAYBEAT_FUZZ_EXAMPLES that many, and every limit of every field too.
"""

from __future__ import annotations

import os

import hypothesis
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    missing_required_header,
    negative_data_rejection,
    positive_data_acceptance,
)

from tests.client import Client
from tests.system import System
from tests.system_fixture import beating
from tests.web.api.shop import PAYMENTS, add_card, bill, paid
from web.app import create_app
from web.openapi import document
from worker.settings import settings

IS_LONG = "PAYBEAT_FUZZ_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("PAYBEAT_FUZZ_EXAMPLES", "3"))


class Objects:
    """A user, and one object of each kind to put in the place of made-up ids."""

    def __init__(self, system: System) -> None:
        self.owner: Client = system.member()
        payment_id = paid(self.owner)
        refund = self.owner.post(f"{PAYMENTS}/{payment_id}/refund", {"amount": 1})
        self.ids = {
            "transaction_id": payment_id,
            "refund_id": refund.body["refund_id"],
            "invoice_id": bill(self.owner, "9000000.00"),
            "payment_method_id": add_card(self.owner),
            "dispute_id": disputed(system, self.owner),
        }


def disputed(system: System, owner: Client) -> str:
    """A dispute of a payment of its own; return its id."""
    payment = owner.get(f"{PAYMENTS}/{paid(owner)}").body
    system.stripe.dispute(payment_intent=payment["provider_transaction_id"])
    system.wait_until(lambda: owner.get("/api/v1/disputes").body["data"])
    return owner.get("/api/v1/disputes").body["data"][0]["id"]


@pytest.fixture(scope="module")
def objects(shared_system: System) -> Objects:
    with beating(shared_system):
        return Objects(shared_system)


@pytest.fixture(scope="module")
def described(migrated):
    """The document. Made here: each process of a run collects all tests, and one runs these."""
    phases = {"coverage": {"enabled": IS_LONG}}
    config = SchemathesisConfig.from_dict({"phases": phases})
    found = schemathesis.openapi.from_dict(document(create_app()), config=config)
    settings.cache_clear()
    return found


@pytest.fixture(autouse=True)
def _name(request):
    """Schemathesis 4.32 looks for a test's name where pytest had it before 9.2."""
    request.node._nodeid = request.node.nodeid


schema = schemathesis.pytest.from_fixture("described")


MEANT = ("/fx/convert", "/metrics/series")
# What was put in may go with the rest or not: only the answer is judged.
UNFORESEEN = [positive_data_acceptance, negative_data_rejection]
LIMITS = hypothesis.settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)


@schema.parametrize()
@LIMITS
def test_every_answer_is_as_it_is_described(case, objects, shared_system):
    # A made-up company would be the end of every request.
    case.headers.pop("X-Company-Id", None)
    # What a body means (a token, a password, a sum) is more than a schema can say; so is how many
    # decimals an amount may have, and which keys, time zones and metrics there are.
    is_more = case.method in {"POST", "PATCH", "DELETE"} or case.path.endswith(MEANT)
    excluded = [positive_data_acceptance] if is_more else []
    if case.path.endswith("/webhooks/sendgrid"):
        # It is not there where mail goes another way, as it does here.
        excluded.append(missing_required_header)
    send(case, objects, shared_system, excluded_checks=excluded)


@schema.include(path_regex="api/v1/(payments|invoices|payment-methods|disputes)").parametrize()
@LIMITS
def test_with_objects_that_are_there_too(case, objects, shared_system):
    case.headers.pop("X-Company-Id", None)
    case.path_parameters.update(pick(objects, case.path_parameters))
    case.query.update(pick(objects, case.query))
    if isinstance(case.body, dict):
        case.body.update(pick(objects, case.body))
    send(case, objects, shared_system, excluded_checks=UNFORESEEN)


def pick(objects, names):
    return {name: objects.ids[name] for name in names if name in objects.ids}


def send(case, objects, system, **options):
    ends_the_session = case.path.endswith(("/logout", "/password"))
    who = system.member() if ends_the_session else objects.owner
    headers = {"Authorization": f"Bearer {who.token}"}
    case.call_and_validate(base_url=system.web_url, headers=headers, **options)
