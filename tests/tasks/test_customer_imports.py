"""Customers and their methods from Stripe: each once, whatever happens in between."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from models import clock
from models.base import across_companies
from models.ids import new_id
from models.methods import PaymentMethod, ProviderCustomer
from models.tenants import Company
from tasks import imports as importing
from tests.bell import ring
from tests.factories import make_company
from tests.tasks.dunning_shop import opened
from tests.tasks.import_desk import Desk
from worker import breaker
from worker.database import transaction
from worker.gateways import gateway_for
from worker.gateways.base import Unavailable
from worker.gateways.stripe import client

EMAIL = "books-{}@example.com"


class Killed(BaseException):
    """The process is gone: nothing after this line is run."""


@pytest.fixture
def stripe(database, sandbox, monkeypatch):
    with opened(sandbox, monkeypatch):
        yield sandbox.client().v1


@pytest.fixture
def desk(stripe):
    return Desk()


def add(stripe, number: int, *cards: str, **more) -> str:
    customer = stripe.customers.create(
        {"name": f"Firm {number}", "email": EMAIL.format(number), **more}
    )
    for card in cards:
        stripe.payment_methods.attach(card, {"customer": customer.id})
    return customer.id


def companies(desk: Desk) -> dict[str, Company]:
    """The tenant's companies by their customer at Stripe."""
    with transaction() as session:
        rows = session.execute(
            across_companies(
                select(ProviderCustomer.provider_id, Company)
                .join(Company, Company.id == ProviderCustomer.company_id)
                .where(Company.tenant_id == desk.customer.tenant_id),
                because="a test looks",
            )
        )
        return dict(map(tuple, rows))


def methods(company: Company) -> list[PaymentMethod]:
    with transaction(company_id=company.id) as session:
        return list(session.scalars(select(PaymentMethod).order_by(PaymentMethod.id)))


def test_a_customer_becomes_a_company_with_its_methods(stripe, desk, sandbox):
    address = {"line1": "1 Road", "city": "Ulm", "country": "DE"}
    customer = add(
        stripe,
        1,
        "pm_card_visa",
        "pm_card_mastercard",
        address=address,
        preferred_locales=["de-DE"],
        tax_id_data=[{"type": "eu_vat", "value": "DE123456789"}],
    )
    visa = stripe.customers.payment_methods.list(customer).data[-1].id
    stripe.customers.update(customer, {"invoice_settings": {"default_payment_method": visa}})
    before = len(sandbox.control.book()["events"])
    done = desk.import_customers()
    assert (done.status, done.seen, done.made, done.methods_made) == ("done", 1, 1, 2)
    company = companies(desk)[customer]
    assert (company.name, company.email) == ("Firm 1", EMAIL.format(1))
    assert (company.address, company.language) == (address, "de")
    assert company.tax_id == "DE123456789"
    kept = methods(company)
    assert {(each.brand, each.last_four) for each in kept} == {
        ("visa", "4242"),
        ("mastercard", "4444"),
    }
    assert [each.provider_id for each in kept if each.is_default] == [visa]
    # Nothing was made or changed there: each of that would have been an event.
    assert len(sandbox.control.book()["events"]) == before


def test_again_it_changes_only_what_changed_there(stripe, desk):
    customer = add(stripe, 1, "pm_card_visa")
    desk.import_customers()
    again = desk.import_customers()
    assert (again.seen, again.skipped, again.made, again.updated) == (1, 1, 0, 0)
    with transaction() as session:
        session.get_one(Company, companies(desk)[customer].id).email = "ours@example.com"
    stripe.customers.update(customer, {"name": "Firm One"})
    stripe.payment_methods.attach("pm_card_mastercard", {"customer": customer})
    changed = desk.import_customers()
    assert (changed.updated, changed.methods_made) == (1, 1)
    company = companies(desk)[customer]
    assert (company.name, company.email) == ("Firm One", "ours@example.com")
    assert len(methods(company)) == 2


def test_a_customer_that_names_a_company_is_that_company_if_it_is_the_tenants(stripe, desk):
    ours, theirs = desk.customer.company_id, make_company().company_id
    linked = add(stripe, 1, metadata={"company_id": str(ours)})
    foreign = add(stripe, 2, metadata={"company_id": str(theirs)})
    unknown = add(stripe, 3, metadata={"company_id": str(new_id())})
    nameless = stripe.customers.create({"name": "No address"}).id
    done = desk.import_customers()
    assert (done.seen, done.refused, done.made) == (4, 3, 0)
    assert list(companies(desk)) == [linked]
    assert companies(desk)[linked].id == ours
    # What was here before is kept; only what it lacked would be filled in.
    assert companies(desk)[linked].name == "A company"
    told = {(each.subject, each.field) for each in desk.refusals(done.id)}
    assert told == {(foreign, "company_id"), (unknown, "company_id"), (nameless, "email")}


def test_a_customer_of_another_tenants_stays_theirs(stripe, desk):
    customer = add(stripe, 1, "pm_card_visa")
    Desk().import_customers()
    done = desk.import_customers()
    assert (done.refused, done.made) == (1, 0)
    [refusal] = desk.refusals(done.id)
    assert (refusal.subject, refusal.value) == (customer, "")
    assert companies(desk) == {}


def test_a_dry_run_changes_nothing_and_tells_what_would_be(stripe, desk):
    for number in range(3):
        add(stripe, number, "pm_card_visa")
    stripe.customers.create({"name": "No address"})
    before = desk.rows()
    tried = desk.import_customers(is_dry_run=True)
    assert desk.rows() == before
    done = desk.import_customers()
    for name in ("seen", "made", "refused", "methods_made"):
        assert getattr(tried, name) == getattr(done, name), name
    assert (done.made, done.refused) == (3, 1)


@pytest.mark.parametrize("point", ["imports.asked", "imports.kept", "imports.turned"])
def test_killed_at_any_point_it_goes_on_and_makes_no_twin(stripe, desk, monkeypatch, point):
    monkeypatch.setattr(client, "PAGE", 2)
    wanted = [add(stripe, number, "pm_card_visa") for number in range(3)]
    import_id = desk.begin("stripe_customers")
    kills = 0

    def die(name: str) -> None:
        nonlocal kills
        if name == point and kills < 2:
            kills += 1
            raise Killed

    monkeypatch.setattr(importing.crash, "point", die)
    for _ in range(12):
        if not (due := desk.owed(import_id)):
            break
        # What its dead worker held comes back once the lease has run out.
        ahead = clock._offset() + timedelta(minutes=3)
        clock.advance_by(lambda ahead=ahead: ahead)
        try:
            ring(due[0].task, due[0].id)
        except Killed:
            continue
    assert kills == 2
    done = desk.found(import_id)
    assert (done.status, done.seen, done.made, done.methods_made) == ("done", 3, 3, 3)
    assert set(companies(desk)) == set(wanted)


def test_it_waits_as_long_as_the_provider_wishes_and_then_goes_on(stripe, desk, sandbox):
    add(stripe, 1)
    sandbox.control.fault("rate_limit", method="GET", path="/v1/customers", count=3)
    import_id = desk.begin("stripe_customers")
    [owed] = desk.owed(import_id)
    ring(owed.task, owed.id)
    waiting = desk.found(import_id)
    assert waiting.status == "running"
    assert waiting.waiting_until > clock.now()
    assert "rate_limit" in waiting.waiting_for
    ahead = clock._offset() + timedelta(minutes=3)
    clock.advance_by(lambda: ahead)
    desk.work(import_id)
    done = desk.found(import_id)
    assert (done.status, done.made, done.waiting_for) == ("done", 1, None)


class Asking:
    """A provider that asks to be left alone."""

    def list_customers(self, *, after):
        raise Unavailable(message="slow down", code="rate_limit", retry_after_s=1234)

    def list_methods(self, *, customer):
        return []


def test_a_retry_after_is_kept_to(stripe, desk, monkeypatch):
    import_id = desk.begin("stripe_customers")
    monkeypatch.setattr(importing, "gateway_for", lambda _: Asking())
    [owed] = desk.owed(import_id)
    ring(owed.task, owed.id)
    [put_off] = desk.owed(import_id)
    waiting = desk.found(import_id)
    assert put_off.due_at == waiting.waiting_until
    assert waiting.waiting_until > clock.now() + timedelta(seconds=1000)


def test_while_the_breaker_is_open_nothing_is_asked(stripe, desk, monkeypatch):
    import_id = desk.begin("stripe_customers")
    monkeypatch.setattr(breaker.ProviderBreaker, "wait_s", lambda *_: 30.0)
    [owed] = desk.owed(import_id)
    ring(owed.task, owed.id)
    waiting = desk.found(import_id)
    assert (waiting.status, waiting.pages) == ("running", 0)
    assert waiting.waiting_until > clock.now()


def test_a_place_that_is_gone_is_begun_anew(stripe, desk):
    wanted = {add(stripe, number) for number in range(2)}
    import_id = desk.begin("stripe_customers")
    with transaction() as session:
        importing.imports.lock(session, import_id).cursor = "cus_gone"
    desk.work(import_id)
    done = desk.found(import_id)
    assert (done.status, done.seen) == ("done", 2)
    assert set(companies(desk)) == wanted


def test_the_list_ends_where_stripe_says_and_leaves_out_who_was_deleted(stripe, monkeypatch):
    monkeypatch.setattr(client, "PAGE", 2)
    listed = [add(stripe, number) for number in range(4)]
    stripe.customers.delete(listed.pop(1))
    gateway = gateway_for("stripe")
    first = gateway.list_customers(after=None)
    assert [each.provider_id for each in first.customers] == listed[:0:-1]
    second = gateway.list_customers(after=first.next_after)
    assert [each.provider_id for each in second.customers] == listed[:1]
    assert second.next_after is None
