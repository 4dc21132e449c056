"""What must always hold of the rows, whatever happened: one query each, in plain SQL.

Each query returns what breaks its sentence, and nothing when all is well. They are SQL and not
models, so that a mistake in the models cannot hide itself. `check` runs them all, over the whole
book or over what was touched of late: `TOUCHED(x.id)` in a query is where rows are left out that
have no new line in the timeline, `POSTED(x)` those whose posting is not new, and `NEW(x.id)` those
that are not new themselves. Of a part of the book they leave out what was not made in it. Queries
that look up few rows by an index have no such mark. A query that groups rows must be marked by
what it groups them by, so that no group is seen in part.
"""

# ruff: noqa: S608  every name that is put into a query is a constant of this module

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from models.base import across_companies
from models.collecting_invariants import COLLECTING
from models.delivery_invariants import DELIVERIES
from models.disputes import Dispute
from models.dunning_invariants import LADDER
from models.ids import new_id
from models.invoice_invariants import INVOICES
from models.invoices import Invoice
from models.mail import Mail
from models.mail_invariants import MAIL
from models.owed_invariants import MEMORY
from models.refunds import Refund
from models.states import Moving
from models.subscription_invariants import SUBSCRIPTIONS
from models.subscriptions import Subscription
from models.transactions import Transaction
from models.usage_invariants import USAGE

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


# What of a payment's money is not with us any more, though it was captured.
_GONE = """(
    t.amount_refunded + COALESCE(
        (SELECT SUM(d.amount_withdrawn - d.amount_reinstated)
         FROM disputes d WHERE d.transaction_id = t.id), 0)
)"""


def _booked(kind: str, row: str, *accounts: str) -> str:
    """Return what accounts have of a row. By the index of each row: a join would sort them all."""
    of = f"e.{kind}_id = {row}.id"
    if "disputes" in accounts:
        of = f"e.transaction_id = {row}.transaction_id AND e.dispute_id = {row}.id"
    listed = ", ".join(f"'{account}'" for account in accounts)
    return f"""COALESCE(
        (SELECT SUM(e.amount) FROM ledger_entries e
         WHERE {of} AND e.account IN ({listed})), 0) AS booked"""


LEDGER = {
    "the ledger sums to zero per currency": """
        SELECT currency, SUM(amount) FROM ledger_entries WHERE POSTED(posting)
        GROUP BY currency HAVING SUM(amount) <> 0
    """,
    "each posting has two sides of one company and currency that sum to zero": """
        SELECT posting, COUNT(*), SUM(amount) FROM ledger_entries WHERE POSTED(posting)
        GROUP BY posting
        HAVING COUNT(*) <> 2 OR SUM(amount) <> 0
            OR MIN(currency) <> MAX(currency) OR MIN(company_id) <> MAX(company_id)
    """,
    "the ledger's clearing of a payment, and fees, are what was captured less what has gone": f"""
        SELECT t.id, t.amount_captured, t.payment_method, {_GONE} AS gone,
            {_booked("transaction", "t", "clearing", "fees")}
        FROM transactions t WHERE TOUCHED(t.id)
        HAVING booked <> IF(t.payment_method = 'bank_transfer', 0, t.amount_captured - gone)
    """,
    "the ledger's bank of a payment is what came by transfer less what went back": f"""
        SELECT t.id, t.amount_captured, t.amount_refunded, t.payment_method,
            {_booked("transaction", "t", "bank")}
        FROM transactions t WHERE TOUCHED(t.id)
        HAVING booked <> IF(
            t.payment_method = 'bank_transfer', t.amount_captured - t.amount_refunded, 0)
    """,
    "a fee is taken from the clearing, for a dispute": """
        SELECT f.posting, f.amount FROM ledger_entries f
        WHERE f.account = 'fees' AND POSTED(f.posting) AND (
            f.dispute_id IS NULL OR NOT EXISTS (
                SELECT 1 FROM ledger_entries c
                WHERE c.posting = f.posting AND c.account = 'clearing'))
    """,
    "a dispute's ledger agrees with its row": f"""
        SELECT d.id, d.amount_withdrawn, d.amount_reinstated,
            {_booked("transaction", "d", "disputes")}
        FROM disputes d WHERE TOUCHED(d.id)
        HAVING booked <> d.amount_withdrawn - d.amount_reinstated
    """,
}

MONEY = {
    "refunds, pending and succeeded, never exceed what was captured": """
        SELECT t.id, t.amount_captured, SUM(r.amount)
        FROM transactions t JOIN refunds r ON r.transaction_id = t.id
        WHERE r.status <> 'failed'
            AND t.id IN (SELECT x.transaction_id FROM refunds x WHERE TOUCHED(x.id))
        GROUP BY t.id, t.amount_captured HAVING SUM(r.amount) > t.amount_captured
    """,
    "a payment's refunded amount is the sum of its refunds that succeeded": """
        SELECT t.id, t.amount_refunded, COALESCE(
            (SELECT SUM(r.amount) FROM refunds r
             WHERE r.transaction_id = t.id AND r.status = 'succeeded'), 0) AS refunded
        FROM transactions t WHERE TOUCHED(t.id) HAVING t.amount_refunded <> refunded
    """,
    "only a bank transfer that was recorded by mistake reopens its invoice": """
        SELECT r.id, t.payment_method, t.amount_captured, r.amount
        FROM refunds r JOIN transactions t ON t.id = r.transaction_id
        WHERE r.reopens_invoice AND TOUCHED(r.id)
            AND (t.payment_method <> 'bank_transfer' OR r.amount <> t.amount_captured)
    """,
    "a payment is settled if and only if something was captured": """
        SELECT id, status, amount_captured FROM transactions t
        WHERE (status IN ('succeeded', 'partially_refunded', 'refunded')) <> (amount_captured > 0)
            AND TOUCHED(t.id)
    """,
    "a payment's status says how much of it was refunded": """
        SELECT id, status, amount_captured, amount_refunded FROM transactions t
        WHERE TOUCHED(t.id) AND (
            (status = 'succeeded' AND amount_refunded <> 0)
            OR (status = 'partially_refunded'
                AND (amount_refunded <= 0 OR amount_refunded >= amount_captured))
            OR (status = 'refunded' AND amount_refunded <> amount_captured))
    """,
    "a payment is flagged as disputed if and only if a dispute of it is open": """
        SELECT t.id, t.is_disputed FROM transactions t
        WHERE TOUCHED(t.id) AND t.is_disputed <> EXISTS (
            SELECT 1 FROM disputes d WHERE d.transaction_id = t.id AND d.status IN (
                'warning_needs_response', 'warning_under_review', 'needs_response', 'under_review'))
    """,
    "a dispute gives back no more than it took": """
        SELECT d.id, d.amount_withdrawn, d.amount_reinstated FROM disputes d
        WHERE TOUCHED(d.id)
            AND (d.amount_reinstated < 0 OR d.amount_reinstated > d.amount_withdrawn)
    """,
    "an invoice's paid amount is what its payments captured and were not reversed": """
        SELECT i.id, i.amount_paid FROM invoices i
        WHERE TOUCHED(i.id) AND i.amount_paid
            <> COALESCE((SELECT paid_before FROM imported_invoices WHERE invoice_id = i.id), 0)
            + COALESCE(
                (SELECT SUM(t.amount_captured) FROM transactions t WHERE t.invoice_id = i.id), 0)
            - COALESCE(
                (SELECT SUM(r.amount)
                 FROM transactions t JOIN refunds r ON r.transaction_id = t.id
                 WHERE t.invoice_id = i.id AND r.reopens_invoice AND r.status = 'succeeded'), 0)
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
        WHERE status = 'succeeded' AND TOUCHED(transaction_id)
        GROUP BY transaction_id HAVING COUNT(*) > 1
    """,
}

COMPANIES = {
    f"{child} are of the company of their {parent}": f"""
        SELECT child.id, child.company_id, parent.company_id
        FROM {child} child JOIN {parent} parent ON parent.id = child.{key}
        WHERE child.company_id <> parent.company_id AND NEW(child.id)
    """
    for child, key, parent in (
        ("invoice_lines", "invoice_id", "invoices"),
        ("credit_notes", "invoice_id", "invoices"),
        ("credit_notes", "refund_id", "refunds"),
        ("transactions", "invoice_id", "invoices"),
        ("transactions", "payment_method_id", "payment_methods"),
        ("transactions", "user_id", "users"),
        ("payment_attempts", "transaction_id", "transactions"),
        ("refunds", "transaction_id", "transactions"),
        ("payment_webhooks", "transaction_id", "transactions"),
        ("ledger_entries", "invoice_id", "invoices"),
        ("ledger_entries", "transaction_id", "transactions"),
        ("ledger_entries", "refund_id", "refunds"),
        ("ledger_entries", "dispute_id", "disputes"),
        ("disputes", "transaction_id", "transactions"),
        ("dispute_actions", "dispute_id", "disputes"),
    )
}

QUERIES = {
    **LEDGER,
    **MONEY,
    **INVOICES,
    **COMPANIES,
    **MEMORY,
    **MAIL,
    **LADDER,
    **USAGE,
    **SUBSCRIPTIONS,
    **DELIVERIES,
    **COLLECTING,
}
HISTORIES: tuple[type[Moving], ...] = (Dispute, Invoice, Mail, Refund, Subscription, Transaction)
ENDS_WHERE = "the last move of a row led to its status"
ALLOWED = "every move is one that the table of moves has, from where the last one led"

# What a mark leaves in, of late: what has a new line, posting or id.
_LATELY = {
    "TOUCHED": "{0} IN (SELECT subject_id FROM timeline WHERE id >= :since)",
    "POSTED": "{0} IN (SELECT posting FROM ledger_entries WHERE id >= :since)",
    "NEW": "{0} >= :since",
}
# And of a part of the book: what was made in it.
_MADE = {
    "TOUCHED": "{0} >= :since AND {0} < :until",
    "POSTED": "{0} IN (SELECT posting FROM ledger_entries WHERE id >= :since AND id < :until)",
    "NEW": "{0} >= :since AND {0} < :until",
}
_MARK = re.compile(r"\b(TOUCHED|POSTED|NEW)\((.+?)\)")


@dataclass(frozen=True)
class Part:
    """The part of the book that was made from `since` on and before `until`: ids, in bytes."""

    since: bytes = bytes(16)
    until: bytes = b"\xff" * 16


def part_from(session: Session, since: bytes, *, rows: int) -> Part:
    """Return the part from `since` on that has at most `rows` rows of any table."""
    bounds = [Part().until]
    for table in _TABLES:
        query = f"SELECT id FROM {table} WHERE id >= :since ORDER BY id LIMIT 1 OFFSET :rows"
        found = session.scalar(_whole_book(query), {"since": since, "rows": rows})
        if found is not None:
            bounds.append(found)
    return Part(since, min(bounds))


# By the ids of which the sentences are told.
_TABLES = (
    "credit_notes",
    "disputes",
    "invoice_lines",
    "invoices",
    "ledger_entries",
    "mails",
    "payment_attempts",
    "payment_webhooks",
    "refunds",
    "timeline",
    "transactions",
)

# Looks at one sentence and returns what breaks it.
Look = Callable[[Session], list[Violation]]
RowsOf = Callable[[Session, str], list[tuple[Any, ...]]]


def check(
    session: Session, *, limit: int = TOLD, within: timedelta | None = None
) -> list[Violation]:
    """Return what does not hold, over all companies, `limit` rows a sentence; empty is well.

    Args:
        within: only what was touched in the time up to now is looked at. The cost is then that of
            the lines written since, and no longer that of the whole book.
    """
    each = looks(limit=limit, within=within)
    return [violation for _, look in each for violation in look(session)]


def looks(
    *, limit: int = TOLD, within: timedelta | None = None, part: Part | None = None
) -> Iterator[tuple[str, Look]]:
    """Yield what there is to look at, and the look: each may have a transaction of its own.

    Args:
        within: as `check` has it.
        part: only what was made in this part of the book is looked at. The parts one after the
            other are the whole book; sentences that look up few rows are left to the first part.
    """
    # An id starts with its time: older rows of a table that is only added to are never read.
    chosen = Part(since=_id_before(within)) if within is not None else part
    marks = _LATELY if within is not None else _MADE
    is_later = part is not None and part.since > Part().since

    def narrowed(query: str) -> str:
        return _MARK.sub(lambda m: marks[m[1]].format(m[2]) if chosen else "TRUE", query)

    def rows_of(session: Session, query: str) -> list[tuple[Any, ...]]:
        return _run(session, narrowed(query), chosen, limit=limit)

    for name, query in QUERIES.items():
        if not (is_later and _MARK.search(query) is None):
            yield name, partial(_check_one, rows_of, name, query)
    for kind in HISTORIES:
        yield _of_moves(kind), partial(_check_moves, rows_of, kind)


def sentences() -> list[str]:
    """Return what `looks` looks at, in its order."""
    return [*QUERIES, *map(_of_moves, HISTORIES)]


def _of_moves(kind: type[Moving]) -> str:
    return f"every {kind.__tablename__.removesuffix('s')} moves as its table of moves says"


def _id_before(within: timedelta) -> bytes:
    """Return the least id of a row that was made `within` this time.

    From a new id, as ids are of the machine's clock, whatever the application's is set to.
    """
    moment_ms = (new_id().int >> 80) - int(within.total_seconds() * 1000)
    return UUID(int=max(moment_ms, 0) << 80).bytes


def _check_one(rows_of: RowsOf, name: str, query: str, session: Session) -> list[Violation]:
    return [Violation(name, ", ".join(map(_shown, row))) for row in rows_of(session, query)]


def _check_moves(rows_of: RowsOf, kind: type[Moving], session: Session) -> list[Violation]:
    """No state goes back: follow each row's moves from the first to the last."""
    table = kind.__tablename__
    subject = table.removesuffix("s")
    allowed = ", ".join(
        f"('{was}', '{to}')" for was, several in kind.MOVES.items() for to in several
    )
    wrong = f"""
        SELECT m.subject_id, m.was, m.became FROM timeline m
        WHERE m.subject = '{subject}' AND m.what = 'move' AND NEW(m.id) AND (
            (m.was, m.became) NOT IN ({allowed})
            OR m.was <> (
                SELECT b.became FROM timeline b
                WHERE b.subject_id = m.subject_id AND b.id < m.id AND b.what = 'move'
                ORDER BY b.id DESC LIMIT 1))
    """
    strayed = f"""
        SELECT x.id, m.became, x.status FROM {table} x JOIN timeline m ON m.id = (
            SELECT MAX(l.id) FROM timeline l WHERE l.subject_id = x.id AND l.what = 'move')
        WHERE TOUCHED(x.id) AND m.became <> x.status
    """
    moved, ended = rows_of(session, wrong), rows_of(session, strayed)
    return [
        *(Violation(ALLOWED, f"{table} {_shown(i)}: {was} to {to}") for i, was, to in moved),
        *(
            Violation(ENDS_WHERE, f"{table} {_shown(i)}: {to}, but is {is_}")
            for i, to, is_ in ended
        ),
    ]


def _run(session: Session, query: str, part: Part | None, *, limit: int) -> list[tuple[Any, ...]]:
    values: dict[str, object] = {"limit": limit}
    for name in ("since", "until"):
        if f":{name}" in query:
            values[name] = getattr(part, name)
    return [tuple(row) for row in session.execute(_whole_book(f"{query} LIMIT :limit"), values)]


def _whole_book(query: str) -> TextClause:
    return across_companies(text(query), because="an invariant is of the whole book")


def _shown(value: object) -> str:
    is_id = isinstance(value, bytes) and len(value) == 16  # noqa: PLR2004  a UUID
    return str(UUID(bytes=value)) if is_id else str(value)  # type: ignore[arg-type]
