"""What must always hold of the rows, whatever happened: one query each, in plain SQL.

Each query returns what breaks its sentence, and nothing when all is well. They are SQL and not
models, so that a mistake in the models cannot hide itself. `check` runs them all.
"""

# ruff: noqa: S608  every name that is put into a query is a constant of this module

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.base import across_companies
from models.invoices import Invoice
from models.refunds import Refund
from models.states import Moving
from models.transactions import Transaction

# How many of one kind are told: the first few are enough to go and look.
TOLD = 20


@dataclass(frozen=True)
class Violation:
    """A sentence that does not hold, and the row that breaks it."""

    invariant: str
    detail: str

    def __str__(self) -> str:
        """Say both."""
        return f"{self.invariant}: {self.detail}"


LEDGER = {
    "the ledger sums to zero per currency": """
        SELECT currency, SUM(amount) FROM ledger_entries GROUP BY currency HAVING SUM(amount) <> 0
    """,
    "each posting has two sides of one company and currency that sum to zero": """
        SELECT posting, COUNT(*), SUM(amount) FROM ledger_entries GROUP BY posting
        HAVING COUNT(*) <> 2 OR SUM(amount) <> 0
            OR MIN(currency) <> MAX(currency) OR MIN(company_id) <> MAX(company_id)
    """,
    "the ledger's clearing of a payment is what was captured less what was refunded": """
        SELECT t.id, t.amount_captured, t.amount_refunded, COALESCE(SUM(e.amount), 0)
        FROM transactions t
        LEFT JOIN ledger_entries e ON e.transaction_id = t.id AND e.account = 'clearing'
        GROUP BY t.id, t.amount_captured, t.amount_refunded
        HAVING COALESCE(SUM(e.amount), 0) <> t.amount_captured - t.amount_refunded
    """,
    "the ledger's receivable of an issued invoice is what is still due": """
        SELECT i.id, i.amount, i.amount_paid, COALESCE(SUM(e.amount), 0)
        FROM invoices i
        LEFT JOIN ledger_entries e ON e.invoice_id = i.id AND e.account = 'receivable'
        WHERE i.status IN ('open', 'paid')
        GROUP BY i.id, i.amount, i.amount_paid
        HAVING COALESCE(SUM(e.amount), 0) <> i.amount - i.amount_paid
    """,
}

MONEY = {
    "refunds, pending and succeeded, never exceed what was captured": """
        SELECT t.id, t.amount_captured, SUM(r.amount)
        FROM transactions t JOIN refunds r ON r.transaction_id = t.id
        WHERE r.status IN ('pending', 'processing', 'succeeded')
        GROUP BY t.id, t.amount_captured HAVING SUM(r.amount) > t.amount_captured
    """,
    "a payment's refunded amount is the sum of its refunds that succeeded": """
        SELECT t.id, t.amount_refunded, COALESCE(SUM(r.amount), 0)
        FROM transactions t
        LEFT JOIN refunds r ON r.transaction_id = t.id AND r.status = 'succeeded'
        GROUP BY t.id, t.amount_refunded HAVING t.amount_refunded <> COALESCE(SUM(r.amount), 0)
    """,
    "a payment is settled if and only if something was captured": """
        SELECT id, status, amount_captured FROM transactions
        WHERE (status IN ('succeeded', 'partially_refunded', 'refunded')) <> (amount_captured > 0)
    """,
    "a payment's status says how much of it was refunded": """
        SELECT id, status, amount_captured, amount_refunded FROM transactions
        WHERE (status = 'succeeded' AND amount_refunded <> 0)
            OR (status = 'partially_refunded'
                AND (amount_refunded <= 0 OR amount_refunded >= amount_captured))
            OR (status = 'refunded' AND amount_refunded <> amount_captured)
    """,
    "an invoice's paid amount is what its payments captured": """
        SELECT i.id, i.amount_paid, COALESCE(SUM(t.amount_captured), 0)
        FROM invoices i LEFT JOIN transactions t ON t.invoice_id = i.id
        GROUP BY i.id, i.amount_paid HAVING i.amount_paid <> COALESCE(SUM(t.amount_captured), 0)
    """,
    "an invoice is paid if and only if its paid amount covers it": """
        SELECT id, status, amount, amount_paid FROM invoices
        WHERE status IN ('open', 'paid') AND (status = 'paid') <> (amount_paid >= amount)
    """,
    "an invoice's amount is the sum of its lines": """
        SELECT i.id, i.amount, SUM(l.amount)
        FROM invoices i JOIN invoice_lines l ON l.invoice_id = i.id
        GROUP BY i.id, i.amount HAVING i.amount <> SUM(l.amount)
    """,
    "an invoice has at most one open payment": """
        SELECT invoice_id, COUNT(*) FROM transactions
        WHERE status IN ('pending', 'processing', 'requires_action', 'needs_review')
        GROUP BY invoice_id HAVING COUNT(*) > 1
    """,
    "a payment has at most one open attempt": """
        SELECT transaction_id, COUNT(*) FROM payment_attempts
        WHERE status IN ('calling', 'waiting', 'unknown', 'requires_action', 'processing')
        GROUP BY transaction_id HAVING COUNT(*) > 1
    """,
    "a payment has at most one attempt that succeeded": """
        SELECT transaction_id, COUNT(*) FROM payment_attempts
        WHERE status = 'succeeded' GROUP BY transaction_id HAVING COUNT(*) > 1
    """,
}

COMPANIES = {
    f"{child} are of the company of their {parent}": f"""
        SELECT child.id, child.company_id, parent.company_id
        FROM {child} child JOIN {parent} parent ON parent.id = child.{key}
        WHERE child.company_id <> parent.company_id
    """
    for child, key, parent in (
        ("invoice_lines", "invoice_id", "invoices"),
        ("transactions", "invoice_id", "invoices"),
        ("transactions", "payment_method_id", "payment_methods"),
        ("transactions", "user_id", "users"),
        ("payment_attempts", "transaction_id", "transactions"),
        ("refunds", "transaction_id", "transactions"),
        ("payment_webhooks", "transaction_id", "transactions"),
        ("ledger_entries", "invoice_id", "invoices"),
        ("ledger_entries", "transaction_id", "transactions"),
        ("ledger_entries", "refund_id", "refunds"),
    )
}

# Whether a task is owed for row `x`, or is dead and shown: either way it is not forgotten.
_IS_OWED = """
    EXISTS (
        SELECT 1 FROM outbox o
        WHERE o.task IN ({tasks})
            AND REPLACE(JSON_UNQUOTE(JSON_EXTRACT(o.arguments, '$.{argument}')), '-', '')
                = LOWER(HEX(x.id))
    )
"""


def _owed(argument: str, *tasks: str) -> str:
    listed = ", ".join(f"'{task}'" for task in tasks)
    return _IS_OWED.format(argument=argument, tasks=listed)


MEMORY = {
    "a payment that has not been sent is owed": f"""
        SELECT x.id, x.status FROM transactions x
        WHERE x.status = 'pending'
            AND NOT {_owed("transaction_id", "payments.charge", "lookups.resolve")}
    """,
    "an attempt without an outcome is owed a call or a look-up": f"""
        SELECT x.id, a.status FROM payment_attempts a JOIN transactions x ON x.id = a.transaction_id
        WHERE a.status IN ('calling', 'waiting', 'unknown') AND x.status <> 'needs_review'
            AND NOT {_owed("transaction_id", "payments.charge", "lookups.resolve")}
    """,
    "a refund that has not been sent is owed": f"""
        SELECT x.id, x.status FROM refunds x
        WHERE x.status IN ('pending', 'processing') AND x.provider_refund_id IS NULL
            AND NOT {_owed("refund_id", "refunds.send")}
    """,
    "a payment method that has not been attached is owed": f"""
        SELECT x.id, x.status FROM payment_methods x
        WHERE x.status = 'pending' AND NOT {_owed("method_id", "methods.attach")}
    """,
    "an event that was received is owed, and one that was handled is not": f"""
        SELECT x.id, x.provider_event_id, x.status FROM payment_webhooks x
        WHERE (x.status IN ('received', 'processing', 'failed'))
            <> {_owed("event_id", "webhooks.handle")}
    """,
    "an event that was handled had exactly one effect": """
        SELECT w.id, w.provider_event_id, COUNT(t.id)
        FROM payment_webhooks w
        LEFT JOIN timeline t
            ON t.subject_id = w.transaction_id
                AND t.event_id = w.provider_event_id AND t.what = 'event'
        WHERE w.status = 'completed'
        GROUP BY w.id, w.provider_event_id HAVING COUNT(t.id) <> 1
    """,
}

QUERIES = {**LEDGER, **MONEY, **COMPANIES, **MEMORY}
HISTORIES: tuple[type[Moving], ...] = (Invoice, Refund, Transaction)
ENDS_WHERE = "the last move of a row led to its status"
ALLOWED = "every move is one that the table of moves has, from where the last one led"


def check(session: Session, *, limit: int = TOLD) -> list[Violation]:
    """Return what does not hold, over all companies, `limit` rows a sentence; empty is well."""
    found = [
        Violation(name, ", ".join(map(_shown, row)))
        for name, query in QUERIES.items()
        for row in _run(session, query)[:limit]
    ]
    for kind in HISTORIES:
        found += _check_moves(session, kind)
    return found


def _check_moves(session: Session, kind: type[Moving]) -> Iterator[Violation]:
    """No state goes back: follow each row's moves from the first to the last."""
    table = kind.__tablename__
    moves = _run(
        session,
        "SELECT subject_id, was, became FROM timeline"
        " WHERE subject = :subject AND what = 'move' ORDER BY id",
        subject=table.removesuffix("s"),
    )
    stands: dict[bytes, str] = {}
    for identity, was, became in moves:
        if became not in kind.MOVES.get(was, ()) or stands.get(identity, was) != was:
            yield Violation(ALLOWED, f"{table} {_shown(identity)}: {was} to {became}")
        stands[identity] = became
    for identity, status in _run(session, f"SELECT id, status FROM {table}"):
        if stands.get(identity, status) != status:
            told = f"{table} {_shown(identity)}: {stands[identity]}, but is {status}"
            yield Violation(ENDS_WHERE, told)


def _run(session: Session, query: str, **values: str) -> list[tuple[Any, ...]]:
    whole_book = across_companies(text(query), because="an invariant is of the whole book")
    return [tuple(row) for row in session.execute(whole_book, values)]


def _shown(value: object) -> str:
    is_id = isinstance(value, bytes) and len(value) == 16  # noqa: PLR2004  a UUID
    return str(UUID(bytes=value)) if is_id else str(value)  # type: ignore[arg-type]
