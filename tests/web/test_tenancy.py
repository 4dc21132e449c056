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
from models.credit_notes import credit_due
from models.disputes import Dispute, DisputeStatus
from models.ids import new_id
from models.invoices import Invoice
from models.locks import lock_existing
from models.refunds import Refund, RefundReason
from models.subscriptions import SubscriptionStatus
from models.tables import METADATA
from models.tenants import Permission, Role, User
from models.timeline import Cause
from models.transactions import AttemptStatus, Status, Transaction, start_attempt
from tests.factories import (
    Customer,
    make_company,
    make_invoice,
    make_mail,
    make_method,
    make_module,
    make_payment,
    make_plan,
    make_subscription,
)
from tests.models.test_issuing import drafted
from tests.web.api.test_breaks import ROUTES as BREAKS
from tests.web.api.test_imports import ROUTES as IMPORTS
from tests.web.api.test_payouts import ROUTES as PAYOUTS
from tests.web.api.test_reconciliations import ROUTES as RECONCILIATIONS
from tests.web.probe import Probe
from tests.web.test_endpoints import ROUTES as ENDPOINTS
from tests.web.test_reports import ROUTES as REPORTS
from tests.web.visitor import problem_of
from tests.web.visits import VISITS
from web.app import create_app
from web.auth import guard_of
from worker import sessions
from worker.database import engine, transaction

SUBSCRIPTION = "/api/v1/subscriptions/{subscription_id}"
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
    ("POST", "/api/v1/webhooks/sendgrid"),
    # Signed by us, in a letter.
    ("GET", "/mail/unsubscribe"),
    ("POST", "/mail/unsubscribe"),
    ("GET", "/portal"),
    ("GET", "/portal/static/{name}"),
    ("GET", "/portal/config.json"),
    ("POST", "/portal/visits"),
    ("POST", "/portal/links"),
    ("POST", "/portal/visits/{visit_id}/links"),
}
# About the caller and nobody else, or of whatever they may act for.
OWN = {
    ("GET", "/api/v1/overview"),
    ("GET", "/api/v1/metrics"),
    ("GET", "/api/v1/metrics/series"),
    ("GET", "/api/v1/companies"),
    ("GET", "/api/v1/companies/{company_id}"),
    ("PATCH", "/api/v1/companies/{company_id}"),
    ("GET", "/api/v1/plans"),
    ("GET", "/api/v1/plans/{plan_id}"),
    ("GET", "/api/v1/presence"),
    ("GET", "/api/v1/me/preferences"),
    ("PATCH", "/api/v1/me/preferences"),
    ("GET", "/api/v1/auth/me"),
    ("POST", "/api/v1/auth/logout"),
    ("POST", "/api/v1/auth/password"),
    ("POST", "/api/v1/relay/tickets"),
    ("GET", "/api/v1/mail/templates"),
    ("GET", "/api/v1/mail/templates/{name}/preview"),
    # Rates are nobody's.
    ("GET", "/api/v1/fx/rates"),
    ("GET", "/api/v1/fx/convert"),
}
NEEDS = {
    ("GET", "/api/v1/alerts"): Permission.PAYMENTS_READ,
    ("GET", "/api/v1/invoices"): Permission.INVOICES_READ,
    ("POST", "/api/v1/invoices"): Permission.INVOICES_WRITE,
    ("GET", "/api/v1/invoices/{invoice_id}"): Permission.INVOICES_READ,
    ("PATCH", "/api/v1/invoices/{invoice_id}"): Permission.INVOICES_WRITE,
    ("DELETE", "/api/v1/invoices/{invoice_id}"): Permission.INVOICES_WRITE,
    ("GET", "/api/v1/invoices/{invoice_id}/pdf"): Permission.INVOICES_READ,
    ("POST", "/api/v1/invoices/{invoice_id}/finalize"): Permission.INVOICES_WRITE,
    ("POST", "/api/v1/invoices/{invoice_id}/payment-link"): Permission.PAYMENTS_WRITE,
    ("POST", "/api/v1/companies/{company_id}/portal-link"): Permission.METHODS_WRITE,
    ("DELETE", "/api/v1/companies/{company_id}/portal-link"): Permission.METHODS_WRITE,
    ("GET", "/api/v1/credit-notes"): Permission.INVOICES_READ,
    ("GET", "/api/v1/credit-notes/{credit_note_id}"): Permission.INVOICES_READ,
    ("GET", "/api/v1/credit-notes/{credit_note_id}/pdf"): Permission.INVOICES_READ,
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
    ("GET", "/api/v1/modules"): Permission.MODULES_READ,
    ("GET", "/api/v1/modules/{module_id}"): Permission.MODULES_READ,
    ("POST", "/api/v1/modules/{module_id}/subscribe"): Permission.MODULES_WRITE,
    ("POST", "/api/v1/modules/{module_id}/unsubscribe"): Permission.MODULES_WRITE,
    ("PATCH", "/api/v1/modules/{module_id}/limits"): Permission.MODULES_WRITE,
    ("GET", "/api/v1/modules/{module_id}/usage"): Permission.MODULES_READ,
    ("POST", "/api/v1/modules/{module_id}/usage"): Permission.MODULES_WRITE,
    ("POST", "/api/v1/modules/usage"): Permission.MODULES_WRITE,
    ("POST", "/api/v1/analytics/events"): Permission.ANALYTICS_WRITE,
    ("GET", "/api/v1/payments/{transaction_id}/refunds"): Permission.PAYMENTS_READ,
    ("GET", "/api/v1/payments/{transaction_id}/refunds/{refund_id}"): Permission.PAYMENTS_READ,
    ("POST", "/api/v1/payments/{transaction_id}/refund"): Permission.REFUNDS_WRITE,
    ("GET", "/api/v1/mails"): Permission.INVOICES_READ,
    ("GET", "/api/v1/mails/{mail_id}"): Permission.INVOICES_READ,
    ("POST", "/api/v1/subscriptions"): Permission.INVOICES_WRITE,
    ("GET", "/api/v1/subscriptions"): Permission.INVOICES_READ,
    ("GET", f"{SUBSCRIPTION}"): Permission.INVOICES_READ,
    ("GET", f"{SUBSCRIPTION}/upcoming"): Permission.INVOICES_READ,
    **{
        ("POST", f"{SUBSCRIPTION}/{act}"): Permission.INVOICES_WRITE
        for act in ("change", "change/preview", "pause", "resume", "cancel", "keep")
    },
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
    ("GET", "/api/v1/analytics/collector"),
    ("GET", "/api/v1/operations/mails"),
    ("POST", "/api/v1/operations/mails/{mail_id}/resend"),
    ("GET", "/api/v1/operations/mail-suppressions"),
    ("POST", "/api/v1/operations/mail-suppressions"),
    ("DELETE", "/api/v1/operations/mail-suppressions/{suppression_id}"),
    ("POST", "/api/v1/operations/payments/{transaction_id}/settle"),
    ("POST", "/api/v1/operations/refunds/{refund_id}/settle"),
    ("POST", "/api/v1/invoices/{invoice_id}/bank-transfers"),
    ("POST", "/api/v1/invoices/{invoice_id}/void"),
    ("POST", "/api/v1/invoices/{invoice_id}/mark-uncollectible"),
    ("POST", "/api/v1/invoices/{invoice_id}/credit-notes"),
    ("POST", "/api/v1/payments/{transaction_id}/reverse"),
    ("GET", "/api/v1/companies/summary"),
    ("GET", "/api/v1/fx/fetches"),
    ("POST", "/api/v1/fx/refresh"),
    ("GET", "/api/v1/fx/currency"),
    ("PUT", "/api/v1/fx/currency"),
}
# What the tenant sells: of its staff too, for whichever company or for none.
CATALOGUE = {
    ("POST", "/api/v1/modules"),
    ("PATCH", "/api/v1/modules/{module_id}"),
    ("POST", "/api/v1/plans"),
    ("PATCH", "/api/v1/plans/{plan_id}"),
}
# Bodies that would be accepted; `{kind}` is an object of that kind.
BODIES = {
    "/api/v1/invoices/{invoice_id}": {"memo": "Thank you."},
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
    "/api/v1/modules/{module_id}/limits": {"warning_at": 5},
    "/api/v1/modules/{module_id}/usage": {
        "idempotency_key": "one",
        "quantity": 1,
        "user_id": "{user_id}",
    },
    "/api/v1/modules/usage": {
        "records": [{"module_id": str(new_id()), "idempotency_key": "one", "quantity": 1}]
    },
    "/api/v1/analytics/events": {"events": [{"event_type": "usage", "name": "report.opened"}]},
    # A plan is the tenant's, so no reference to a company's object.
    "/api/v1/subscriptions": {"plan": "plan_id", "payment_method_id": "{payment_method_id}"},
    f"{SUBSCRIPTION}/change": {"seats": 2},
    f"{SUBSCRIPTION}/change/preview": {"seats": 2},
    f"{SUBSCRIPTION}/cancel": {"at": "now"},
    "/api/v1/payment-methods": {"type": "card", "token": "tok_visa"},
    "/api/v1/payment-methods/{payment_method_id}/replace": {"token": "tok_visa"},
}
OF_DRAFTS = {
    ("PATCH", "/api/v1/invoices/{invoice_id}"),
    ("DELETE", "/api/v1/invoices/{invoice_id}"),
    ("POST", "/api/v1/invoices/{invoice_id}/finalize"),
}
# Not lists: a company has one of each.
SINGLE = {"/api/v1/retry-policy"}
READERS = set(Role)
WRITERS = {Role.OWNER, Role.BILLING_ADMIN, Role.OPERATOR}
KINDS = (
    "invoice_id",
    "transaction_id",
    "payment_method_id",
    "refund_id",
    "dispute_id",
    "mail_id",
    "module_id",
    "subscription_id",
    "credit_note_id",
    "company_id",
)
ROUTES = {
    **dict.fromkeys(PUBLIC | OWN | VISITS),
    **NEEDS,
    **dict.fromkeys(STAFF, Permission.OPERATIONS),
    **dict.fromkeys(CATALOGUE, Permission.CATALOGUE_WRITE),
    # Tried there.
    **ENDPOINTS,
    **IMPORTS,
    **REPORTS,
    **RECONCILIATIONS,
    **BREAKS,
    **PAYOUTS,
}


class Objects(dict[str, str]):
    """A company's objects by kind, each made when it is first asked for."""

    def __init__(self, customer: Customer) -> None:
        super().__init__(user_id=str(customer.user_id))
        self._makers = {
            "invoice_id": lambda: make_invoice(customer.company_id),
            "payment_method_id": lambda: make_method(customer),
            "transaction_id": lambda: captured(customer, UUID(self["payment_method_id"])),
            "refund_id": lambda: refunded(customer, UUID(self["transaction_id"])),
            "dispute_id": lambda: disputed(customer),
            "mail_id": lambda: make_mail(customer),
            "module_id": lambda: make_module(customer),
            "plan_id": lambda: make_plan(customer, UUID(self["module_id"])),
            "subscription_id": lambda: make_subscription(customer, UUID(self["plan_id"])),
            "credit_note_id": lambda: credited(customer),
            "company_id": lambda: customer.company_id,
        }

    def __missing__(self, kind: str) -> str:
        return self.setdefault(kind, str(self._makers[kind]()))

    def made(self) -> Objects:
        """Have one of each kind."""
        for kind in KINDS:
            assert self[kind]
        return self


def captured(customer: Customer, method_id: UUID) -> UUID:
    """A payment that succeeded, of an invoice of its own."""
    return make_payment(
        customer,
        make_invoice(customer.company_id),
        payment_method_id=method_id,
        status=Status.SUCCEEDED,
        amount_captured=Decimal("100.00"),
        provider_transaction_id=f"pi_{method_id.hex}",
    )


def refunded(customer: Customer, payment_id: UUID) -> UUID:
    """A refund of a payment, which somebody is to look at."""
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
        return refund.id


def credited(customer: Customer) -> UUID:
    """A credit note for what is due of an invoice of its own."""
    invoice_id = make_invoice(customer.company_id)
    because = Cause(why="a mistake")
    with transaction(company_id=customer.company_id) as session:
        invoice = lock_existing(session, Invoice, invoice_id)
        return credit_due(session, invoice, invoice.due, reason="a mistake", because=because).id


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
    """Put the objects that a body names into it."""
    named = {name: str(value).strip("{}") for name, value in (body or {}).items()}
    return {
        name: objects[kind] if kind.endswith("_id") else body[name] for name, kind in named.items()
    } or None


def checksums() -> dict[str, int]:
    """What every table holds, but for who is signed in and what a process tells of itself."""
    left_out = {"user_sessions", "analytics_producers"}
    names = ", ".join(name for name in METADATA.tables if name not in left_out)
    with engine().connect() as connection:
        return dict(connection.execute(text(f"CHECKSUM TABLE {names}")).all())


@pytest.fixture(scope="module")
def person(migrated, password_hash):
    """One for all tests: what nobody may do changes nothing."""
    return make_company(password_hash=password_hash)


@pytest.fixture(scope="module")
def theirs(migrated, password_hash):
    """Another company of the same tenant as `owner`, which is the closer neighbour."""
    return Objects(make_company(password_hash=password_hash)).made()


@pytest.fixture(scope="module")
def ours(person):
    return Objects(person).made()


def test_every_route_is_listed_here_with_what_it_needs(use):
    app = create_app()
    found = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            guard = guard_of(app.view_functions[rule.endpoint])
            assert guard.is_public == ((method, path) in PUBLIC), path
            assert guard.is_visit == ((method, path) in VISITS), path
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
    objects = Objects(colleague)
    if path.endswith(("/retry", "/resume")):
        objects["transaction_id"] = declined(colleague)
    if path in (f"{SUBSCRIPTION}/resume", f"{SUBSCRIPTION}/keep"):
        status = {"resume": "paused", "keep": "active"}[path.rpartition("/")[2]]
        objects["subscription_id"] = str(
            make_subscription(
                colleague,
                UUID(objects["plan_id"]),
                status=SubscriptionStatus(status),
                cancel_at_period_end=status == "active",
            )
        )
    if (method, path) in OF_DRAFTS:
        objects["invoice_id"] = str(drafted(colleague))
    if path.endswith("/cancel"):
        unpaid = make_invoice(colleague.company_id)
        waiting = make_payment(colleague, unpaid, status=Status.REQUIRES_ACTION)
        objects["transaction_id"] = str(waiting)
    person = visitor.sign_in(colleague.email)
    url, body = path.format_map(objects), fill(BODIES.get(path), objects)
    if method == "GET" and "{" not in path:
        objects.made()
    before = checksums()
    answer = person.send(method, url, json=body)
    may = role in (READERS if method == "GET" else WRITERS)
    if may:
        assert answer.status_code in (200, 201, 202), answer.text
    else:
        problem_of(answer, 403, "forbidden")
        assert NEEDS[method, path] in answer.json["detail"]
        assert checksums() == before


@pytest.mark.parametrize(("method", "path"), sorted(STAFF | CATALOGUE))
def test_only_the_tenants_staff_gets_in(visitor, password_hash, use, method, path):
    needed = ROUTES[method, path]
    path = re.sub(r"{\w+}", str(new_id()), path)
    problem_of(visitor.send(method, path, json={}), 401, "unauthenticated")
    people = [make_company(role=role, password_hash=password_hash) for role in Role]
    before = checksums()
    for role, person in zip(Role, people, strict=True):
        answer = visitor.sign_in(person.email).send(
            method, path, json=None if method == "GET" else {}
        )
        if role is Role.OPERATOR:
            assert answer.status_code in (200, 404, 409, 422), answer.text
        else:
            problem_of(answer, 403, "forbidden")
            assert needed in answer.json["detail"]
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
