"""Payment methods in the workers' hands: kept, replaced, forgotten, renewed, about to end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import stripe
from sqlalchemy import select

from models import wallet
from models.clock import now
from models.ids import new_id
from models.methods import MethodStatus, MethodType, PaymentMethod, default_method
from models.notifications import Notification
from models.outbox import Owed, OwedStatus, enqueue
from models.timeline import Cause, history
from models.transactions import Status, Transaction
from models.webhooks import PaymentWebhook, WebhookStatus
from schedules import expiry
from tasks import customers, methods
from tests.bell import ring
from tests.factories import make_invoice, make_method, make_payment
from worker.database import transaction
from worker.gateways.base import MethodAnswer, Unavailable

TEST = Cause(why="a test")


@pytest.fixture
def provider(shop):
    """A stand-in whose book is empty, which this process's gateway speaks to."""
    return shop.sandbox


class Wallet:
    """One company's methods, and what is owed for them."""

    def __init__(self, customer) -> None:
        self.customer = customer
        self.company_id = customer.company_id

    def begin(self, token: str, *, replaces: UUID | None = None, **then: object) -> UUID:
        """Owe a new method, as a view does."""
        method_id = make_method(
            self.customer,
            token=token,
            status=MethodStatus.PENDING,
            is_active=False,
            provider_id=None,
            last_four=None,
        )
        with transaction(company_id=self.company_id) as session:
            method = session.get_one(PaymentMethod, method_id)
            method.provider_id = None
            method.replaces_id = replaces
            enqueue(session, "methods.attach", method_id=method_id, **then)
        return method_id

    def keep(self, token: str = "pm_card_visa", **then: object) -> UUID:
        method_id = self.begin(token, **then)
        self.work()
        assert self.row(method_id).status == MethodStatus.ACTIVE
        return method_id

    def owed(self, name: str = "") -> list[Owed]:
        with transaction() as session:
            query = select(Owed).where(Owed.company_id == self.company_id).order_by(Owed.id)
            return [owed for owed in session.scalars(query) if owed.task.startswith(name)]

    def work(self, name: str = "methods.") -> None:
        """Do what is owed under these names and due, and what comes of it."""
        done: set[UUID] = set()
        while new := [owed for owed in self.owed(name) if owed.id not in done]:
            for owed in new:
                done.add(owed.id)
                ring(owed.task, owed.id)

    def restarts(self) -> list[str]:
        """Return for which methods stopped invoices were to be tried again, and forget it."""
        found = self.owed("ladder.restart")
        with transaction() as session:
            for owed in found:
                session.delete(session.get_one(Owed, owed.id))
        return [owed.arguments["method_id"] for owed in found]

    def row(self, method_id: UUID) -> PaymentMethod:
        with transaction(company_id=self.company_id) as session:
            return session.get_one(PaymentMethod, method_id)

    def default(self) -> UUID | None:
        with transaction(company_id=self.company_id) as session:
            found = default_method(session)
            return found.id if found else None

    def told(self, method_id: UUID) -> list[str]:
        with transaction(company_id=self.company_id) as session:
            return [line.what for line in history(session, [method_id])]

    def remove(self, method_id: UUID) -> None:
        with transaction(company_id=self.company_id) as session:
            wallet.remove(session, session.get_one(PaymentMethod, method_id), because=TEST)

    def hear(self, event: dict) -> WebhookStatus:
        """Have an event of the stand-in's handled."""
        with transaction() as session:
            row = PaymentWebhook(
                event_type=event["type"],
                provider="stripe",
                provider_event_id=event["id"],
                payload=event,
            )
            session.add(row)
            session.flush()
            owed = enqueue(session, "webhooks.handle", event_id=row.id)
        ring("webhooks.handle", owed.id)
        with transaction() as session:
            return session.get_one(PaymentWebhook, row.id).status


@pytest.fixture
def ours(customer) -> Wallet:
    return Wallet(customer)


def kept_for(provider, provider_id: str) -> str | None:
    """Return whose a method is in the provider's book."""
    found = {each["id"]: each["customer"] for each in provider.control.book()["payment_methods"]}
    return found[provider_id]


def last_event(provider, kind: str) -> dict:
    return [each for each in provider.control.book()["events"] if each["type"] == kind][-1]


def test_the_first_method_is_the_default_and_what_was_given_up_is_tried_with_it(ours, provider):
    first = ours.keep()
    assert (ours.default(), ours.restarts()) == (first, [str(first)])
    second = ours.keep("pm_card_mastercard")
    assert (ours.default(), ours.restarts()) == (first, [])
    third = ours.keep("pm_card_amex", make_default=True)
    assert (ours.default(), ours.restarts()) == (third, [str(third)])
    assert ours.told(second) == ["attached"]
    assert ours.told(third) == ["attached", "default"]


def test_an_error_that_the_key_has_saved_keeps_no_card_out(ours, provider):
    ours.keep()
    provider.control.fault("server_error", path="/v1/payment_methods/*", executed=False)
    second = ours.keep("pm_card_mastercard")
    assert kept_for(provider, ours.row(second).provider_id)
    assert provider.control.faults() == []


def test_a_card_that_is_kept_though_the_answer_was_an_error_is_found(ours, provider):
    customer = kept_for(provider, ours.row(ours.keep()).provider_id)
    client = stripe.StripeClient("sk_test_sandbox", base_addresses={"api": provider.url})
    made = client.v1.payment_methods.create({"type": "card", "card": {"token": "tok_visa"}})
    provider.control.fault("server_error", path="/v1/payment_methods/*", executed=True)
    method_id = ours.keep(made.id)
    assert ours.row(method_id).provider_id == made.id
    attached = [
        each["id"]
        for each in provider.control.book()["payment_methods"]
        if each["customer"] == customer
    ]
    assert len(attached) == 2


def test_a_replaced_method_leaves_its_place_and_is_forgotten(ours, provider):
    old, other = ours.keep(), ours.keep("pm_card_mastercard")
    ours.restarts()
    new = ours.keep("pm_card_amex", replaces=old)
    row = ours.row(old)
    assert (row.status, row.is_active, row.is_default) == (MethodStatus.REMOVED, False, False)
    assert (row.replaced_by_id, row.removed_at is not None) == (new, True)
    assert (ours.default(), ours.restarts()) == (new, [str(new)])
    assert kept_for(provider, row.provider_id) is None
    assert kept_for(provider, ours.row(new).provider_id) is not None
    assert ours.told(old)[-2:] == ["replaced", "detached"]
    assert ours.row(other).is_active


def test_a_replacement_of_another_than_the_default_does_not_become_it(ours, provider):
    default, old = ours.keep(), ours.keep("pm_card_mastercard")
    new = ours.keep("pm_card_amex", replaces=old)
    assert ours.default() == default
    assert ours.restarts()[-1] == str(new)


def test_the_old_one_stays_until_the_new_one_is_kept(ours, provider):
    old = ours.keep()
    new = ours.begin("pm_card_chargeDeclinedLostCard", replaces=old)
    ours.work()
    assert ours.row(new).status == MethodStatus.FAILED
    row = ours.row(old)
    assert (row.status, row.is_default) == (MethodStatus.ACTIVE, True)
    assert kept_for(provider, row.provider_id) is not None


def test_between_new_and_old_the_debt_outlives_the_worker(ours, provider):
    old = ours.keep()
    ours.begin("pm_card_mastercard", replaces=old)
    ours.work("methods.attach")
    # Here the worker may die: the new one is kept, and the old one owed its end.
    row = ours.row(old)
    assert (row.status, kept_for(provider, row.provider_id) is not None) == ("removed", True)
    [owed] = ours.owed("methods.detach")
    ring("methods.detach", owed.id)
    ring("methods.detach", owed.id, redelivered=True)
    assert kept_for(provider, row.provider_id) is None
    assert ours.told(old).count("detached") == 1
    assert ours.owed("methods.") == []


def test_what_was_to_replace_a_method_that_was_removed_meanwhile_is_kept(ours, provider):
    old = ours.keep()
    new = ours.begin("pm_card_mastercard", replaces=old)
    ours.remove(old)
    ours.work()
    assert ours.row(old).replaced_by_id is None
    assert ours.row(new).is_active
    assert ours.default() == new


def test_a_replaced_method_is_forgotten_once_its_last_payment_has_ended(ours, provider):
    old = ours.keep("pm_usBankAccount_success")
    payment_id = make_payment(
        ours.customer,
        make_invoice(ours.company_id),
        payment_method_id=old,
        status=Status.PROCESSING,
    )
    ours.keep(replaces=old)
    [owed] = ours.owed("methods.detach")
    assert (owed.error, owed.failures) == ("a payment with it is under way", 0)
    assert kept_for(provider, ours.row(old).provider_id) is not None
    with transaction(company_id=ours.company_id) as session:
        session.get_one(Transaction, payment_id).status = Status.CANCELED
    ring("methods.detach", owed.id)
    assert kept_for(provider, ours.row(old).provider_id) is None


def test_a_method_that_is_gone_already_is_forgotten_without_a_fuss(ours, provider):
    method_id = ours.keep()
    provider.client().v1.payment_methods.detach(ours.row(method_id).provider_id)
    ours.remove(method_id)
    ours.work()
    assert ours.owed("methods.") == []
    assert ours.told(method_id)[-1] == "detached"


def test_while_the_provider_is_away_a_method_stays_owed_its_end(ours, provider):
    method_id = ours.keep()
    provider.control.fault("server_error", path="/v1/payment_methods/*/detach", executed=False)
    ours.remove(method_id)
    ours.work()
    [owed] = ours.owed("methods.detach")
    assert (owed.failures, owed.status) == (1, OwedStatus.OWED)
    # With the first key again, the provider would tell the same 500 for a day.
    ring("methods.detach", owed.id)
    assert kept_for(provider, ours.row(method_id).provider_id) is None


def test_the_newest_that_lasts_inherits_the_default(ours):
    year = now().year
    old = make_method(ours.customer, is_default=True, exp_month=12, exp_year=year + 1)
    lasting = make_method(ours.customer, exp_month=12, exp_year=year + 1)
    account = make_method(ours.customer, type=MethodType.BANK_ACCOUNT)
    expired = make_method(ours.customer, exp_month=1, exp_year=year - 1)
    for leaves, heir in ((old, account), (account, lasting), (lasting, expired), (expired, None)):
        ours.remove(leaves)
        assert ours.default() == heir


def test_a_method_is_of_the_type_that_the_provider_says(ours, provider):
    method_id = ours.keep("pm_usBankAccount_success")
    assert ours.row(method_id).type == MethodType.BANK_ACCOUNT
    with transaction(company_id=ours.company_id) as session:
        attached = history(session, [method_id])[0]
    assert attached.why == "the provider keeps it: it is a bank_account and no card"


@pytest.mark.parametrize("kind", ["link", "paypal"])
def test_a_type_that_is_not_taken_is_refused_and_given_back(ours, provider, monkeypatch, kind):
    class Link:
        forgotten: list[str] = []  # noqa: RUF012  of one test

        def create_customer(self, **_: object) -> str:
            return f"cus_{kind}"

        def attach_method(self, **_: object) -> MethodAnswer:
            return MethodAnswer(
                provider_id=f"pm_{new_id().hex}",
                type=kind,
                last_four=None,
                brand=None,
                exp_month=None,
                exp_year=None,
            )

        def detach_method(self, *, key: str, method: str) -> None:
            self.forgotten.append(method)

    for module in (methods, customers):
        monkeypatch.setattr(module, "gateway_for", lambda _: Link())
    method_id = ours.begin("pm_link")
    ours.work()
    row = ours.row(method_id)
    assert (row.status, row.error_code) == (MethodStatus.FAILED, "wrong_type")
    assert Link.forgotten == [row.provider_id]


def test_a_card_that_the_network_renewed_is_kept_as_it_is_now(ours, provider):
    method_id = ours.keep()
    ours.restarts()
    before = ours.row(method_id)
    provider.control.renew(before.provider_id, exp_year=2044, last4="1881")
    event = last_event(provider, "payment_method.automatically_updated")
    assert ours.hear(event) == WebhookStatus.COMPLETED
    ours.work()
    row = ours.row(method_id)
    assert (row.exp_year, row.last_four) == (2044, "1881")
    assert row.fingerprint != before.fingerprint
    assert ours.restarts() == [str(method_id)]
    with transaction(company_id=ours.company_id) as session:
        [line] = [line for line in history(session, [method_id]) if line.what == "updated"]
    assert line.detail == {
        "last_four": {"was": "4242", "became": "1881"},
        "exp_year": {"was": before.exp_year, "became": 2044},
    }


def test_an_old_event_does_not_bring_old_data_back(ours, provider):
    method_id = ours.keep()
    provider_id = ours.row(method_id).provider_id
    for year in (2043, 2044):
        provider.control.renew(provider_id, exp_year=year)
    events = [
        each
        for each in provider.control.book()["events"]
        if each["type"] == "payment_method.automatically_updated"
    ]
    ours.restarts()
    for event in reversed(events):
        ours.hear(event)
        ours.work()
        assert ours.row(method_id).exp_year == 2044
    assert ours.restarts() == [str(method_id)]
    assert ours.told(method_id).count("updated") == 1


def test_an_update_that_changes_no_card_restarts_nothing(ours, provider):
    method_id = ours.keep()
    ours.restarts()
    provider.client().v1.payment_methods.update(
        ours.row(method_id).provider_id, {"billing_details": {"name": "Another"}}
    )
    ours.hear(last_event(provider, "payment_method.updated"))
    ours.work()
    assert (ours.restarts(), ours.told(method_id)[-1]) == ([], "event")


def test_a_method_that_was_let_go_at_the_provider_is_removed_here(ours, provider):
    old, heir = ours.keep(), ours.keep("pm_card_mastercard")
    provider.client().v1.payment_methods.detach(ours.row(old).provider_id)
    ours.hear(last_event(provider, "payment_method.detached"))
    ours.work()
    assert (ours.row(old).status, ours.default()) == (MethodStatus.REMOVED, heir)
    # Its own detachment, heard of, is no news.
    ours.remove(heir)
    ours.work()
    assert ours.hear(last_event(provider, "payment_method.detached")) == WebhookStatus.COMPLETED
    assert ours.owed("methods.") == []


def test_an_event_of_a_method_that_is_not_ours_is_ignored(ours, provider):
    theirs = provider.client().v1.payment_methods.create(
        {"type": "card", "card": {"token": "tok_visa"}}
    )
    provider.control.renew(theirs.id, exp_year=2044)
    event = last_event(provider, "payment_method.automatically_updated")
    assert ours.hear(event) == WebhookStatus.IGNORED


def notices(ours: Wallet) -> list[tuple[str, UUID, int]]:
    ours.work("notifications.")
    with transaction(company_id=ours.company_id) as session:
        rows = session.scalars(select(Notification).order_by(Notification.id))
        return [(row.template, row.subject_id, row.number) for row in rows]


def test_the_holder_of_a_card_that_ends_soon_is_told_once(ours):
    year, month = expiry.told_by(now())
    later = expiry.end_of(year, month)
    ends = make_method(ours.customer, exp_year=year, exp_month=month)
    make_method(ours.customer, exp_year=later.year, exp_month=later.month)
    make_method(ours.customer, type=MethodType.BANK_ACCOUNT)
    make_method(
        ours.customer, exp_year=year, exp_month=month, is_active=False, status=MethodStatus.REMOVED
    )
    methods.watch_expiry()
    methods.watch_expiry()
    told = "card_expired" if (year, month) <= expiry.ended_by(now()) else "card_expiring"
    assert notices(ours) == [(told, ends, year * 100 + month)]
    methods.watch_expiry()
    assert ours.owed("notifications.") == []


def test_an_expired_card_is_told_of_and_a_renewed_one_anew(ours):
    year, month = expiry.ended_by(now())
    card = make_method(ours.customer, exp_year=year, exp_month=month)
    assert ours.row(card).has_expired(now())
    methods.watch_expiry()
    assert notices(ours) == [("card_expired", card, year * 100 + month)]
    with transaction(company_id=ours.company_id) as session:
        session.get_one(PaymentMethod, card).exp_year = year - 1
    methods.watch_expiry()
    assert notices(ours)[1:] == [("card_expired", card, (year - 1) * 100 + month)]


def test_more_cards_than_one_batch_are_all_told_of(ours, monkeypatch):
    monkeypatch.setattr(methods, "BATCH", 2)
    year, month = expiry.ended_by(now())
    cards = [make_method(ours.customer, exp_year=year, exp_month=month) for _ in range(5)]
    methods.watch_expiry()
    assert sorted(card for _, card, _ in notices(ours)) == cards


@pytest.mark.parametrize(
    ("year", "month", "end", "notice"),
    [
        (2026, 12, datetime(2027, 1, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        (2027, 2, datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 1, 29, tzinfo=UTC)),
        (2028, 2, datetime(2028, 3, 1, tzinfo=UTC), datetime(2028, 1, 30, tzinfo=UTC)),
        (2027, 4, datetime(2027, 5, 1, tzinfo=UTC), datetime(2027, 3, 31, tzinfo=UTC)),
    ],
)
def test_a_card_is_good_to_the_end_of_its_month_and_told_of_30_days_before(
    year, month, end, notice
):
    moment = timedelta(microseconds=1)
    assert (expiry.end_of(year, month), expiry.notice_at(year, month)) == (end, notice)
    assert expiry.ended_by(end - moment) < (year, month) <= expiry.ended_by(end)
    assert expiry.told_by(notice - moment) < (year, month) <= expiry.told_by(notice)
    card = PaymentMethod(exp_year=year, exp_month=month)
    assert [card.has_expired(end - moment), card.has_expired(end)] == [False, True]


def test_a_method_whose_provider_stays_away_is_refused_and_says_so(ours, monkeypatch):
    class Away:
        def create_customer(self, **_: object) -> str:
            raise Unavailable(message="no route")

    # Not by faults of the stand-in: they would open the breaker.
    monkeypatch.setattr(customers, "gateway_for", lambda _: Away())
    method_id = ours.begin("pm_card_visa")
    [owed] = ours.owed("methods.")
    for _ in range(5):
        ring(owed.task, owed.id)
    row = ours.row(method_id)
    assert (row.status, row.error_code, row.token) == (MethodStatus.FAILED, "unavailable", None)
    assert ours.told(method_id) == ["refused"]
    assert ours.owed("methods.")[0].status == OwedStatus.DEAD
