"""Signing in, signing out, and who may do what."""

from __future__ import annotations

import pytest
from argon2 import extract_parameters
from sqlalchemy import select

from models.clock import now
from models.ids import new_id
from models.tenants import GRANTS, Permission, Role, User, UserSession
from tests.factories import make_company
from tests.waiting import wait_for
from tests.web.visitor import PASSWORD, problem_of
from web.app import create_app
from web.auth.guard import check_marks, guard_of
from web.routes import respond
from worker import passwords, sessions
from worker.database import transaction
from worker.passwords import hash_password

ME = "/api/v1/auth/me"
LOGIN = "/api/v1/auth/login"
OTHER_PASSWORD = "another battery altogether"


def wait_until_out(visitor):
    """After some seconds, for Redis may lose the deletion of what it remembers."""
    wait_for(lambda: visitor.get(ME).status_code == 401)
    problem_of(visitor.get(ME), 401, "unauthenticated")


def user_of(person):
    with transaction() as session:
        return session.get_one(User, person.user_id)


def test_who_signs_in_gets_a_token_that_lets_them_in(visitor, person):
    answer = visitor.post(LOGIN, {"email": person.email, "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json["token_type"] == "Bearer"
    assert answer.json["user"]["id"] == str(person.user_id)
    assert answer.json["user"]["company_id"] == str(person.company_id)
    assert answer.json["user"]["role"] == "owner"
    me = visitor.get(ME, Authorization=f"Bearer {answer.json['access_token']}")
    assert me.json == answer.json["user"]


def test_a_session_lasts_24_hours(visitor, person):
    visitor.sign_in(person.email)
    with transaction() as session:
        row = session.scalars(
            select(UserSession).where(UserSession.user_id == person.user_id)
        ).one()
    assert (row.expires_at - row.created_at).total_seconds() == pytest.approx(86_400, abs=1)


def test_the_email_may_be_typed_in_capitals(visitor, person):
    visitor.sign_in(f" {person.email.upper()} ")


def test_wrong_password_unknown_email_and_closed_account_answer_alike(visitor, person):
    closed = make_company(password_hash=hash_password(PASSWORD))
    sessions.change_user(closed.user_id, is_active=False)
    told = []
    for email, password in (
        (person.email, "wrong"),
        ("nobody@example.com", PASSWORD),
        (closed.email, PASSWORD),
    ):
        answer = visitor.post(LOGIN, {"email": email, "password": password})
        body = problem_of(answer, 401, "wrong-credentials")
        told.append((body["title"], body["detail"], answer.headers["WWW-Authenticate"]))
    assert len(set(told)) == 1


def test_an_unknown_email_costs_the_work_of_a_known_one(visitor, person, monkeypatch):
    verified = []
    real = passwords._hasher
    monkeypatch.setattr(passwords, "_hasher", Counting(real, verified))
    for email in (person.email, "nobody@example.com"):
        visitor.post(LOGIN, {"email": email, "password": "wrong"})
    assert len(verified) == 2
    known, unknown = map(extract_parameters, verified)
    assert known == unknown


class Counting:
    def __init__(self, real, verified):
        self._real = real
        self._verified = verified

    def verify(self, known, password):
        self._verified.append(known)
        return self._real.verify(known, password)

    def __getattr__(self, name):
        return getattr(self._real, name)


def test_a_hash_of_other_costs_is_made_anew_at_login(visitor, person):
    from argon2 import PasswordHasher

    old = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    with transaction() as session:
        session.get_one(User, person.user_id).password_hash = old
    visitor.sign_in(person.email)
    assert user_of(person).password_hash != old
    assert not passwords.needs_rehash(user_of(person).password_hash)
    visitor.sign_in(person.email)


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic abc", "abc", "Bearer a.b.c", "Bearer " + "x" * 5000],
)
def test_without_a_valid_token_nobody_comes_in(visitor, header):
    answer = visitor.get(ME, **({} if header is None else {"Authorization": header}))
    problem_of(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_logout_ends_this_session_and_no_other(visitor, person):
    first, second = visitor.sign_in(person.email), visitor.sign_in(person.email)
    assert first.post("/api/v1/auth/logout").status_code == 204
    wait_until_out(first)
    assert second.get(ME).status_code == 200


def test_a_new_password_ends_all_sessions(visitor, person):
    first, second = visitor.sign_in(person.email), visitor.sign_in(person.email)
    for one in (first, second):
        assert one.get(ME).status_code == 200
    change = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert first.post("/api/v1/auth/password", change).status_code == 204
    for one in (first, second):
        wait_until_out(one)
    problem_of(
        visitor.post(LOGIN, {"email": person.email, "password": PASSWORD}), 401, "wrong-credentials"
    )
    visitor.sign_in(person.email, OTHER_PASSWORD)


def test_a_password_is_changed_only_by_who_knows_it(owner, person):
    change = {"current_password": "a guess", "new_password": OTHER_PASSWORD}
    body = problem_of(owner.post("/api/v1/auth/password", change), 422, "invalid")
    assert body["errors"][0]["field"] == "current_password"
    assert owner.get(ME).status_code == 200


def test_a_short_password_is_refused(owner):
    change = {"current_password": PASSWORD, "new_password": "short"}
    body = problem_of(owner.post("/api/v1/auth/password", change), 422, "invalid")
    assert body["errors"][0]["field"] == "new_password"


def test_a_login_that_a_password_change_overtakes_is_refused(visitor, person, monkeypatch):
    real = passwords.is_right

    def slow(password, known):
        found = real(password, known)
        with transaction() as session:
            session.get_one(User, person.user_id).password_hash = "changed meanwhile"
        return found

    monkeypatch.setattr(passwords, "is_right", slow)
    answer = visitor.post(LOGIN, {"email": person.email, "password": PASSWORD})
    problem_of(answer, 401, "wrong-credentials")


def test_a_deactivated_user_is_out(owner, person):
    assert owner.get(ME).status_code == 200
    sessions.change_user(person.user_id, is_active=False)
    wait_until_out(owner)


def test_a_deactivated_user_who_is_let_back_must_sign_in_again(visitor, owner, person):
    sessions.change_user(person.user_id, is_active=False)
    sessions.change_user(person.user_id, is_active=True)
    wait_until_out(owner)
    visitor.sign_in(person.email)


THINGS = "/api/v1/probe/things"


@pytest.mark.parametrize("role", [Role.OWNER, Role.BILLING_ADMIN, Role.MEMBER])
def test_a_role_may_do_what_it_is_granted(sign_in_as, role):
    answer = sign_in_as(role).post(THINGS, {"amount": 1})
    if Permission.INVOICES_WRITE in GRANTS[role]:
        assert answer.status_code == 201
    else:
        problem_of(answer, 403, "forbidden")


def test_another_role_holds_for_who_is_signed_in(owner, person):
    assert owner.post(THINGS, {"amount": 1}).status_code == 201
    sessions.change_user(person.user_id, role=Role.MEMBER)
    wait_for(lambda: owner.post(THINGS, {"amount": 1}).status_code == 403)


def operator_of(visitor, tenant_id, password_hash):
    email = f"{new_id()}@example.com"
    with transaction() as session:
        session.add(
            User(
                tenant_id=tenant_id,
                email=email,
                password_hash=password_hash,
                role=Role.OPERATOR,
            )
        )
    return visitor.sign_in(email)


def test_an_operator_acts_for_the_company_that_they_name(visitor, person, password_hash):
    operator = operator_of(visitor, person.tenant_id, password_hash)
    answer = operator.post(THINGS, {"amount": 5}, X_Company_Id=str(person.company_id))
    assert answer.status_code == 201


def test_an_operator_must_name_a_company(visitor, person, password_hash):
    operator = operator_of(visitor, person.tenant_id, password_hash)
    assert operator.get(ME).status_code == 200
    problem_of(operator.post(THINGS, {"amount": 5}), 400, "bad-request")


def test_another_tenants_company_does_not_exist_for_an_operator(visitor, person, password_hash):
    operator = operator_of(visitor, person.tenant_id, password_hash)
    other = make_company()
    for company_id in (str(other.company_id), str(new_id())):
        problem_of(operator.post(THINGS, {"amount": 5}, X_Company_Id=company_id), 404, "not-found")
    problem_of(operator.post(THINGS, {"amount": 5}, X_Company_Id="x"), 400, "bad-request")


def test_only_operators_act_for_others(owner, person):
    sibling = make_company(tenant_id=person.tenant_id)
    answer = owner.post(THINGS, {"amount": 5}, X_Company_Id=str(sibling.company_id))
    problem_of(answer, 404, "not-found")
    own = owner.post(THINGS, {"amount": 5}, X_Company_Id=str(person.company_id))
    assert own.status_code == 201


PUBLIC = {
    "auth.login",
    "console.config",
    "console.front",
    "console.page",
    "console.part",
    "console.sign_in",
    "console.sign_out",
    "health.healthz",
    "health.readyz",
    "pages.docs",
    "pages.docs_part",
    "pages.openapi",
    "portal.config",
    "portal.page",
    "portal.part",
    "portal_asking.ask",
    "portal_asking.ask_by_visit",
    "portal_visits.begin",
    "probe.echo",
    "probe.fail",
    "unsubscribe.ask",
    "unsubscribe.leave",
    "webhooks.receive_paypal",
    "webhooks.receive_sendgrid",
    "webhooks.receive_stripe",
}


def test_every_view_says_who_may_call_it_and_few_are_public(probe):
    views = probe.app.view_functions
    assert all(guard_of(view) for view in views.values())
    assert {name for name, view in views.items() if guard_of(view).is_public} == PUBLIC


def test_an_application_with_a_view_that_says_nothing_does_not_start(use):
    app = create_app()
    app.add_url_rule("/bare", "bare", lambda: respond({}))
    with pytest.raises(RuntimeError, match="bare"):
        check_marks(app)


def test_an_ended_session_keeps_its_row(owner, person):
    owner.post("/api/v1/auth/logout")
    with transaction() as session:
        row = session.scalars(
            select(UserSession).where(UserSession.user_id == person.user_id)
        ).one()
    assert row.ended_at <= now()
