"""Every list of the API, also one within an answer, and how more of it is made: a recipe a route.

A new list needs one here; a test tells which is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from models.alerts import Alert
from models.breaks import ReconciliationBreak
from models.clock import now
from models.credit_notes import CreditNote
from models.deliveries import EndpointAttempt, EndpointDelivery, EndpointMessage
from models.disputes import Dispute
from models.endpoints import Endpoint
from models.fx import OPEN_EXCHANGE_RATES, FxFetch, FxRate
from models.ids import new_id
from models.imports import Import, ImportRefusal
from models.invoices import Invoice, InvoiceLine, InvoiceStatus
from models.mail import Mail, MailSuppression
from models.methods import MethodStatus, PaymentMethod
from models.modules import CompanyModule, Module
from models.money import CURRENCIES
from models.operations import OperatorAct
from models.outbox import Owed, OwedStatus
from models.payouts import Payout
from models.plans import Plan, PlanPrice
from models.reconciliations import ReconciliationRun
from models.refunds import Refund
from models.reports import AnalyticsReport, ReportSchedule
from models.subscriptions import Subscription, SubscriptionItem
from models.tenants import Company, User
from models.timeline import Timeline
from models.transactions import AttemptStatus, PaymentAttempt, Provider, Status, Transaction
from models.usage import UsageTotal
from models.webhooks import PaymentWebhook
from tests.factories import Customer
from tests.rows import add
from worker.channels import channels
from worker.database import transaction
from worker.presence import Held, Presence


@dataclass
class Book:
    """One company, of a tenant of its own; what it has is found by its path's names."""

    company: Customer
    ids: dict[str, UUID] = field(default_factory=dict)
    taken: int = 10

    def add(self, kind: Any, **columns: Any) -> UUID:
        """Add a row: of the company or tenant, where the table says of whose it is."""
        own = {"company_id": self.company.company_id, "tenant_id": self.company.tenant_id}
        named = {name: value for name, value in own.items() if name in kind.__table__.c}
        with transaction(company_id=self.company.company_id) as session:
            return add(session, kind, **{**named, **columns})

    def one(self, name: str, make: Callable[[], UUID]) -> UUID:
        """Return the row of that name, made when it is first asked for."""
        if name not in self.ids:
            self.ids[name] = make()
        return self.ids[name]

    def next(self) -> int:
        """Return a number that is not taken yet."""
        self.taken += 1
        return self.taken

    def invoice(self) -> UUID:
        invoice_id = self.add(Invoice, number=new_id().hex, status=InvoiceStatus.OPEN)
        for position in (1, 2):
            self.add(InvoiceLine, invoice_id=invoice_id, position=position)
        return invoice_id

    def payment(self, **columns: Any) -> UUID:
        return self.add(
            Transaction,
            invoice_id=self.invoice(),
            **{"payment_method": Provider.STRIPE, "status": Status.FAILED, **columns},
        )

    def module(self) -> UUID:
        module_id = self.add(Module, code=new_id().hex)
        self.add(CompanyModule, module_id=module_id, subscribed_at=now())
        return module_id

    def plan(self) -> UUID:
        plan_id = self.add(Plan, code=new_id().hex)
        for _ in range(2):
            self.add(PlanPrice, plan_id=plan_id, module_id=self.module())
        return plan_id

    def endpoint(self) -> UUID:
        return self.add(Endpoint, url="https://example.com/", events=[])


def companies(book: Book) -> None:
    """A company as the tenant has another, with a bill."""
    company_id = book.add(Company, email="billing@example.com")
    with transaction(company_id=company_id) as session:
        for currency in ("INR", "EUR"):
            add(
                session,
                Invoice,
                company_id=company_id,
                number=new_id().hex,
                status=InvoiceStatus.PAID,
                currency=currency,
            )


def delivery(book: Book) -> None:
    endpoint_id = book.one("endpoint_id", book.endpoint)
    book.add(EndpointDelivery, endpoint_id=endpoint_id, message_id=book.add(EndpointMessage))


def timeline(book: Book) -> None:
    payment_id = book.one("transaction_id", book.payment)
    book.add(Timeline, subject="transaction", subject_id=payment_id, what="move", why="a test")


def refund(book: Book) -> None:
    book.add(Refund, transaction_id=book.one("transaction_id", book.payment))


def review(book: Book) -> None:
    book.payment(status=Status.NEEDS_REVIEW)
    paid = book.payment(status=Status.SUCCEEDED)
    book.add(Refund, transaction_id=paid, review_since=now())


def subscription(book: Book) -> None:
    subscription_id = book.add(Subscription, plan_id=book.plan(), time_zone="UTC")
    for position in (1, 2):
        book.add(
            SubscriptionItem,
            subscription_id=subscription_id,
            module_id=book.module(),
            position=position,
        )


def line(book: Book) -> None:
    book.add(
        InvoiceLine,
        invoice_id=book.one("invoice_id", book.invoice),
        position=book.next(),
        module_id=book.module(),
    )


def attempt(book: Book) -> None:
    """Each with a card of its own."""
    payment_id = book.one("transaction_id", book.payment)
    with transaction(company_id=book.company.company_id) as session:
        book.ids["invoice_id"] = session.get_one(Transaction, payment_id).invoice_id
    book.add(
        PaymentAttempt,
        transaction_id=payment_id,
        number=book.next(),
        provider=Provider.STRIPE,
        status=AttemptStatus.DECLINED,
        payment_method_id=method(book),
        request={"amount": "1.00"},
    )


def delivery_of_message(book: Book) -> None:
    message_id = book.one("message_id", lambda: book.add(EndpointMessage))
    book.add(EndpointDelivery, endpoint_id=book.endpoint(), message_id=message_id)


def attempt_of_delivery(book: Book) -> None:
    def make() -> UUID:
        message_id = book.add(EndpointMessage)
        return book.add(EndpointDelivery, endpoint_id=book.endpoint(), message_id=message_id)

    delivery_id = book.one("delivery_id", make)
    book.add(EndpointAttempt, delivery_id=delivery_id, number=book.next())


def step_of_mail(book: Book) -> None:
    mail_id = book.one("mail_id", lambda: book.add(Mail))
    book.add(Timeline, subject="mail", subject_id=mail_id, what="move", why="a test")


def used_period(book: Book) -> None:
    module_id, months = book.one("module_id", book.module), timedelta(days=31 * book.next())
    begun = now() - months - timedelta(days=31)
    end = begun + timedelta(days=30)
    book.add(UsageTotal, module_id=module_id, period_start=begun, period_end=end)


def item(book: Book) -> None:
    def make() -> UUID:
        return book.add(Subscription, plan_id=book.plan(), time_zone="UTC")

    book.add(
        SubscriptionItem,
        subscription_id=book.one("subscription_id", make),
        module_id=book.module(),
        position=book.next(),
    )


def price(book: Book) -> None:
    book.add(PlanPrice, plan_id=book.one("plan_id", book.plan), module_id=book.module())


def refusal(book: Book) -> None:
    book.add(ImportRefusal, import_id=book.one("import_id", lambda: book.add(Import)))


def act_on(name: str, kind: Any, **columns: Any) -> Callable[[Book], object]:
    def make(book: Book) -> None:
        subject_id = book.one(name, lambda: book.add(kind, **columns))
        book.add(OperatorAct, subject_id=subject_id, company_id=None)

    return make


def rate(book: Book) -> None:
    told = book.ids.setdefault("told", new_id())
    place = sum(name.startswith("rate ") for name in book.ids)
    book.ids[f"rate {place}"] = told
    currency = sorted(CURRENCIES - {"USD"})[place]
    with transaction() as session:
        own = {"source": OPEN_EXCHANGE_RATES, "base": "USD", "currency": currency}
        add(session, FxRate, as_of=now(), **own)


def online(book: Book) -> None:
    user_id = book.add(User, email=f"{new_id()}@example.com", role="member")
    held = Held(str(book.company.company_id), user_id, now().isoformat())
    Presence(channels(), new_id().hex).hold([held])


def method(book: Book) -> UUID:
    return book.add(
        PaymentMethod,
        user_id=book.company.user_id,
        status=MethodStatus.ACTIVE,
        is_active=True,
        provider_id=f"pm_{new_id().hex}",
    )


@dataclass(frozen=True)
class List:
    """How one more of what a list shows is made, and for whom it is asked for."""

    make: Callable[[Book], object]
    # By an operator for all of the tenant's companies, rather than for one.
    is_whole: bool = False
    each: int = 1


def rows_of(kind: Any, **columns: Any) -> Callable[[Book], object]:
    return lambda book: book.add(kind, **columns)


LISTS: dict[str, List] = {
    "/api/v1/alerts": List(rows_of(Alert)),
    "/api/v1/companies": List(companies, is_whole=True),
    "/api/v1/companies/summary": List(companies, is_whole=True, each=2),
    "/api/v1/credit-notes": List(
        lambda book: book.add(CreditNote, invoice_id=book.invoice(), lines=[])
    ),
    "/api/v1/disputes": List(lambda book: book.add(Dispute, transaction_id=book.payment())),
    "/api/v1/endpoints": List(Book.endpoint),
    "/api/v1/endpoints/messages": List(rows_of(EndpointMessage)),
    "/api/v1/endpoints/{endpoint_id}/deliveries": List(delivery),
    "/api/v1/fx/fetches": List(rows_of(FxFetch, source=OPEN_EXCHANGE_RATES), is_whole=True),
    "/api/v1/fx/rates": List(rate),
    "/api/v1/imports": List(rows_of(Import), is_whole=True),
    "/api/v1/imports/{import_id}/refusals": List(refusal, is_whole=True),
    "/api/v1/invoices": List(Book.invoice),
    "/api/v1/payouts": List(
        rows_of(Payout, provider=Provider.STRIPE, parts=None, is_balanced=None), is_whole=True
    ),
    "/api/v1/breaks": List(rows_of(ReconciliationBreak, provider=Provider.STRIPE), is_whole=True),
    "/api/v1/reconciliations": List(
        rows_of(ReconciliationRun, provider=Provider.STRIPE, running_key=None), is_whole=True
    ),
    "/api/v1/mails": List(rows_of(Mail)),
    "/api/v1/modules": List(Book.module),
    "/api/v1/operations/alerts": List(rows_of(Alert), is_whole=True),
    "/api/v1/operations/dead-letters": List(rows_of(Owed, status=OwedStatus.DEAD), is_whole=True),
    "/api/v1/operations/events": List(rows_of(PaymentWebhook), is_whole=True),
    "/api/v1/operations/mail-suppressions": List(rows_of(MailSuppression), is_whole=True),
    "/api/v1/operations/mails": List(rows_of(Mail), is_whole=True),
    "/api/v1/operations/reviews": List(review, is_whole=True, each=2),
    "/api/v1/payment-methods": List(method),
    "/api/v1/payments": List(Book.payment),
    "/api/v1/payments/{transaction_id}/refunds": List(refund),
    "/api/v1/payments/{transaction_id}/timeline": List(timeline),
    "/api/v1/plans": List(Book.plan),
    "/api/v1/presence": List(online),
    "/api/v1/report-schedules": List(rows_of(ReportSchedule)),
    "/api/v1/reports": List(rows_of(AnalyticsReport)),
    "/api/v1/subscriptions": List(subscription),
    # Lists within an answer.
    "/api/v1/endpoints/deliveries/{delivery_id}": List(attempt_of_delivery),
    "/api/v1/endpoints/messages/{message_id}": List(delivery_of_message),
    "/api/v1/invoices/{invoice_id}": List(line),
    "/api/v1/invoices/{invoice_id}/dunning": List(attempt),
    "/api/v1/mails/{mail_id}": List(step_of_mail),
    "/api/v1/modules/{module_id}/usage": List(used_period),
    "/api/v1/operations/dead-letters/{dead_letter_id}": List(
        act_on("dead_letter_id", Owed, status=OwedStatus.DEAD), is_whole=True
    ),
    "/api/v1/operations/events/{event_id}": List(act_on("event_id", PaymentWebhook), is_whole=True),
    "/api/v1/plans/{plan_id}": List(price),
    "/api/v1/subscriptions/{subscription_id}": List(item),
}
# Lists that are as long as the code says, whatever there is.
FIXED = {
    "/api/v1/mail/templates": "a line a template",
    "/api/v1/operations/invariants": "a line a sentence",
    "/api/v1/operations/queues": "a line a queue",
    "/api/v1/payouts/{payout_id}": "its parts are of its own row",
    "/api/v1/credit-notes/{credit_note_id}": "its lines are of its own row",
    "/api/v1/metrics": "a line a metric",
    "/api/v1/metrics/series": "its points and its lines are summed up by a few statements",
    "/api/v1/overview": "a line a currency, and the soonest five retries",
    "/api/v1/subscriptions/{subscription_id}/upcoming": "once for each module of its plan",
    "/api/v1/auth/me": "the permissions of a role",
    "/api/v1/disputes/{dispute_id}": "what may be done about it",
}
