"""A provider's book over HTTP that a test writes itself, our rows beside it, and their runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from sqlalchemy import delete, insert, select

from models import reconciliations
from models.base import across_companies
from models.breaks import ReconciliationBreak
from models.clock import now
from models.cursors import ProviderCursor
from models.disputes import Dispute
from models.ids import new_id
from models.outbox import Owed
from models.reconciliations import ReconciliationRun, ReconciliationSuspect
from models.refunds import Refund, RefundReason, RefundStatus
from models.tenants import Company, Tenant
from models.transactions import Provider, Status, Transaction
from tasks import payouts
from tests.bell import ring
from tests.factories import Customer, make_invoice
from worker.database import transaction

Json = dict[str, Any]
NOUNS = {"charges": "ch", "refunds": "re", "disputes": "du", "customers": "cus"}


class Book:
    """Stripe's lists as it keeps them, newest first; it writes down every request."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Json]] = {noun: {} for noun in NOUNS}
        self.objects |= {"payment_methods": {}, "payment_intents": {}}
        self.objects |= {"payouts": {}, "balance_transactions": {}}
        self.requests: list[tuple[str, str]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []  # given instead, first to last
        self.after_page: Callable[[], None] | None = None
        self.lock = threading.Lock()

    def add(self, noun: str, object_id: str, **fields: Any) -> Json:
        self.objects[noun][object_id] = {"id": object_id, **fields}
        return self.objects[noun][object_id]

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Json]:
        _, _, noun, *rest = path.split("/")
        kept = self.objects[noun]
        if len(rest) == 2:  # a customer's methods
            found = [
                m for m in self.objects["payment_methods"].values() if m["customer"] == rest[0]
            ]
            return 200, {"data": found, "has_more": False}
        if rest:
            found_one = kept.get(rest[0])
            return (200, found_one) if found_one else (404, {"error": {"code": "resource_missing"}})
        if intent := query.get("payment_intent"):
            found = [each for each in kept.values() if each.get("payment_intent") == intent[0]]
            return 200, {"object": "list", "data": found, "has_more": False}
        low, high = (
            int(query.get(name, [bound])[0])
            for name, bound in (("created[gte]", "0"), ("created[lt]", "9999999999"))
        )
        if payout := query.get("payout"):
            kept = {name: each for name, each in kept.items() if each["payout"] == payout[0]}
        listed = sorted(kept.values(), key=lambda o: (o["created"], o["id"]), reverse=True)
        if after := query.get("starting_after"):
            if after[0] not in kept:
                return 400, {"error": {"code": "resource_missing"}}
            place = (kept[after[0]]["created"], after[0])
            listed = [o for o in listed if (o["created"], o["id"]) < place]
        listed = [o for o in listed if low <= o["created"] < high and not o.get("hidden")]
        limit = int(query["limit"][0])
        return 200, {"data": listed[:limit], "has_more": len(listed) > limit}


@contextmanager
def serving(book: Book) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            with book.lock:
                book.requests.append((self.command, self.path))
                status, headers = book.answers.pop(0) if book.answers else (0, {})
                body: Json = {"error": {"code": "rate_limit"}}
                if not status:
                    status, body = book.answer(url.path, parse_qs(url.query))
                    if self.command != "GET":  # nobody may change anything here
                        status, body = 403, {"error": {"code": "only_reads"}}
                    if book.after_page and url.path.count("/") == 2:
                        book.after_page()
            raw = json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    for verb in ("POST", "DELETE", "PUT", "PATCH"):
        setattr(Handler, f"do_{verb}", Handler.do_GET)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Desk:
    """Both sides of one day that no other test has, and an account of its own."""

    def __init__(self, book: Book, customer: Customer, day: datetime) -> None:
        self.book, self.customer, self.day = book, customer, day
        self.account = f"acct_{new_id().hex[-12:]}"
        self.invoice_id = make_invoice(customer.company_id)
        self.mark = new_id().hex[-8:]

    def theirs(self, n: int | str, at: float = 0.0, **fields: Any) -> Json:
        created = int((self.day + timedelta(seconds=at)).timestamp())
        amount = fields.pop("amount", 1000)
        told = {
            "amount": amount,
            "amount_captured": amount,
            "amount_refunded": 0,
            "captured": True,
            "currency": "inr",
            "status": "succeeded",
            "created": created,
            "metadata": {"company_id": str(self.customer.company_id)},
            "balance_transaction": {
                "id": "txn",
                "amount": amount,
                "fee": 59,
                "net": amount - 59,
                "created": created,
                "currency": "inr",
                "fee_details": [{"amount": 59}],
            },
        }
        return self.book.add("charges", f"ch_{self.mark}{n:>05}", **(told | fields))

    def ours(self, *numbers: int | str, at: float = 0.0, **columns: Any) -> list[UUID]:
        """Our rows of charges; a moment later than the provider's own time."""
        rows = [self._row(n, at, **columns) for n in numbers]
        with transaction() as session:
            session.execute(
                across_companies(insert(Transaction), because="a test writes them"), rows
            )
        return [row["id"] for row in rows]

    def rows(self, places: dict[int, float]) -> None:
        rows = [self._row(n, at) for n, at in places.items()]
        with transaction() as session:
            session.execute(
                across_companies(insert(Transaction), because="a test writes them"), rows
            )

    def _row(self, n: int | str, at: float, **columns: Any) -> Json:
        return {
            "id": new_id(),
            "company_id": self.customer.company_id,
            "invoice_id": self.invoice_id,
            "amount": Decimal("10.00"),
            "currency": "INR",
            "status": Status.SUCCEEDED,
            "payment_method": Provider.STRIPE,
            "payment_processor_id": f"ch_{self.mark}{n:>05}",
            "charged_at": self.day + timedelta(seconds=at + 0.5),
            **columns,
        }

    def both(self, *numbers: int, at: float = 0.0) -> list[UUID]:
        for n in numbers:
            self.theirs(n, at)
        return self.ours(*numbers, at=at)

    def our_refund(self, transaction_id: UUID, n: str, at: float = 0.0, **columns: Any) -> None:
        told = {
            "amount": Decimal("4.00"),
            "status": RefundStatus.SUCCEEDED,
            "reason": RefundReason.REQUESTED,
            "created_at": self.day + timedelta(seconds=at),
            "provider_refund_id": f"re_{self.mark}{n}",
        }
        with transaction(company_id=self.customer.company_id) as session:
            session.add(
                Refund(
                    company_id=self.customer.company_id,
                    transaction_id=transaction_id,
                    **(told | columns),
                )
            )

    def their_refund(self, n: str, at: float = 0.0, **fields: Any) -> None:
        told = {"amount": 400, "currency": "inr", "status": "succeeded", "metadata": {}}
        created = int((self.day + timedelta(seconds=at)).timestamp())
        self.book.add("refunds", f"re_{self.mark}{n}", **(told | {"created": created} | fields))

    def our_dispute(self, transaction_id: UUID, n: str, **columns: Any) -> None:
        told = {
            "provider": "stripe",
            "provider_dispute_id": f"du_{self.mark}{n}",
            "amount": Decimal("10.00"),
            "currency": "INR",
            "reason": "fraudulent",
            "status": "needs_response",
            "created_at": self.day,
        }
        with transaction(company_id=self.customer.company_id) as session:
            session.add(
                Dispute(
                    company_id=self.customer.company_id,
                    transaction_id=transaction_id,
                    **(told | columns),
                )
            )

    def their_dispute(self, n: str, **fields: Any) -> None:
        told = {"amount": 1000, "currency": "inr", "status": "needs_response"}
        created = int(self.day.timestamp())
        self.book.add("disputes", f"du_{self.mark}{n}", **(told | {"created": created} | fields))

    def begin(self, *, days: int = 1) -> UUID:
        with transaction() as session:
            return reconciliations.begin(
                session,
                tenant_id=self.customer.tenant_id,
                provider=Provider.STRIPE,
                account=self.account,
                starts_at=self.day,
                ends_at=self.day + timedelta(days=days),
            ).id

    def work(self, run_id: UUID) -> ReconciliationRun:
        """Do what is owed until the run has ended, without waiting where it is put off."""
        while True:
            with transaction() as session:
                run = session.get_one(ReconciliationRun, run_id)
                if not run.is_running:
                    return run
                session.get_one(Owed, run.task_id).due_at = now()
            ring("reconciliations.run", run.task_id)

    def reconcile(self) -> ReconciliationRun:
        return self.work(self.begin())

    def breaks(self) -> list[ReconciliationBreak]:
        with transaction() as session:
            return list(
                session.scalars(
                    select(ReconciliationBreak)
                    .where(ReconciliationBreak.account == self.account)
                    .order_by(ReconciliationBreak.id)
                )
            )

    def found(self) -> set[tuple[str, str]]:
        """The kinds and numbers of the breaks that are open."""
        return {
            (each.kind.value, each.object_id.replace(self.mark, ""))
            for each in self.breaks()
            if each.status == "open"
        }

    def suspects(self, run_id: UUID) -> int:
        with transaction() as session:
            query = select(ReconciliationSuspect.id).where(ReconciliationSuspect.run_id == run_id)
            return len(list(session.scalars(query)))


def a_day(number: int) -> datetime:
    """A day long ago (up to 5,000 are over), of which no other test has rows."""
    assert number < 5000, "a day that is not over is not reconciled"
    return datetime(2011, 1, 1, tzinfo=UTC) + timedelta(days=number)


@contextmanager
def installation(company_id: UUID) -> Iterator[None]:
    """Have the company's tenant be the installation's own, whose operators see payouts."""
    with transaction() as session:
        tenant_id = session.get_one(Company, company_id).tenant_id
        session.get_one(Tenant, tenant_id).is_platform = True
    try:
        yield
    finally:
        with transaction() as session:
            session.get_one(Tenant, tenant_id).is_platform = False


def fetch_payouts() -> None:
    """Do what beat's ring owes about payouts, to its end."""
    with transaction() as session:
        session.execute(delete(ProviderCursor).where(ProviderCursor.name == payouts.NAME))
    payouts.sweep()
    while owed := owed_for_payouts():
        for task, owed_id in owed:
            with transaction() as session:
                session.get_one(Owed, owed_id).due_at = now()
            ring(task, owed_id)


def owed_for_payouts() -> list[tuple[str, UUID]]:
    with transaction() as session:
        query = select(Owed).where(Owed.task.in_(("payouts.fetch", "payouts.read")))
        return [(each.task, each.id) for each in session.scalars(query)]
