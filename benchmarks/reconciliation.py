"""Reconciliation: 200,000 charges in pages of 100 against 200,000 rows, each side streamed.

Ours is what a run does to a chunk, with our rows in a MariaDB and a commit a chunk; only the
network is left out: the pages lie in a file. Beside it, the same pages only parsed by orjson, and
a tenth of them made into stripe-python's objects, whose time is told for all. Each is a process of
its own, so that the peak of its memory is its own; the figures are medians.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from benchmarks.report import against_goal, keep, table, title
from sandbox.servers import PrivateMariaDB

NAME = "reconciliation"
MANY = int(os.environ.get("BENCH_CHARGES", "200000"))
PAGE = 100
ROUNDS = 3
START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=2)
A_TENTH = 10
MISSING_THERE, MISSING_HERE, OTHER_AMOUNT = 7000, 9000, 5000
CONTENDERS = ("ours", "orjson", "stripe objects")
MIB = 1024


def run() -> None:
    """Measure all of them, in turns."""
    title("Reconciliation")
    with TemporaryDirectory() as folder, PrivateMariaDB(Path(folder, "mariadb")) as mariadb:
        pages = Path(folder, "pages.jsonl")
        os.environ["DATABASE_URL"] = mariadb.url
        write_pages(pages)
        fill()
        told = {name: [_measured(name, pages) for _ in range(ROUNDS)] for name in CONTENDERS}
    _tell({name: _median(rounds) for name, rounds in told.items()})


def _tell(figures: dict[str, dict[str, float]]) -> None:
    rows = [{"contender": name, **figures[name]} for name in CONTENDERS]
    table(rows)
    for row in rows:
        keep(NAME, charges=MANY, **row)
    ours = figures["ours"]
    seconds = {name: figures[name]["seconds"] for name in CONTENDERS}
    against_goal(NAME, "time of orjson's parsing", seconds["ours"] / seconds["orjson"], "<=", 1.0)
    against_goal(NAME, "MiB above the start", ours["MiB"], "<=", 20.0)
    against_goal(
        NAME,
        "times as fast as stripe's objects",
        seconds["stripe objects"] / seconds["ours"],
        ">=",
        50.0,
    )


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def _measured(name: str, pages: Path) -> dict[str, float]:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.reconciliation", name, str(pages)],
        check=True,
        capture_output=True,
        text=True,
    )
    told: dict[str, float] = json.loads(ended.stdout)
    return told


def charge(i: int) -> dict[str, Any]:
    """Return a charge as Stripe tells it, with its balance transaction; nothing left out."""
    amount = 2000 + i % 977
    card = {
        "brand": "visa",
        "checks": {"address_line1_check": None, "cvc_check": "pass"},
        "country": "US",
        "exp_month": 8,
        "exp_year": 2030,
        "fingerprint": "mToisGZ01V71BCos",
        "funding": "credit",
        "installments": None,
        "last4": "4242",
        "mandate": None,
        "network": "visa",
        "three_d_secure": None,
        "wallet": None,
    }
    created = int(START.timestamp()) + i // 2
    return {
        "id": f"ch_3P{i:022d}",
        "object": "charge",
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": {
            "id": f"txn_3P{i:022d}",
            "object": "balance_transaction",
            "amount": amount,
            "available_on": created + 172800,
            "created": created,
            "currency": "usd",
            "description": None,
            "exchange_rate": None,
            "fee": 88,
            "fee_details": [
                {
                    "amount": 88,
                    "application": None,
                    "currency": "usd",
                    "description": "Stripe processing fees",
                    "type": "stripe_fee",
                }
            ],
            "net": amount - 88,
            "reporting_category": "charge",
            "source": f"ch_3P{i:022d}",
            "status": "available",
            "type": "charge",
        },
        "billing_details": {
            "address": dict.fromkeys(("city", "country", "line1", "postal_code", "state")),
            "email": None,
            "name": None,
            "phone": None,
        },
        "calculated_statement_descriptor": "PAYBEAT",
        "captured": True,
        "created": created,
        "currency": "usd",
        "customer": f"cus_{i % 50}",
        "description": None,
        "disputed": False,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": {
            "transaction_id": f"00000000-0000-7000-8000-{i:012d}",
            "company_id": f"00000000-0000-7000-9000-{0:012d}",
            "attempt_id": f"00000000-0000-7000-a000-{i:012d}",
        },
        "on_behalf_of": None,
        "outcome": {
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": 32,
            "seller_message": "Payment complete.",
            "type": "authorized",
        },
        "paid": True,
        "payment_intent": f"pi_3P{i:022d}",
        "payment_method": f"pm_3P{i:022d}",
        "payment_method_details": {"card": card, "type": "card"},
        "receipt_email": None,
        "receipt_url": "https://pay.stripe.com/receipts/x",
        "refunded": False,
        "review": None,
        "shipping": None,
        "statement_descriptor": None,
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }


def write_pages(path: Path) -> None:
    """Write the provider's lists, newest first, a page a line."""
    ids = [i for i in range(MANY - 1, -1, -1) if i % MISSING_THERE]
    with path.open("wb") as file:
        for first in range(0, len(ids), PAGE):
            body = {
                "object": "list",
                "url": "/v1/charges",
                "has_more": first + PAGE < len(ids),
                "data": [charge(i) for i in ids[first : first + PAGE]],
            }
            file.write(orjson.dumps(body) + b"\n")


def fill() -> None:
    """Write our rows: of the same charges, each heard of a moment later."""
    from sqlalchemy import insert, text

    from models.base import across_companies
    from models.schema import upgrade
    from models.transactions import Provider, Status, Transaction
    from tests.factories import make_company, make_invoice
    from worker.database import engine, transaction

    upgrade(engine())
    company_id = make_company().company_id
    invoice_id = make_invoice(company_id)
    with transaction() as session:
        # Its id is the one that the charges tell.
        told = f"00000000-0000-7000-9000-{0:012d}".replace("-", "")
        connection = session.connection()
        connection.execute(text("SET foreign_key_checks = 0"))
        for table_name, column in (("companies", "id"), ("invoices", "company_id")):
            connection.execute(text(f"UPDATE {table_name} SET {column} = UNHEX('{told}')"))
        connection.execute(text("SET foreign_key_checks = 1"))
    rows = (
        {
            "id": _id(0x8000, i),
            "company_id": _id(0x9000, 0),
            "invoice_id": invoice_id,
            "amount": (2000 + i % 977 + (i % OTHER_AMOUNT == 0)) / 100,
            "currency": "USD",
            "status": Status.SUCCEEDED,
            "payment_method": Provider.STRIPE,
            "payment_processor_id": f"ch_3P{i:022d}",
            "charged_at": START + timedelta(seconds=i // 2 + 2),
        }
        for i in range(MANY)
        if i % MISSING_HERE
    )
    for batch in _batches(rows):
        with transaction() as session:
            session.execute(across_companies(insert(Transaction), because="a measurement"), batch)
    with transaction() as session:
        session.connection().execute(text("ANALYZE TABLE transactions"))


def _id(variant: int, number: int) -> Any:
    from uuid import UUID

    return UUID(f"00000000-0000-7000-{variant:x}-{number:012d}")


def _batches(rows: Iterator[dict[str, Any]], size: int = 5000) -> Iterator[list[dict[str, Any]]]:
    from itertools import islice

    while batch := list(islice(rows, size)):
        yield batch


class FileBook:
    """Stripe's lists out of a file, read as its bytes are read from the network."""

    provider = "stripe"
    is_newest_first = True

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def page(self, subject: Any, *, start: datetime, end: datetime, after: str | None) -> Any:  # noqa: ARG002  the protocol's
        """Return the next page."""
        from worker.gateways.stripe.books import read_page

        return read_page(subject, self._file.readline())

    def one(self, subject: Any, object_id: str) -> Any:
        """Never asked here."""
        raise NotImplementedError

    def methods(self, customer: str) -> Any:
        """Never asked here."""
        raise NotImplementedError


def ours(pages: Path) -> int:
    """Do what a run does to its charges, chunk by chunk."""
    from sqlalchemy import select

    from models import reconciliations
    from models.tenants import Tenant
    from models.transactions import Provider
    from worker.database import transaction
    from worker.gateways.stripe import books  # noqa: F401  not while it is measured
    from worker.reconciling import reading

    with transaction() as session:
        session.execute(reconciliations.delete(reconciliations.ReconciliationSuspect))
        row = reconciliations.begin(
            session,
            tenant_id=session.scalars(select(Tenant.id).limit(1)).one(),
            provider=Provider.STRIPE,
            account=f"bench-{time.time_ns()}",
            starts_at=START,
            ends_at=END,
        )
        run_id = row.id
    goes_on = True
    begin_to_measure()
    with closing(FileBook(pages)) as book:
        while goes_on:
            with transaction() as session:
                found = session.get_one(reconciliations.ReconciliationRun, run_id)
                task = reading.Task.of(found)
            told = reading.read(book, task)
            with transaction() as session:
                locked = reconciliations.lock(session, run_id)
                assert locked is not None
                goes_on = reading.match(session, locked, task, told, book)
                suspects, matched = locked.suspects, locked.matched
    there = len(range(0, MANY, MISSING_THERE))
    here = len(range(0, MANY, MISSING_HERE))
    assert matched > MANY - there - here - MANY // OTHER_AMOUNT - 10, matched
    return suspects


def parsed_by_orjson(pages: Path) -> int:
    """Parse the pages and do nothing with them."""
    begin_to_measure()
    with pages.open("rb") as file:
        return sum(len(orjson.loads(line)["data"]) for line in file)


def made_by_stripe(pages: Path) -> int:
    """Make stripe-python's objects of a tenth of the pages."""
    import stripe

    count = 0
    most = MANY // PAGE // A_TENTH
    begin_to_measure()
    with pages.open("rb") as file:
        for _, line in zip(range(most), file, strict=False):
            page = stripe.ListObject.construct_from(json.loads(line), "sk_test_x")
            count += sum(1 for each in page.data if each.amount)
    return count


WORK = {"ours": ours, "orjson": parsed_by_orjson, "stripe objects": made_by_stripe}
_started: dict[str, float] = {}


def begin_to_measure() -> None:
    """Begin to measure: what is imported and connected by now is not of the work."""
    _started["seconds"] = time.perf_counter()
    _started["cpu"] = time.process_time()
    # The peak so far is forgotten, so that it is the work's own.
    Path("/proc/self/clear_refs").write_text("5")
    _started["MiB"] = _peak_mib()


def _peak_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / MIB
    raise AssertionError("the kernel tells no peak")


def _one(name: str, pages: Path) -> None:
    if os.environ.get("BENCH_PROFILE"):
        import cProfile

        cProfile.runctx("WORK[name](pages)", globals(), locals(), sort="tottime")
    WORK[name](pages)
    times = A_TENTH if name == "stripe objects" else 1
    told = {
        "seconds": (time.perf_counter() - _started["seconds"]) * times,
        "cpu": (time.process_time() - _started["cpu"]) * times,
        "MiB": _peak_mib() - _started["MiB"],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    _one(sys.argv[1], Path(sys.argv[2]))
