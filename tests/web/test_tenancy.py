"""Every route from the route map, with another company's every object, by every role.

A route that no table here lists fails the test: whoever adds one must say what it is.
"""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import product
from uuid import UUID

import pytest
from sqlalchemy import text

from models.alerts import Severity, raise_alert
from models.disputes import Dispute, DisputeStatus
from models.ids import new_id
from models.refunds import Refund, RefundReason
from models.tables import METADATA
from models.tenants import Permission, Role, User
from models.transactions import AttemptStatus, Status, Transaction, start_attempt
from tests.factories import Customer, make_company, make_invoice, make_method, make_payment
from tests.web.probe import Probe
from tests.web.visitor import problem_of
from web.app import create_app
from web.auth import guard_of
from worker import sessions
from worker.database import engine, transaction

PUBLIC = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/{name}"),
    ("POST", "/api/v1/auth/login"),
    ("GET", "/"),
    ("GET", "/console"),
    ("GET", "/console/{view}"),
    ("GET", "/console/static/{name}"),
    ("GET", "/console/config.json"),
    ("POST", "/console/session"),
    ("DELETE", "/console/session"),
    # Signed by the provider instead.
    ("POST", "/api/v1/webhooks/stripe"),
    ("POST", "/api/v1/webhooks/paypal"),
}
# About the caller and nobody else, or of whatever they may act for.
OWN = {
    ("GET", "/api/v1/overview"),
    ("GET", "/api/v1/companies"),
    ("GET", "/api/v1/companies/{company_id}"),
    ("GET", "/api/v1/presence"),
    ("GET", "/api/v1/auth/me"),
    ("POST", "/api/v1/auth/logout"),
    ("POST", "/api/v1/auth/password"),
    ("POST", "/api/v1/relay/tickets"),
}
NEEDS = {
    ("GET", "/api/v1/alerts"): Permission.PAYMENTS_READ,
    ("GET", "/api/v1/invoices"): Permission.INVOICES_READ,
    ("POST", "/api/v1/invoices"): Permission.INVOICES_WRITE,
    ("GET", "/api/v1/invoices/{invoice_id}"): Permission.INVOICES_READ,
    ("POST", "/api/v1/payments/create-intent"): Permission.PAYMENTS_WRITE,
    ("GET", "/api/v1/payments"): Permission.PAYMENTS_READ,
    ("GET", "/api/v1/payments/{transaction_id}"): Permission.PAYMENTS_READ,
    ("GET", "/api/v1/payments/{transaction_id}/timeline"): Permission.PAYMENTS_READ,
    ("POST", "/api/v1/payments/{transaction_id}/retry"): Permission.PAYMENTS_WRITE,
    ("POST", "/api/v1/payments/{transaction_id}/resume"): Permission.PAYMENTS_WRITE,
    ("POST", "/api/v1/payments/{transaction_id}/capture"): Permission.PAYMENTS_WRITE,
    ("POST", "/api/v1/payments/{transaction_id}/cancel"): Permission.PAYMENTS_WRITE,
    ("GET", "/api/v1/invoices/{invoice_id}/dunning"): Permission.INVOICES_READ,
    ("GET", "/api/v1/retry-policy"): Permission.INVOICES_READ,
    ("PUT", "/api/v1/retry-policy"): Permission.INVOICES_WRITE,
    ("GET", "/api/v1/payments/{transaction_id}/refunds"): Permission.PAYMENTS_READ,
    ("GET", "/api/v1/payments/{transaction_id}/refunds/{refund_id}"): Permission.PAYMENTS_READ,
    ("POST", "/api/v1/payments/{transaction_id}/refund"): Permission.REFUNDS_WRITE,
    ("GET", "/api/v1/disputes"): Permission.DISPUTES_READ,
    ("GET", "/api/v1/disputes/{dispute_id}"): Permission.DISPUTES_READ,
    ("POST", "/api/v1/disputes/{dispute_id}/evidence"): Permission.DISPUTES_WRITE,
    ("POST", "/api/v1/disputes/{dispute_id}/accept"): Permission.DISPUTES_WRITE,
    ("GET", "/api/v1/payment-methods"): Permission.METHODS_READ,
    ("POST", "/api/v1/payment-methods"): Permission.METHODS_WRITE,
    ("GET", "/api/v1/payment-methods/{payment_method_id}"): Permission.METHODS_READ,
    ("DELETE", "/api/v1/payment-methods/{payment_method_id}"): Permission.METHODS_WRITE,
    ("POST", "/api/v1/payment-methods/{payment_method_id}/default"): Permission.METHODS_WRITE,
    ("POST", "/api/v1/payment-methods/{payment_method_id}/replace"): Permission.METHODS_WRITE,
}
# For the tenant's own staff, who name no company; what they see is tried in web/api.
STAFF = {
    ("GET", "/api/v1/operations/dead-letters"),
    ("GET", "/api/v1/operations/dead-letters/{dead_letter_id}"),
    ("POST", "/api/v1/operations/dead-letters/replay"),
    ("POST", "/api/v1/operations/dead-letters/{dead_letter_id}/replay"),
    ("POST", "/api/v1/operations/dead-letters/{dead_letter_id}/dismiss"),
    ("GET", "/api/v1/operations/events"),
    ("GET", "/api/v1/operations/events/{event_id}"),
    ("POST", "/api/v1/operations/events/replay"),
    ("GET", "/api/v1/operations/alerts"),
    ("POST", "/api/v1/operations/alerts/{alert_id}/resolve"),
    ("GET", "/api/v1/operations/invariants"),
    ("GET", "/api/v1/operations/reviews"),
    ("GET", "/api/v1/operations/queues"),
    ("POST", "/api/v1/operations/payments/{transaction_id}/settle"),
    ("POST", "/api/v1/operations/refunds/{refund_id}/settle"),
    ("POST", "/api/v1/invoices/{invoice_id}/bank-transfers"),
    ("POST", "/api/v1/payments/{transaction_id}/reverse"),
}
# Bodies that would be accepted; `{kind}` is an object of that kind.
BODIES = {
    "/api/v1/invoices": {"lines": [{"description": "Seats", "quantity": 1, "unit_amount": "1.00"}]},
    "/api/v1/payments/create-intent": {
        "invoice_id": "{invoice_id}",
        "amount": "1.00",
        "payment_method_id": "{payment_method_id}",
    },
    "/api/v1/payments/{transaction_id}/refund": {"amount": "1.00"},
    "/api/v1/payments/{transaction_id}/retry": {"payment_method_id": "{payment_method_id}"},
    "/api/v1/disputes/{dispute_id}/evidence": {"evidence": {"customer_name": "A"}},
    "/api/v1/retry-policy": {"delays_h": [24, 48]},
    "/api/v1/payment-methods": {"type": "card", "token": "tok_visa"},
    "/api/v1/payment-methods/{payment_method_id}/replace": {"token": "tok_visa"},
}
# Not lists: a company has one of each.
SINGLE = {"/api/v1/retry-policy"}
READERS = set(Role)
WRITERS = {Role.OWNER, Role.BILLING_ADMIN, Role.OPERATOR}
KINDS = ("invoice_id", "transaction_id", "payment_method_id", "refund_id", "dispute_id")
ROUTES = {
    **dict.fromkeys(PUBLIC | OWN),
    **NEEDS,
    **dict.fromkeys(STAFF, Permission.OPERATIONS),
}


def make_objects(customer: Customer) -> dict[str, str]:
    """One of each kind: a paid invoice's payment with a refund, and an invoice to be paid."""
    method_id = make_method(customer)
    payment_id = make_payment(
        customer,
        make_invoice(customer.company_id),
        payment_method_id=method_id,
        status=Status.SUCCEEDED,
        amount_captured=Decimal("100.00"),
        provider_transaction_id=f"pi_{method_id.hex}",
    )
    with transaction(company_id=customer.company_id) as session:
        refund = Refund(
            company_id=customer.company_id,
            transaction_id=payment_id,
            amount=Decimal("1.00"),
            reason=RefundReason.REQUESTED,
        )
        session.add(refund)
        session.flush()
        payment = session.get_one(Transaction, payment_id)
        raise_alert(
            session, "needs_review", severity=Severity.WARNING, message="Look.", subject=payment
        )
    ids = (make_invoice(customer.company_id), payment_id, method_id, refund.id, disputed(customer))
    return {kind: str(identity) for kind, identity in zip(KINDS, ids, strict=True)}


def disputed(customer: Customer) -> UUID:
    """A dispute that waits for evidence, of a payment of its own."""
    payment_id = make_payment(
        customer,
        make_invoice(customer.company_id),
        status=Status.SUCCEEDED,
        amount_captured=Decimal("100.00"),
        is_disputed=True,
    )
    with transaction(company_id=customer.company_id) as session:
        dispute = Dispute(
            company_id=customer.company_id,
            transaction_id=payment_id,
            provider="stripe",
            provider_dispute_id=f"du_{new_id().hex}",
            amount=Decimal("100.00"),
            currency="INR",
            reason="fraudulent",
            status=DisputeStatus.NEEDS_RESPONSE,
        )
        session.add(dispute)
        session.flush()
        return dispute.id


def declined(customer: Customer) -> str:
    """A payment that the customer must confirm, which is what can be retried and resumed."""
    payment_id = make_payment(
        customer,
        make_invoice(customer.company_id),
        payment_method_id=make_method(customer),
        status=Status.FAILED,
        provider_transaction_id=f"pi_{new_id().hex}",
    )
    with transaction(company_id=customer.company_id) as session:
        attempt = start_attempt(session.get_one(Transaction, payment_id), {})
        attempt.status = AttemptStatus.DECLINED
        attempt.decline_code = "authentication_required"
    return str(payment_id)


def fill(body, objects):
    return {
        name: objects.get(str(value).strip("{}"), value) for name, value in (body or {}).items()
    } or None


def checksums() -> dict[str, int]:
    """What every table holds, but for who is signed in."""
    names = ", ".join(name for name in METADATA.tables if name != "user_sessions")
    with engine().connect() as connection:
        return dict(connection.execute(text(f"CHECKSUM TABLE {names}")).all())


@pytest.fixture
def theirs(use, password_hash):
    """Another company of the same tenant as `owner`, which is the closer neighbour."""
    return make_objects(make_company(password_hash=password_hash))


@pytest.fixture
def ours(person):
    return make_objects(person)


def test_every_route_is_listed_here_with_what_it_needs(use):
    app = create_app()
    found = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            guard = guard_of(app.view_functions[rule.endpoint])
            assert guard.is_public == ((method, path) in PUBLIC), path
            found[method, path] = guard.permission
    assert found == ROUTES


@pytest.mark.parametrize(("method", "path"), [key for key in NEEDS if "{" in key[1]])
def test_another_companys_object_is_not_found_and_not_touched(owner, ours, theirs, method, path):
    named = re.findall(r"{(\w+)}", path)
    assert set(named) <= set(KINDS), "a kind of object that this test cannot make"
    before = checksums()
    mixtures = product((ours, theirs), repeat=len(named))
    for mixture in mixtures:
        if all(whose is ours for whose in mixture):
            continue
        for kind in KINDS:
            # Every object of theirs in the place of each of theirs, ours where it is ours.
            ids = {
                name: whose[name] if whose is ours else whose[kind]
                for name, whose in zip(named, mixture, strict=True)
            }
            answer = owner.send(method, path.format(**ids), json=fill(BODIES.get(path), ours))
            problem_of(answer, 404, "not-found")
    assert checksums() == before


@pytest.mark.parametrize("path", [path for method, path in NEEDS if method == "POST"])
def test_another_companys_object_in_a_body_is_as_good_as_none(owner, ours, theirs, path):
    schema = body_schema(owner, path)
    assert bool(schema) == (path in BODIES)
    references = [
        name
        for name, value in BODIES.get(path, {}).items()
        if isinstance(value, str) and value.startswith("{")
    ]
    assert set(references) == {name for name, field in schema.items() if "uuid" in str(field)}
    before = checksums()
    for name, kind in product(references, KINDS):
        body = {**fill(BODIES[path], ours), name: theirs[kind]}
        answer = owner.post(path.format(**ours), body)
        assert answer.status_code in (404, 422), answer.text
        assert theirs[kind] not in answer.text
    assert checksums() == before


def body_schema(owner, path):
    spec = owner.get("/openapi.json").json
    takes = spec["paths"][path]["post"].get("requestBody")
    if takes is None:
        return {}
    name = takes["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return spec["components"]["schemas"][name]["properties"]


@pytest.mark.parametrize(
    "path",
    [path for method, path in NEEDS if method == "GET" and "{" not in path and path not in SINGLE],
)
def test_a_list_holds_ours_and_nothing_of_theirs(owner, ours, theirs, path):
    spec = owner.get("/openapi.json").json["paths"][path]["get"]
    filters = [one["name"] for one in spec.get("parameters", []) if "uuid" in str(one["schema"])]
    whole = owner.get(path)
    assert whole.status_code == 200
    assert any(identity in whole.text for identity in ours.values())
    assert not any(identity in whole.text for identity in theirs.values())
    for name in set(filters) - {"X-Company-Id"}:
        narrowed = owner.get(f"{path}?{name}={theirs[name]}")
        assert narrowed.json["data"] == []


@pytest.mark.parametrize(("method", "path"), NEEDS)
def test_nobody_acts_for_a_company_that_is_not_theirs(
    owner, ours, person, sign_in_as, method, path
):
    stranger = make_company()
    headers = {"X-Company-Id": str(stranger.company_id)}
    body = fill(BODIES.get(path), ours)
    before = checksums()
    answer = owner.send(method, path.format(**ours), json=body, headers=headers)
    problem_of(answer, 404, "not-found")
    assert checksums() == before
    # An operator, but of another tenant.
    operator = sign_in_as(Role.OPERATOR)
    headers = {"X-Company-Id": str(person.company_id)}
    before = checksums()
    answer = operator.send(method, path.format(**ours), json=body, headers=headers)
    problem_of(answer, 404, "not-found")
    assert checksums() == before


@pytest.mark.parametrize(("method", "path"), NEEDS)
def test_nobody_gets_in_unsigned(visitor, ours, method, path):
    before = checksums()
    body = fill(BODIES.get(path), ours)
    problem_of(visitor.send(method, path.format(**ours), json=body), 401, "unauthenticated")
    assert checksums() == before


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("method", "path"), NEEDS)
def test_who_may_what(visitor, password_hash, use, role, method, path):
    use(wait_s="0.001")
    colleague = make_company(role=role, password_hash=password_hash)
    objects = make_objects(colleague)
    if path.endswith(("/retry", "/resume")):
        objects["transaction_id"] = declined(colleague)
    if path.endswith("/cancel"):
        unpaid = make_invoice(colleague.company_id)
        waiting = make_payment(colleague, unpaid, status=Status.REQUIRES_ACTION)
        objects["transaction_id"] = str(waiting)
    person = visitor.sign_in(colleague.email)
    before = checksums()
    answer = person.send(method, path.format(**objects), json=fill(BODIES.get(path), objects))
    may = role in (READERS if method == "GET" else WRITERS)
    if may:
        assert answer.status_code in (200, 201, 202), answer.text
    else:
        problem_of(answer, 403, "forbidden")
        assert NEEDS[method, path] in answer.json["detail"]
        assert checksums() == before


@pytest.mark.parametrize(("method", "path"), sorted(STAFF))
def test_only_the_tenants_staff_gets_in(visitor, password_hash, use, method, path):
    path = re.sub(r"{\w+}", str(new_id()), path)
    problem_of(visitor.send(method, path, json={}), 401, "unauthenticated")
    people = [make_company(role=role, password_hash=password_hash) for role in Role]
    before = checksums()
    for role, person in zip(Role, people, strict=True):
        answer = visitor.sign_in(person.email).send(
            method, path, json=None if method == "GET" else {}
        )
        if role is Role.OPERATOR:
            assert answer.status_code in (200, 404, 422), answer.text
        else:
            problem_of(answer, 403, "forbidden")
            assert Permission.OPERATIONS in answer.json["detail"]
    assert checksums() == before


def test_only_an_operator_without_a_company_is_of_the_whole_tenant(visitor, password_hash, use):
    staff = make_company(role=Role.OPERATOR, password_hash=password_hash)
    theirs = make_company(tenant_id=staff.tenant_id)
    with transaction() as session:
        session.get_one(User, staff.user_id).company_id = None
    demoted = visitor.sign_in(staff.email)
    sessions.change_user(staff.user_id, role=Role.MEMBER)
    for path in ("/overview", "/presence", "/companies", f"/companies/{theirs.company_id}"):
        assert demoted.get(f"/api/v1{path}").status_code == 400, path
    assert demoted.get("/api/v1/invoices").status_code == 400
    assert demoted.post("/api/v1/relay/tickets", json={}).status_code == 403


def test_the_probe_has_no_route_that_the_application_has(use):
    # The other tests of this room add routes of their own to the application that is judged here.
    ours = {rule.rule for rule in create_app().url_map.iter_rules()}
    probed = {rule.rule for rule in Probe().app.url_map.iter_rules()}
    assert all("/probe" in rule for rule in probed - ours)
