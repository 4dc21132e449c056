"""The console's page over HTTP: its policy, its parts, and the session in a cookie."""

from __future__ import annotations

import re
from configparser import ConfigParser

import pytest
from sqlalchemy import select

from models.invoices import Invoice
from models.tenants import UserSession
from tests.web.visitor import PASSWORD, problem_of
from web.app import create_app
from web.console import FOLDER
from worker.database import transaction

SESSION = "/console/session"
INVOICES = "/api/v1/invoices"
OWN = {"Sec-Fetch-Site": "same-origin"}
INVOICE = {"lines": [{"description": "Seats", "quantity": 1, "unit_amount": "10.00"}]}
# What a browser sends with a request that a page elsewhere makes; the last is an old browser.
FOREIGN = [
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:9999"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://localhost:9999"},
    {"Origin": "null"},
    {},
]


@pytest.fixture
def browser(visitor):
    """A browser that keeps its cookies."""
    return visitor.app.test_client()


@pytest.fixture
def signed_in(browser, person):
    sent = {"email": person.email, "password": PASSWORD}
    answer = browser.post(SESSION, json=sent, headers=OWN)
    assert answer.status_code == 200, answer.text
    return browser


def cookie_of(answer):
    (text,) = answer.headers.getlist("Set-Cookie")
    value, *attributes = text.split("; ")
    return value, set(attributes)


def count_invoices(person):
    with transaction(company_id=person.company_id) as session:
        return len(session.scalars(select(Invoice)).all())


def test_who_signs_in_gets_a_cookie_that_no_script_reads(browser, person):
    sent = {"email": person.email, "password": PASSWORD}
    answer = browser.post(SESSION, json=sent, headers=OWN)
    assert answer.json["id"] == str(person.user_id)
    assert "token" not in answer.text
    value, attributes = cookie_of(answer)
    assert value.startswith("paybeat_session=ey")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= attributes
    assert not any(each.startswith("Domain") for each in attributes)
    assert answer.headers["Cache-Control"] == "no-store"


def test_over_tls_the_cookie_is_of_this_host_and_of_tls_alone(browser, person):
    sent = {"email": person.email, "password": PASSWORD}
    answer = browser.post(SESSION, json=sent, headers=OWN, base_url="https://localhost")
    value, attributes = cookie_of(answer)
    assert value.startswith("__Host-paybeat_session=")
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= attributes
    me = browser.get("/api/v1/auth/me", base_url="https://localhost")
    assert me.json["id"] == str(person.user_id)


def test_the_cookie_lets_in_where_a_token_would(signed_in, person):
    assert signed_in.get("/api/v1/auth/me").json["id"] == str(person.user_id)
    assert signed_in.get(INVOICES).status_code == 200
    made = signed_in.post(INVOICES, json=INVOICE, headers=OWN)
    assert made.status_code == 201, made.text


def test_an_old_browser_is_let_in_by_its_origin(signed_in, person):
    made = signed_in.post(INVOICES, json=INVOICE, headers={"Origin": "http://localhost"})
    assert made.status_code == 201, made.text
    assert count_invoices(person) == 1


@pytest.mark.parametrize("headers", FOREIGN)
def test_what_another_page_sends_changes_nothing(signed_in, person, headers):
    problem_of(signed_in.post(INVOICES, json=INVOICE, headers=headers), 403, "forbidden")
    assert count_invoices(person) == 0
    problem_of(signed_in.delete(SESSION, headers=headers), 403, "forbidden")
    assert signed_in.get("/api/v1/auth/me").status_code == 200


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_page_signs_nobody_in(browser, person, headers):
    sent = {"email": person.email, "password": PASSWORD}
    answer = browser.post(SESSION, json=sent, headers=headers)
    problem_of(answer, 403, "forbidden")
    assert "Set-Cookie" not in answer.headers
    with transaction() as session:
        of_person = select(UserSession).where(UserSession.user_id == person.user_id)
        assert session.scalars(of_person).all() == []


def test_a_token_counts_before_the_cookie_and_from_anywhere(signed_in, owner):
    headers = {"Authorization": f"Bearer {owner.token}", "Sec-Fetch-Site": "cross-site"}
    assert signed_in.post(INVOICES, json=INVOICE, headers=headers).status_code == 201
    wrong = signed_in.get("/api/v1/auth/me", headers={"Authorization": "Bearer nonsense"})
    problem_of(wrong, 401, "unauthenticated")


def test_signing_out_ends_the_session_and_takes_the_cookie(signed_in):
    token = signed_in.get_cookie("paybeat_session").value
    answer = signed_in.delete(SESSION, headers=OWN)
    assert answer.status_code == 204
    assert signed_in.get_cookie("paybeat_session") is None
    headers = {"Authorization": f"Bearer {token}"}
    problem_of(signed_in.get("/api/v1/auth/me", headers=headers), 401, "unauthenticated")


def test_signing_out_twice_or_too_late_takes_the_cookie_all_the_same(signed_in):
    token = signed_in.get_cookie("paybeat_session").value
    headers = {"Authorization": f"Bearer {token}"}
    assert signed_in.post("/api/v1/auth/logout", headers=headers).status_code == 204
    for value in (token, "nonsense", None):
        if value is not None:
            signed_in.set_cookie("paybeat_session", value)
        assert signed_in.delete(SESSION, headers=OWN).status_code == 204
        assert signed_in.get_cookie("paybeat_session") is None


def test_no_other_site_embeds_what_is_answered(browser):
    for path in ("/console", "/console/static/js/main.js", "/docs", "/api/v1/invoices", "/healthz"):
        assert browser.get(path).headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_signing_in_here_has_the_limits_of_the_api(browser, person, use):
    use(login_rate_limit="2 per minute")
    sent = {"email": person.email, "password": "wrong"}
    answers = [browser.post(SESSION, json=sent, headers=OWN) for _ in range(3)]
    for answer in answers[:2]:
        problem_of(answer, 401, "wrong-credentials")
    problem_of(answers[2], 429, "too-many-requests")


@pytest.mark.parametrize("path", ["/console", "/console/payments", "/console/payments/0190"])
def test_every_view_is_the_one_page(browser, path):
    answer = browser.get(path)
    assert answer.status_code == 200
    assert answer.content_type == "text/html; charset=utf-8"
    assert b'src="/console/static/js/main.js"' in answer.data


def test_people_are_shown_the_page_at_an_address_with_a_dot(browser):
    answer = browser.get("/console/x.y", headers={"Accept": "text/html,*/*"})
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    problem_of(browser.get("/console/x.y"), 404, "not-found")


def test_people_are_led_to_the_console_and_programs_are_not(browser):
    answer = browser.get("/", headers={"Accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/console")
    problem_of(browser.get("/"), 404, "not-found")


@pytest.mark.parametrize(
    "name",
    [
        "static/../__init__.py",
        "static/none.js",
        "static/js",
        "static/%2e%2e/places.py",
        "static/%00.js",
        f"static/{'a' * 300}.js",
        "a.txt",
    ],
)
def test_what_is_no_part_of_the_page_is_not_found(browser, name):
    problem_of(browser.get(f"/console/{name}"), 404, "not-found")


def test_every_part_is_served_with_its_type_and_asked_anew_each_time(browser):
    for path in sorted(FOLDER.rglob("*.*")):
        answer = browser.get(f"/console/static/{path.relative_to(FOLDER)}")
        assert answer.data == path.read_bytes(), path
        assert answer.headers["Cache-Control"] == "no-cache"
    kept = {"If-None-Match": answer.headers["ETag"]}
    assert browser.get(answer.request.path, headers=kept).status_code == 304


def test_an_installed_package_has_every_part():
    setup = ConfigParser()
    setup.read(FOLDER.parents[2] / "setup.cfg")
    patterns = setup["options.package_data"]["web.console"].split()
    packed = {path for pattern in patterns for path in FOLDER.parent.glob(pattern)}
    assert {path for path in FOLDER.rglob("*") if path.is_file()} <= packed


@pytest.mark.parametrize("path", ["/console", "/console/static/js/relay/worker.js"])
def test_the_policy_lets_in_nothing_from_elsewhere(use, path):
    use(relay_url="wss://relay.example/ws", stripe_api_base="http://127.0.0.1:12111/")
    answer = create_app().test_client().get(path)
    rules = dict(
        rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; ")
    )
    reached = rules.pop("connect-src").split()
    assert reached == ["'self'", "wss://relay.example", "http://127.0.0.1:12111"]
    assert rules == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "worker-src": "'self'",
        "manifest-src": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "paybeat",
    }
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_is_told_where_its_neighbours_are(use):
    use(relay_port="8101", stripe_api_base="http://127.0.0.1:12111", flower_port="5511")
    config = create_app().test_client().get("/console/config.json").json
    assert config.pop("now")
    assert config == {
        "env": "sandbox",
        "relay_url": "ws://localhost:8101/ws",
        "sandbox": {"stripe": "http://127.0.0.1:12111", "paypal": None, "mail": None},
        "flower_url": "http://localhost:5511/",
    }


@pytest.mark.parametrize(
    "host", ["[", "a:b:c", "a\x00b", "a b", "[::zz]", "a'; script-src *", "\xfc"]
)
@pytest.mark.parametrize("path", ["/console", "/console/config.json"])
def test_no_address_is_made_of_a_host_that_is_none(browser, path, host):
    answer = browser.get(path, environ_overrides={"HTTP_HOST": host})
    problem_of(answer, 400, "bad-request")
    assert host not in answer.text


def test_the_relay_is_at_the_host_that_was_asked(browser):
    for host, own in {"[::1]:80": "[::1]", "Pay.example:8000": "pay.example"}.items():
        answer = browser.get("/console/config.json", environ_overrides={"HTTP_HOST": host})
        assert answer.json["relay_url"].startswith(f"ws://{own}:")


def test_flower_is_where_people_reach_it(use):
    use(flower_url="https://pay.example.com/flower/")
    config = create_app().test_client().get("/console/config.json").json
    assert config["flower_url"] == "https://pay.example.com/flower/"


def test_the_providers_themselves_are_no_stand_ins(use):
    use(stripe_api_base="https://api.stripe.com", paypal_api_base="")
    config = create_app().test_client().get("/console/config.json").json
    assert config["sandbox"] is None


def test_no_module_makes_markup_of_text_or_names_another_host():
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://"
    )
    for path in FOLDER.rglob("*"):
        if path.suffix in {".js", ".html", ".css"}:
            # A name, which nobody asks for anything.
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not forbidden.search(text), path.relative_to(FOLDER)


def test_people_at_the_console_take_no_requests_from_their_companys_programs(
    use, visitor, signed_in, person
):
    program = visitor.sign_in(person.email)
    use(rate_limit="2 per minute")
    asked = [signed_in.get(INVOICES).status_code for _ in range(3)]
    assert asked == [200, 200, 429]
    assert [program.get(INVOICES).status_code for _ in range(3)] == [200, 200, 429]
