"""The customer portal over HTTP: what a link lets in to, and that nothing else does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

from models import clock
from models.idempotency import IdempotencyKey
from models.ids import new_id
from models.invoices import Invoice
from models.outbox import Owed
from models.timeline import Timeline
from models.transactions import Status, Transaction
from tests.factories import make_company, make_invoice, make_method, make_payment
from tests.models.test_issuing import drafted
from tests.web.test_tenancy import checksums
from tests.web.visitor import problem_of
from tests.web.visits import OWN, VISITS, Guest
from worker import links, portal
from worker.database import engine, transaction
from worker.mail.links import mail_of
from worker.mail.links import token_of as unsubscribing

FOREIGN = [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {}]
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
IDS = st.uuids(version=4)
LINKS = st.builds(
    portal.Link,
    company_id=IDS,
    invoice_id=st.none() | IDS,
    epoch=st.integers(0, 2**31),
    expires_at=st.integers(0, 2**32).map(lambda at: datetime.fromtimestamp(at, tz=UTC)),
)


@pytest.fixture
def app(use, visitor):
    use(portal_mail_rate_limit="100000 per minute")
    return visitor.app


@pytest.fixture
def invoice_id(person) -> UUID:
    return make_invoice(person.company_id)


def link_to(company_id: UUID, invoice_id: UUID | None = None) -> portal.Link:
    with transaction(company_id=company_id) as session:
        if invoice_id is None:
            return portal.company_link(session, company_id)
        return portal.invoice_link(session, session.get_one(Invoice, invoice_id))


@pytest.fixture
def enter(app):
    def begin(company_id: UUID, invoice_id: UUID | None = None) -> Guest:
        guest = Guest(app.test_client(), portal.token_of(link_to(company_id, invoice_id)))
        assert guest.begun.status_code == 201, guest.begun.text
        return guest

    return begin


def payments_of(company_id: UUID) -> list[Transaction]:
    with transaction(company_id=company_id) as session:
        return list(session.scalars(select(Transaction)))


@given(LINKS)
def test_a_link_says_what_was_signed_and_for_nothing_else(link):
    token = portal.token_of(link)
    assert portal.link_of(token) == link
    assert portal.visit_of(token) is None
    assert mail_of(token) is None
    visit = portal.Visit(new_id(), link, link.expires_at)
    assert portal.visit_of(portal.key_of(visit)) == visit
    assert portal.link_of(portal.key_of(visit)) is None
    assert portal.link_of(unsubscribing(link.company_id)) is None


@given(LINKS, st.data())
def test_no_changed_byte_of_a_link_is_believed(link, data):
    token = portal.token_of(link)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(ALPHABET).filter(lambda letter: letter != token[place]))
    for changed in (
        token[:place] + other + token[place + 1 :],
        token[:place] + other + token[place:],
        token[:place] + token[place + 1 :],
        token[:place],
        token + other,
    ):
        assert portal.link_of(changed) is None


def test_the_last_letter_of_a_signature_has_one_spelling():
    token = unsubscribing(new_id())
    assert [each for each in ALPHABET if mail_of(token[:-1] + each)] == [token[-1]]
    for nonsense in ("", ".", "ä.ö", "\ud800", "a" * 10_000, "\x00"):
        assert links.read("mail.unsubscribe", nonsense) is None


def test_a_links_token_is_handed_in_for_a_cookie_of_the_visits_own_path(enter, person, invoice_id):
    guest = enter(person.company_id, invoice_id)
    (text_,) = guest.begun.headers.getlist("Set-Cookie")
    value, *attributes = text_.split("; ")
    assert value.startswith("paybeat_visit=")
    assert {"HttpOnly", "SameSite=Strict", f"Path={guest.home}"} <= set(attributes)
    assert not any(each.startswith(("Domain", "Expires", "Max-Age")) for each in attributes)
    assert value.partition("=")[2] not in guest.begun.text
    assert guest.begun.headers["Cache-Control"] == "no-store"
    assert guest.get().json["invoice_id"] == str(invoice_id)
    assert guest.get().headers["Referrer-Policy"] == "no-referrer"


def test_over_tls_the_cookie_is_of_tls_alone(app, person):
    sent = {"token": portal.token_of(link_to(person.company_id))}
    answer = app.test_client().post(
        "/portal/visits", json=sent, headers=OWN, base_url="https://localhost"
    )
    assert answer.headers["Set-Cookie"].startswith("__Secure-paybeat_visit=")
    assert "Secure" in answer.headers["Set-Cookie"].split("; ")


def test_a_link_to_an_invoice_lets_in_to_nothing_else(enter, person, invoice_id):
    other = make_invoice(person.company_id)
    guest = enter(person.company_id, invoice_id)
    shown = guest.get(f"/invoices/{invoice_id}").json
    assert (shown["standing"], shown["amount_due"]) == ("payable", 100)
    assert guest.get(f"/invoices/{invoice_id}/pdf").data.startswith(b"%PDF-")
    before = checksums()
    for method, route in sorted(VISITS):
        path = route.removeprefix("/portal/visits/{visit_id}")
        if not path:
            continue
        ids = {"invoice_id": other, "note_id": other, "payment_id": other, "method_id": other}
        answer = guest.client.open(
            guest.home + path.format(**ids), method=method, json={}, headers=OWN
        )
        problem_of(answer, 404, "not-found")
    assert checksums() == before


def test_a_companys_link_lets_in_to_the_company_and_to_no_other(enter, person, invoice_id):
    guest = enter(person.company_id)
    kept = make_method(person)
    stranger = make_company()
    theirs = make_invoice(stranger.company_id)
    their_card = make_method(stranger)
    drafted_id = drafted(person)
    assert [each["id"] for each in guest.get("/invoices").json["data"]] == [str(invoice_id)]
    assert [each["id"] for each in guest.get("/payment-methods").json] == [str(kept)]
    before = checksums()
    for invoice in (theirs, drafted_id):
        problem_of(guest.get(f"/invoices/{invoice}"), 404, "not-found")
        problem_of(guest.post(f"/invoices/{invoice}/payments"), 404, "not-found")
    problem_of(guest.get(f"/invoices/{theirs}/pdf"), 404, "not-found")
    problem_of(guest.post(f"/payment-methods/{their_card}/default"), 404, "not-found")
    with_theirs = guest.post(
        f"/invoices/{invoice_id}/payments", {"payment_method_id": str(their_card)}
    )
    problem_of(with_theirs, 422, "invalid")
    assert checksums() == before


def test_what_is_not_ours_has_ended_or_was_revoked_lets_nobody_in(app, owner, person, invoice_id):
    client = app.test_client()
    link = link_to(person.company_id, invoice_id)
    token = portal.token_of(link)
    problem_of(Guest(client, token[:-1]).begun, 401, "unauthenticated")
    past = portal.Link(link.company_id, invoice_id, 0, clock.now() - timedelta(seconds=1))
    problem_of(Guest(client, portal.token_of(past)).begun, 410, "link-ended")
    guest = Guest(client, token)
    assert guest.get().status_code == 200
    revoked = owner.send("DELETE", f"/api/v1/companies/{person.company_id}/portal-link")
    assert revoked.json == {"company_id": str(person.company_id), "revoked": True}
    problem_of(guest.get(), 410, "link-ended")
    problem_of(Guest(client, token).begun, 410, "link-ended")
    assert Guest(client, portal.token_of(link_to(person.company_id, invoice_id))).get().status_code


def test_a_visit_ends_and_its_key_opens_no_other(enter, person, invoice_id, monkeypatch):
    guest, other = enter(person.company_id), enter(person.company_id, invoice_id)
    value = guest.client.get_cookie("paybeat_visit", path=guest.home).value
    other.client.set_cookie("paybeat_visit", value, path=other.home)
    problem_of(other.get(), 401, "unauthenticated")
    real = clock.now
    monkeypatch.setattr("web.auth.visits.now", lambda: real() + timedelta(hours=2))
    problem_of(guest.get(), 401, "unauthenticated")
    # Who was in may still have another link mailed.
    assert guest.post("/links").status_code == 202


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_page_begins_and_changes_nothing(app, enter, person, invoice_id, headers):
    guest = enter(person.company_id)
    token = portal.token_of(link_to(person.company_id))
    client = app.test_client()
    before = checksums()
    begun = client.post("/portal/visits", json={"token": token}, headers=headers)
    problem_of(begun, 403, "forbidden")
    paid = guest.post(f"/invoices/{invoice_id}/payments", headers=headers)
    problem_of(paid, 403, "forbidden")
    asked = client.post("/portal/links", json={"token": token}, headers=headers)
    problem_of(asked, 403, "forbidden")
    assert checksums() == before


def test_clicks_tabs_and_devices_begin_one_payment(enter, person, invoice_id):
    one, two = enter(person.company_id, invoice_id), enter(person.company_id, invoice_id)
    path = f"/invoices/{invoice_id}/payments"
    first = one.post(path, key="click")
    assert first.status_code == 202, first.text
    again = one.post(path, key="click")
    assert again.json["transaction_id"] == first.json["transaction_id"]
    problem_of(two.post(path, key="another"), 409, "conflict")
    [payment] = payments_of(person.company_id)
    assert (str(payment.amount), payment.user_id) == ("100.00", None)
    assert payment.details == {"return_url": f"{links.site()}/portal/"}
    assert one.get(f"/invoices/{invoice_id}").json["standing"] == "processing"


def test_a_link_to_an_invoice_charges_no_card_that_is_kept(enter, person, invoice_id):
    body = {"payment_method_id": str(make_method(person))}
    path = f"/invoices/{invoice_id}/payments"
    problem_of(enter(person.company_id, invoice_id).post(path, body), 403, "forbidden")
    assert payments_of(person.company_id) == []
    assert enter(person.company_id).post(path, body).status_code == 202


def test_a_link_to_an_invoice_neither_shows_a_kept_card_nor_hands_out_its_intent(
    enter, person, invoice_id
):
    payment_id = make_payment(
        person,
        invoice_id,
        status=Status.REQUIRES_ACTION,
        payment_method_id=make_method(person, brand="visa"),
        provider_transaction_id=f"pi_{invoice_id.hex}",
    )
    path = f"/invoices/{invoice_id}"
    linked, whole = enter(person.company_id, invoice_id), enter(person.company_id)
    problem_of(linked.post(f"{path}/payments"), 409, "conflict")
    assert whole.post(f"{path}/payments").json["transaction_id"] == str(payment_id)
    shown, known = linked.get(path).json, whole.get(path).json
    assert (shown["waiting"]["is_closed"], known["waiting"]["is_closed"]) == (True, False)
    assert shown["payments"][0]["method"] is None
    assert known["payments"][0]["method"] == {"brand": "visa", "last_four": "4242"}


def test_an_invoice_that_is_due_at_the_end_of_days_has_a_link(person, invoice_id):
    with transaction(company_id=person.company_id) as session:
        session.get_one(Invoice, invoice_id).due_on = date.max
    link = link_to(person.company_id, invoice_id)
    assert timedelta(days=3000) < link.expires_at - clock.now() < timedelta(days=4000)
    assert portal.link_of(portal.token_of(link)) == link


def test_a_visit_does_not_outlive_its_link(person):
    soon = clock.now().replace(microsecond=0) + timedelta(minutes=5)
    link = portal.Link(person.company_id, None, 0, soon)
    assert portal.begin_visit(link).ends_at == soon
    lasting = portal.Link(person.company_id, None, 0, soon + timedelta(days=1))
    assert portal.begin_visit(lasting).ends_at < lasting.expires_at


def test_who_asks_for_a_link_learns_nothing_of_whose_it_was(app, person, invoice_id):
    link = link_to(person.company_id, invoice_id)
    past = portal.Link(link.company_id, invoice_id, 0, clock.now() - timedelta(days=1))
    client = app.test_client()
    answers = {
        client.post("/portal/links", json={"token": token}, headers=OWN).data
        for token in (portal.token_of(past), portal.token_of(past), "no.such")
    }
    assert len(answers) == 1
    with transaction(company_id=person.company_id) as session:
        owed = session.scalars(select(Owed).where(Owed.company_id == person.company_id)).all()
    told = [each.arguments for each in owed if each.task == "notifications.notify"]
    assert {each["template"] for each in told} == {"payment_link"}
    # The same number: one letter.
    assert len({each["number"] for each in told}) == 1


def test_links_are_asked_for_as_often_as_the_limit_lets(use, visitor):
    use(portal_mail_rate_limit="2 per hour")
    client = visitor.app.test_client()
    answers = [
        client.post("/portal/links", json={"token": "no.such"}, headers=OWN).status_code
        for _ in range(3)
    ]
    assert answers == [202, 202, 429]


def test_a_link_is_made_by_the_api_and_kept_nowhere(owner, person, invoice_id):
    path = f"/api/v1/invoices/{invoice_id}/payment-link"
    made = owner.post(path, Idempotency_Key="one")
    assert made.status_code == 201, made.text
    url, _, token = made.json["url"].partition("#")
    assert url.endswith("/portal/")
    assert portal.link_of(token).invoice_id == invoice_id
    assert owner.post(path, Idempotency_Key="one").json == made.json
    with transaction(company_id=person.company_id) as session:
        lines = session.scalars(select(Timeline).where(Timeline.subject_id == invoice_id)).all()
        [line] = [each for each in lines if each.what == "link"]
        assert line.user_id == person.user_id
        [key] = session.scalars(select(IdempotencyKey)).all()
        assert key.answer is None
    company = owner.post(f"/api/v1/companies/{person.company_id}/portal-link").json
    link = portal.link_of(company["url"].partition("#")[2])
    assert (link.company_id, link.invoice_id) == (person.company_id, None)
    problem_of(owner.post(f"/api/v1/invoices/{drafted(person)}/payment-link"), 409, "conflict")


def test_the_page_reaches_only_whoever_takes_the_card(use, visitor):
    client = visitor.app.test_client()

    def policy() -> dict[str, str]:
        told = client.get("/portal/").headers["Content-Security-Policy"]
        return dict(each.split(" ", 1) for each in told.split("; "))

    use(stripe_api_base="http://127.0.0.1:12111")
    assert policy()["script-src"] == "'self' http://127.0.0.1:12111"
    assert policy()["frame-src"] == "http://127.0.0.1:12111"
    use(stripe_api_base="")
    assert client.get("/portal/config.json").json["card_script"] is None
    assert policy()["script-src"] == "'self'"
    assert policy()["frame-src"] == "'none'"
    use(stripe_publishable_key="pk_test_51abc")
    config = client.get("/portal/config.json").json
    assert config["card_script"] == "https://js.stripe.com/v3/"
    assert policy()["script-src"] == "'self' https://js.stripe.com https://*.js.stripe.com"
    assert policy()["connect-src"] == "'self' https://api.stripe.com"
    for rule, value in (
        ("require-trusted-types-for", "'script'"),
        ("default-src", "'none'"),
        ("frame-ancestors", "'none'"),
    ):
        assert policy()[rule] == value


def test_no_secret_of_a_link_is_in_any_row(enter, person, invoice_id):
    link = link_to(person.company_id, invoice_id)
    enter(person.company_id, invoice_id).post(f"/invoices/{invoice_id}/payments", key="one")
    signature = portal.token_of(link).partition(".")[2]
    with engine().connect() as connection:
        for table in ("outbox", "timeline", "idempotency_keys"):
            rows = connection.execute(text(f"SELECT * FROM {table}"))
            assert not any(signature in str(row) for row in rows)
