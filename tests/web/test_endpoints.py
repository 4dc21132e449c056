"""Endpoints over the API: whose they are, their secrets, what was delivered, sending again."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from models import deliveries
from models.clock import now
from models.deliveries import DeliveryStatus, EndpointAttempt, EndpointDelivery, EndpointMessage
from models.endpoints import MOST_ENDPOINTS, OVERLAP, DisabledReason, Endpoint
from models.ids import new_id
from models.outbox import Owed
from models.tenants import Permission, Role, User
from tests.factories import make_company
from tests.web.visitor import problem_of
from web.api.deliveries import MOST_RESENT
from worker.database import transaction
from worker.outgoing import disabling

PATH = "/api/v1/endpoints"
URL = "https://hooks.example.com/in"
_READ, _WRITE = Permission.ENDPOINTS_READ, Permission.ENDPOINTS_WRITE
# Every route of endpoints, with what it needs; `test_tenancy` has them among all.
ROUTES = {
    ("GET", PATH): _READ,
    ("POST", PATH): _WRITE,
    ("GET", f"{PATH}/{{endpoint_id}}"): _READ,
    ("PATCH", f"{PATH}/{{endpoint_id}}"): _WRITE,
    ("DELETE", f"{PATH}/{{endpoint_id}}"): _WRITE,
    ("POST", f"{PATH}/{{endpoint_id}}/rotate-secret"): _WRITE,
    ("POST", f"{PATH}/{{endpoint_id}}/test"): _WRITE,
    ("POST", f"{PATH}/{{endpoint_id}}/resend"): _WRITE,
    ("GET", f"{PATH}/{{endpoint_id}}/deliveries"): _READ,
    ("GET", f"{PATH}/deliveries/{{delivery_id}}"): _READ,
    ("POST", f"{PATH}/deliveries/{{delivery_id}}/resend"): _WRITE,
    ("GET", f"{PATH}/messages"): _READ,
    ("GET", f"{PATH}/messages/{{message_id}}"): _READ,
}
BODIES = {
    ("POST", PATH): {"url": URL},
    ("PATCH", f"{PATH}/{{endpoint_id}}"): {"description": "Theirs"},
    ("POST", f"{PATH}/{{endpoint_id}}/resend"): {"since": "2020-01-01T00:00:00Z"},
}


def created(owner, **body):
    answer = owner.post(PATH, {"url": URL, **body})
    assert answer.status_code == 201, answer.text
    return answer.json


def one_of(owner, endpoint_id):
    answer = owner.get(f"{PATH}/{endpoint_id}")
    assert answer.status_code == 200, answer.text
    return answer.json


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json["data"]]


def row_of(endpoint_id) -> Endpoint:
    with transaction() as session:
        return session.get_one(Endpoint, UUID(str(endpoint_id)))


def bells(company_id) -> list[str]:
    with transaction() as session:
        wanted = select(Owed.arguments).where(
            Owed.company_id == company_id, Owed.task == "endpoints.deliver"
        )
        return [each["endpoint_id"] for each in session.scalars(wanted)]


def add_delivery(endpoint_id, status=DeliveryStatus.FAILED, kind="payment.failed", **columns):
    """A delivery as a worker left it."""
    with transaction() as session:
        endpoint = session.get_one(Endpoint, UUID(str(endpoint_id)))
        message = EndpointMessage(
            tenant_id=endpoint.tenant_id,
            company_id=endpoint.company_id,
            source_id=new_id(),
            position=0,
            type=kind,
            payload='{"type": "x"}',
        )
        session.add(message)
        session.flush()
        delivery = EndpointDelivery(
            endpoint_id=endpoint.id, message_id=message.id, status=status, **columns
        )
        session.add(delivery)
        session.flush()
        return str(delivery.id)


def test_its_secret_is_told_once(owner, person):
    key = str(uuid4())
    first = owner.post(PATH, {"url": URL}, Idempotency_Key=key)
    made = first.json
    assert made["secret"].startswith("whsec_")
    row = row_of(made["id"])
    assert made["secret"] == row.secret
    assert made["secret"] not in repr(row)
    assert first.headers["Location"] == f"{PATH}/{made['id']}"
    assert (made["events"], made["status"]) == (["*"], "enabled")
    assert made["company_id"] == str(person.company_id)
    again = owner.post(PATH, {"url": URL}, Idempotency_Key=key)
    assert (again.json["id"], again.json["secret"]) == (made["id"], None)
    for answer in (owner.get(f"{PATH}/{made['id']}"), owner.get(PATH)):
        assert "secret" not in answer.text.replace("previous_secret_until", "")


def test_a_rotated_secret_signs_beside_the_new_one_for_a_day(owner):
    made = created(owner)
    key = str(uuid4())
    path = f"{PATH}/{made['id']}/rotate-secret"
    rotated = owner.post(path, Idempotency_Key=key)
    assert rotated.status_code == 201
    secret = rotated.json["secret"]
    row = row_of(made["id"])
    assert row.secrets_at(now()) == (secret, made["secret"])
    assert row.secrets_at(now() + OVERLAP) == (secret,)
    again = owner.post(path, Idempotency_Key=key)
    assert again.json["secret"] is None
    assert row_of(made["id"]).secret == secret, "asked twice, it is rotated once"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "http://example.com/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://2130706433/"}, "url"),
        ({"url": "https://a:b@example.com/"}, "url"),
        ({"url": "https://example.com:25/"}, "url"),
        ({"url": "https://example.com/" + "a" * 2000}, "url"),
        ({"url": ""}, "url"),
        ({}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["payment"]}, "events.0"),
        ({"url": URL, "events": ["*.paid"]}, "events.0"),
        ({"url": URL, "events": ["*", "invoice.payed"]}, "events.1"),
        ({"url": URL, "events": ["nope.*"]}, "events.0"),
        ({"url": URL, "events": ["user.online"]}, "events.0"),
        ({"url": URL, "events": ["payment.*", "a.b; drop"]}, "events.1"),
        ({"url": URL, "description": "\x00"}, "description"),
        ({"url": URL, "all_companies": True}, "all_companies"),
        ({"url": URL, "secret": "whsec_mine"}, "secret"),
    ],
)
def test_what_cannot_be_an_endpoint_is_refused(owner, body, field):
    problem = problem_of(owner.post(PATH, body), 422, "invalid")
    assert [error["field"] for error in problem["errors"]] == [field]
    assert ids(owner.get(PATH)) == []


def objects_of(owner) -> dict[str, str]:
    """An endpoint, and a delivery to it that failed."""
    made = created(owner)
    delivery_id = add_delivery(made["id"])
    message_id = owner.get(f"{PATH}/deliveries/{delivery_id}").json["message_id"]
    return {"endpoint_id": made["id"], "delivery_id": delivery_id, "message_id": message_id}


def tried(somebody, ours, **headers):
    """Send every request as who is no owner of these; yield its name and its answer."""
    for method, path in ROUTES:
        body = BODIES.get((method, path))
        yield (
            (method, path),
            somebody.send(method, path.format(**ours), json=body, headers=headers),
        )


def test_only_owners_and_operators_may(owner, person, visitor, password_hash):
    ours = objects_of(owner)
    for role in (Role.MEMBER, Role.BILLING_ADMIN):
        colleague = make_company(role=role, password_hash=password_hash)
        with transaction() as session:
            session.get_one(User, colleague.user_id).company_id = person.company_id
        for name, answer in tried(visitor.sign_in(colleague.email), ours):
            assert ROUTES[name] in problem_of(answer, 403, "forbidden")["detail"]
    for _, answer in tried(visitor, ours):
        problem_of(answer, 401, "unauthenticated")
    assert one_of(owner, ours["endpoint_id"])["description"] == ""


def test_there_may_be_so_many_and_no_more(owner, person):
    with transaction() as session:
        session.add_all(
            Endpoint(
                tenant_id=person.tenant_id,
                company_id=person.company_id,
                url=URL,
                events=["*"],
                secret="whsec_x",
            )
            for _ in range(MOST_ENDPOINTS)
        )
    problem_of(owner.post(PATH, {"url": URL}), 409, "conflict")


def test_it_is_changed_and_a_new_address_begins_anew(owner):
    made = created(owner)
    with transaction() as session:
        row = session.get_one(Endpoint, UUID(made["id"]))
        row.is_proven, row.failing_since, row.failures = True, now(), 7
    path = f"{PATH}/{made['id']}"
    changed = owner.send(
        "PATCH", path, json={"events": ["invoice.paid", "invoice.paid"], "description": "Books"}
    ).json
    assert (changed["events"], changed["description"]) == (["invoice.paid"], "Books")
    assert changed["failures"] == 7
    moved = owner.send("PATCH", path, json={"url": "https://other.example.com/"}).json
    assert (moved["url"], moved["failing_since"], moved["failures"]) == (
        "https://other.example.com/",
        None,
        0,
    )
    assert not row_of(made["id"]).is_proven
    problem_of(owner.send("PATCH", path, json={"url": "https://10.0.0.1/"}), 422, "invalid")
    assert one_of(owner, made["id"]) == moved


def test_one_that_is_disabled_is_owed_nothing_and_enabling_sends_nothing_old(owner):
    made = created(owner)
    waiting = add_delivery(made["id"], DeliveryStatus.OWED, next_attempt_at=now())
    path = f"{PATH}/{made['id']}"
    disabled = owner.send("PATCH", path, json={"status": "disabled"}).json
    assert (disabled["status"], disabled["disabled_reason"]) == ("disabled", "asked")
    problem_of(owner.post(f"{path}/test"), 409, "conflict")
    problem_of(owner.post(f"{path}/resend", {"since": "2020-01-01T00:00:00Z"}), 409, "conflict")
    enabled = owner.send("PATCH", path, json={"status": "enabled"}).json
    assert (enabled["status"], enabled["disabled_reason"]) == ("enabled", None)
    told = owner.get(f"{PATH}/deliveries/{waiting}").json
    assert (told["status"], told["error"]) == ("canceled", "the endpoint was disabled")


def test_enabling_ends_the_alert(owner, person):
    made = created(owner)
    with transaction(company_id=person.company_id) as session:
        endpoint = session.get_one(Endpoint, UUID(made["id"]))
        disabling.give_up(session, endpoint, DisabledReason.FAILING, moment=now())
    alerts = f"/api/v1/alerts?kind={disabling.KIND}&is_resolved=false"
    assert len(ids(owner.get(alerts))) == 1
    owner.send("PATCH", f"{PATH}/{made['id']}", json={"status": "enabled"})
    assert ids(owner.get(alerts)) == []


def test_one_that_is_deleted_is_gone(owner):
    made = created(owner)
    path = f"{PATH}/{made['id']}"
    delivery = add_delivery(made["id"], DeliveryStatus.OWED, next_attempt_at=now())
    assert owner.send("DELETE", path).status_code == 204
    for method in ("GET", "DELETE"):
        problem_of(owner.send(method, path), 404, "not-found")
    assert ids(owner.get(PATH)) == []
    problem_of(owner.get(f"{PATH}/deliveries/{delivery}"), 404, "not-found")
    with transaction() as session:
        row = session.get_one(EndpointDelivery, UUID(delivery))
    assert (row.status, row.next_attempt_at) == (DeliveryStatus.CANCELED, None)


def test_a_test_event_is_owed_and_its_delivery_shown(owner, person):
    made = created(owner, events=["invoice.paid"])
    answer = owner.post(f"{PATH}/{made['id']}/test")
    assert answer.status_code == 202, answer.text
    delivery = answer.json
    assert (delivery["type"], delivery["status"]) == ("endpoint.test", "owed")
    assert delivery["webhook_id"] == "msg_" + UUID(delivery["message_id"]).hex
    assert made["id"] in delivery["payload"]
    assert bells(person.company_id) == [made["id"]]
    assert ids(owner.get(f"{PATH}/{made['id']}/deliveries")) == [delivery["id"]]


def test_a_delivery_is_shown_with_its_attempts(owner):
    made = created(owner)
    delivery_id = add_delivery(made["id"], attempts=2, status_code=500, error="answered 500")
    with transaction() as session:
        session.add_all(
            EndpointAttempt(
                delivery_id=UUID(delivery_id), number=number, error=error, ended_at=now()
            )
            for number, error in ((2, "answered 500"), (1, "it did not answer in time"))
        )
    told = owner.get(f"{PATH}/deliveries/{delivery_id}").json
    assert [(each["number"], each["error"]) for each in told["made"]] == [
        (1, "it did not answer in time"),
        (2, "answered 500"),
    ]
    assert told["payload"] == '{"type": "x"}'
    message = owner.get(f"{PATH}/messages/{told['message_id']}").json
    assert [each["id"] for each in message["deliveries"]] == [delivery_id]
    listed = owner.get(f"{PATH}/messages?type=payment.failed").json["data"]
    assert [each["id"] for each in listed] == [told["message_id"]]
    assert owner.get(f"{PATH}/messages?type=payment.other").json["data"] == []


def test_deliveries_are_listed_by_status_newest_first(owner):
    made = created(owner)
    failed = add_delivery(made["id"])
    done = add_delivery(made["id"], DeliveryStatus.DELIVERED)
    owed = add_delivery(made["id"], DeliveryStatus.OWED, next_attempt_at=now())
    path = f"{PATH}/{made['id']}/deliveries"
    assert ids(owner.get(path)) == [owed, done, failed]
    assert ids(owner.get(f"{path}?status=failed&status=owed")) == [owed, failed]
    page = owner.get(f"{path}?limit=2")
    assert ids(page) == [owed, done]
    assert ids(owner.get(f"{path}?limit=2&cursor={page.json['next_cursor']}")) == [failed]


def test_one_is_sent_again(owner, person):
    made = created(owner)
    delivery_id = add_delivery(made["id"], attempts=8, tries=8)
    answer = owner.post(f"{PATH}/deliveries/{delivery_id}/resend")
    assert answer.status_code == 202, answer.text
    assert (answer.json["status"], answer.json["attempts"]) == ("owed", 8)
    assert answer.json["next_attempt_at"]
    with transaction() as session:
        assert session.get_one(EndpointDelivery, UUID(delivery_id)).tries == 0
    assert bells(person.company_id) == [made["id"]]
    busy = add_delivery(made["id"], DeliveryStatus.DELIVERING, next_attempt_at=now())
    problem_of(owner.post(f"{PATH}/deliveries/{busy}/resend"), 409, "conflict")


def test_all_that_was_given_up_since_a_time_is_sent_again(owner, monkeypatch):
    made = created(owner)
    old = add_delivery(made["id"], created_at=now() - timedelta(days=2))
    failed = add_delivery(made["id"])
    canceled = add_delivery(made["id"], DeliveryStatus.CANCELED)
    done = add_delivery(made["id"], DeliveryStatus.DELIVERED)
    since = (now() - timedelta(days=1)).isoformat()
    monkeypatch.setattr("web.api.deliveries.MOST_RESENT", 1)
    path = f"{PATH}/{made['id']}/resend"
    assert owner.post(path, {"since": since}).json == {"resent": 1, "left": 1}
    assert owner.post(path, {"since": since}).json == {"resent": 1, "left": 0}
    assert owner.post(path, {"since": since}).json == {"resent": 0, "left": 0}
    assert MOST_RESENT > 1
    with transaction() as session:
        found = {
            str(row.id): str(row.status)
            for row in session.scalars(
                select(EndpointDelivery).where(EndpointDelivery.endpoint_id == UUID(made["id"]))
            )
        }
    assert found == {old: "failed", failed: "owed", canceled: "owed", done: "delivered"}


def test_another_companys_are_not_there(owner, person, sign_in_as):
    ours = objects_of(owner)
    stranger, of_another_tenant = sign_in_as(Role.OWNER), sign_in_as(Role.OPERATOR)
    for (method, path), answer in tried(stranger, ours):
        if "{" in path:
            problem_of(answer, 404, "not-found")
        elif method == "GET":
            assert ids(answer) == []
    named = {"X-Company-Id": str(person.company_id)}
    for somebody in (stranger, of_another_tenant):
        for _, answer in tried(somebody, ours, **named):
            problem_of(answer, 404, "not-found")
    assert one_of(owner, ours["endpoint_id"])["description"] == ""
    assert len(ids(owner.get(PATH))) == 1


def test_operators_have_endpoints_for_all_companies_that_owners_do_not_see(
    owner, person, visitor, password_hash
):
    staff = make_company(
        role=Role.OPERATOR, tenant_id=person.tenant_id, password_hash=password_hash
    )
    operator = visitor.sign_in(staff.email)
    named = {"X_Company_Id": str(person.company_id)}
    answer = operator.post(PATH, {"url": URL, "all_companies": True}, **named)
    assert answer.status_code == 201, answer.text
    assert answer.json["company_id"] is None
    own = created(owner)
    assert ids(operator.get(PATH, **named)) == [own["id"], answer.json["id"]]
    assert ids(owner.get(PATH)) == [own["id"]]
    problem_of(owner.get(f"{PATH}/{answer.json['id']}"), 404, "not-found")


def test_a_message_shows_owners_none_of_the_operators_deliveries(owner, person):
    made = created(owner)
    with transaction() as session:
        theirs = Endpoint(
            tenant_id=person.tenant_id, company_id=None, url=URL, events=["*"], secret="whsec_x"
        )
        session.add(theirs)
        session.flush()
        theirs_id = theirs.id
    delivery_id = add_delivery(made["id"])
    with transaction() as session:
        message_id = session.get_one(EndpointDelivery, UUID(delivery_id)).message_id
        message = session.get_one(EndpointMessage, message_id)
        deliveries.owe(session, message, [session.get_one(Endpoint, theirs_id)], moment=now())
    shown = owner.get(f"{PATH}/messages/{message_id}").json["deliveries"]
    assert [each["id"] for each in shown] == [delivery_id]
