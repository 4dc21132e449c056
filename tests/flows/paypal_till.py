"""A company that pays through PayPal, in this process: the application, the tasks, the stand-in.

Tasks run when `work` is called, events arrive when `deliver` is, so a test decides the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import or_, select

from models import clock, invariants
from models.base import across_companies
from models.clock import now
from models.invariants import Violation
from models.invoices import Invoice
from models.methods import PaymentMethod
from models.outbox import Owed, OwedStatus
from models.timeline import history
from models.transactions import PaymentAttempt, Transaction
from models.webhooks import PaymentWebhook
from tests.bell import ring
from tests.factories import Customer, make_invoice, make_method
from tests.sandbox.webhook_catcher import Catcher, catching
from tests.sandbox_fixture import PayPalProcess
from tests.web.visitor import Visitor
from worker.app import app as celery_app
from worker.database import transaction
from worker.gateways import gateway_for
from worker.gateways.base import Gateway
from worker.gateways.paypal import certificates
from worker.gateways.paypal.translate import customer_id_of, metadata_of
from worker.settings import settings

WEBHOOKS = "/api/v1/webhooks/paypal"
INTENTS = "/api/v1/payments/create-intent"
NOBODY = "whose it is is found out by handling it"


def forget_settings() -> None:
    """Have this process read its settings anew, and make its gateways from them."""
    for cached in (settings, gateway_for, certificates.certificates, certificates.roots):
        cached.cache_clear()


def environ_of(paypal: PayPalProcess) -> dict[str, str]:
    """What a process must find in its environment to speak to the stand-in."""
    return {
        "PAYPAL_API_BASE": paypal.url,
        "PAYPAL_WEBHOOK_ID": paypal.webhook_id,
        "PAYPAL_TRUST_STORE": str(paypal.folder / "root.pem"),
        # Nothing here times out on purpose, and a busy machine may take long.
        "PAYPAL_TIMEOUT_S": "20",
        "PAYPAL_RETURN_URL": "https://shop.example/paid",
        "RATE_LIMIT": "100000 per minute",
        "LOGIN_RATE_LIMIT": "100000 per minute",
    }


class Till:
    def __init__(
        self, paypal: PayPalProcess, owner: Visitor, customer: Customer, catcher: Catcher
    ) -> None:
        self.paypal = paypal
        self.book = paypal.control
        self.owner = owner
        self.company_id = customer.company_id
        self.customer = customer
        self._catcher = catcher
        self._delivered = 0
        celery_app.loader.import_default_modules()

    def bill(self, amount: str = "100.00", currency: str = "EUR") -> UUID:
        return make_invoice(self.company_id, amount, currency)

    def keep(self, payer: str = "payer") -> UUID:
        """A payer's wallet that is in PayPal's vault already; the name says how it pays."""
        customer = customer_id_of(self.company_id)
        token = self.book.keep_token(payer=f"{payer}@example.com", customer=customer)
        self.deliver()
        return make_method(
            self.customer, token["id"], type="paypal", provider="paypal", last_four=None
        )

    def ask(self, invoice_id: UUID, amount: str = "100.00", **more: Any) -> dict[str, Any]:
        """Begin a payment without waiting for it; return what was answered."""
        body = {"invoice_id": str(invoice_id), "amount": amount, **more}
        answer = self.owner.post(INTENTS, body, Prefer="respond-async")
        assert answer.status_code == 202, answer.text
        return answer.json

    def pay(self, amount: str = "100.00", currency: str = "EUR", **more: Any) -> Transaction:
        """Begin a payment of a new invoice and do what is owed for it."""
        if "payment_method_id" not in more:
            more = {"provider": "paypal", **more}
        told = self.ask(self.bill(amount, currency), amount, **more)
        self.work()
        return self.payment(told["transaction_id"])

    @property
    def gateway(self) -> Gateway:
        """The gateway of this process."""
        return gateway_for("paypal")

    def owed(self, *tasks: str) -> list[Owed]:
        """What is owed for this company, and the events that are nobody's yet; oldest first."""
        nobodys = Owed.task.in_(["webhooks.verify", "webhooks.handle"])
        query = select(Owed).where(
            or_(Owed.company_id == self.company_id, nobodys), Owed.status == OwedStatus.OWED
        )
        if tasks:
            query = query.where(Owed.task.in_(tasks))
        with transaction() as session:
            found = session.scalars(across_companies(query.order_by(Owed.id), because=NOBODY))
            return list(found)

    def work(self, *tasks: str, later: bool = False) -> list[str]:
        """Run what is owed and may run now; return what was run.

        Args:
            later: also what waits for its time, once each: what that owes anew is left.
        """
        done: list[str] = []
        seen: set[UUID] = set()
        while due := [
            owed
            for owed in self.owed(*tasks)
            if owed.id not in seen and (_is_ready(owed) or (later and not done))
        ]:
            for owed in due:
                seen.add(owed.id)
                ring(owed.task, owed.id)
            done += [owed.task for owed in due]
        return done

    def approve(self, payment: Transaction, payer: str | None = None) -> str:
        """The payer approves at PayPal's page; return where the browser goes next."""
        assert payment.provider_transaction_id is not None
        told = self.book.approve(payment.provider_transaction_id, payer=payer)
        return str(told.get("next") or "")

    def sent(self) -> list[dict[str, Any]]:
        """What the stand-in has sent and nobody has handed over yet."""
        self.book.wait_quiet()
        return self._catcher.events[self._delivered :]

    def deliver(self) -> list[str]:
        """Hand over what the stand-in has sent since; return the types."""
        new = self.sent()
        self._delivered += len(new)
        for event in new:
            answer = self.post(event["body"], event["headers"])
            assert answer.status_code == 200, answer.text
        return [event["type"] for event in new]

    def post(self, body: bytes, headers: dict[str, str]) -> Any:
        return self.owner.app.test_client().post(WEBHOOKS, data=body, headers=headers)

    def settle(self) -> None:
        """Deliver and work until nothing comes any more."""
        for _ in range(30):
            if not self.deliver() and not self.work():
                return
        raise AssertionError(f"it does not come to rest: {self.work()}")

    def give_up(self, payment: Transaction) -> Any:
        """Ask for a payment to be canceled, as its customer does; return the answer."""
        path = f"/api/v1/payments/{payment.id}/cancel"
        return self.owner.post(path, Prefer="respond-async")

    def capture(self, payment: Transaction) -> Any:
        path = f"/api/v1/payments/{payment.id}/capture"
        return self.owner.post(path, Prefer="respond-async")

    def refund(self, payment: Transaction, amount: str) -> Any:
        path = f"/api/v1/payments/{payment.id}/refund"
        body = {"amount": amount, "reason": "requested_by_customer"}
        return self.owner.post(path, body, Prefer="respond-async")

    def payment(self, payment_id: UUID | str) -> Transaction:
        with transaction(company_id=self.company_id) as session:
            payment = session.get_one(Transaction, UUID(str(payment_id)))
            _ = payment.attempts
            return payment

    def attempts(self, payment: Transaction) -> list[PaymentAttempt]:
        return self.payment(payment.id).attempts

    def invoice(self, payment: Transaction) -> Invoice:
        with transaction(company_id=self.company_id) as session:
            return session.get_one(Invoice, payment.invoice_id)

    def methods(self) -> list[PaymentMethod]:
        with transaction(company_id=self.company_id) as session:
            return list(session.scalars(select(PaymentMethod)))

    def events(self) -> list[PaymentWebhook]:
        with transaction() as session:
            mine = PaymentWebhook.company_id == self.company_id
            return list(session.scalars(select(PaymentWebhook).where(mine)))

    def told(self, payment: Transaction) -> list[str]:
        with transaction(company_id=self.company_id) as session:
            return [line.what for line in history(session, [payment.id])]

    def advance(self, span: str) -> None:
        """Let time pass, here and at PayPal."""
        follow(self.book.advance(span)["ahead_s"])

    def violations(self) -> list[Violation]:
        """What does not hold of this company's rows; others' are theirs to judge."""
        with transaction() as session:
            found = invariants.check(session, limit=1000)
            mine = select(Transaction.id, Transaction.invoice_id).where(
                Transaction.company_id == self.company_id
            )
            rows = session.execute(across_companies(mine, because=NOBODY)).all()
        ours = {str(each) for row in rows for each in row} | {str(self.company_id)}
        return [each for each in found if any(one in str(each) for one in ours)]

    def judge(self) -> None:
        """Once all is quiet, our rows hold among themselves and agree with PayPal's book."""
        self.settle()
        assert self.violations() == []
        for charge in self.book.charges():
            our_id = metadata_of(charge["transaction_id"])["transaction_id"]
            payment = self.payment(our_id)
            theirs = [Decimal(charge[name]) for name in ("amount_captured", "amount_refunded")]
            if payment.currency != "JPY":
                theirs = [each / 100 for each in theirs]
            assert [payment.amount_captured, payment.amount_refunded] == theirs
        ids = [charge["transaction_id"].split(".")[1] for charge in self.book.charges()]
        assert len(ids) == len(set(ids)), "a payment was charged twice"

    def taken(self) -> dict[str, tuple[int, int]]:
        """What the stand-in's book says was captured and given back, by currency, in hundredths."""
        totals = self.book.book()["totals"]
        return {name: (each["charged"], each["refunded"]) for name, each in totals.items()}


def _is_ready(owed: Owed) -> bool:
    """Whether it was sent at once: what is owed for later has been sent to nobody."""
    return owed.sent_at is not None or owed.due_at <= now()


def as_it_came(body: bytes, headers: Any) -> dict[str, Any]:
    return {
        "type": orjson.loads(body)["event_type"],
        "body": body,
        "headers": dict(headers.items()),
    }


def follow(ahead_s: int) -> None:
    """Set this process's clock as far ahead as the stand-in's is."""
    clock.advance_by(lambda: timedelta(seconds=ahead_s))


@contextmanager
def open_till(
    paypal: PayPalProcess, owner: Callable[[], Visitor], customer: Customer
) -> Iterator[Till]:
    follow(paypal.control.clock()["ahead_s"])
    with catching(as_it_came) as catcher:
        paypal.control.webhooks(url=catcher.url)
        yield Till(paypal, owner(), customer, catcher)
        paypal.control.webhooks(url="")
    clock.advance_by(timedelta)
