"""What nobody has in hand, though somebody must: one query each, for the janitor to tie up.

A row is loose when no debt of the tasks that would deal with it is left. A dead debt counts as
one: it is shown, and a person replays it; one that was dismissed does not. All are queries over
every company, by indexes of statuses that few rows have.
"""

# ruff: noqa: S608  every name that is put into a query is a constant of this module

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from models.base import Id, Moment, across_companies
from models.dunning import DECLINE_IN_REVIEW

# The alert about what was left at a provider that is not set up here any more.
UNSEEN = "provider_not_set_up"
# How many of one kind a sweep takes up; the next one takes more.
MOST = 200
# How many are read to find them.
MOST_READ = 100_000


@dataclass(frozen=True, kw_only=True)
class LooseEnd:
    """A kind of loose end.

    Args:
        rows: the FROM clause; `x` is the row that is taken up.
        condition: what makes it loose, beside that nothing is owed. `:before` is a time.
        task: what is owed for it.
        argument: the argument of that task which carries `about`.
        about: the column that the debts of the row carry.
        queues: where its debts stand.
        is_of_refunds: whether `x` is a refund; else it is a payment.
    """

    name: str
    rows: str
    condition: str
    task: str
    argument: str = "transaction_id"
    about: str = "x.id"
    queues: tuple[str, ...]
    is_of_refunds: bool = False


class Found(NamedTuple):
    """A row that is loose."""

    id: UUID
    company_id: UUID
    about: UUID


_OF_PAYMENTS = ("payments", "lookups", "janitor", "reviews")
_HAS_OPEN_ATTEMPT = """
    EXISTS (SELECT 1 FROM payment_attempts a WHERE a.open_transaction_id = x.id {more})
"""
_OPEN = _HAS_OPEN_ATTEMPT.format(more="")
_IN_CALL = _HAS_OPEN_ATTEMPT.format(more="AND a.status IN ('calling', 'waiting', 'unknown')")
_ASKED = "COALESCE(x.looked_up_at, x.updated_at) <= :before"
_REFUNDS = "refunds x JOIN transactions t ON t.id = x.transaction_id"

UNKNOWN = LooseEnd(
    name="an attempt whose outcome nobody finds out",
    rows="transactions x JOIN payment_attempts a ON a.open_transaction_id = x.id",
    condition="""
        (a.status = 'unknown' OR (a.status = 'calling' AND a.leased_until <= :before))
            AND x.status <> 'needs_review'
    """,
    task="lookups.resolve",
    queues=_OF_PAYMENTS,
)
WAITING = LooseEnd(
    name="an attempt that nobody sends again",
    rows="transactions x JOIN payment_attempts a ON a.open_transaction_id = x.id",
    condition="a.status = 'waiting' AND x.status <> 'needs_review'",
    task="payments.charge",
    queues=_OF_PAYMENTS,
)
UNSENT = LooseEnd(
    name="a payment that nobody sends",
    rows="transactions x",
    condition=f"""
        x.status IN ('pending', 'processing') AND x.payment_method <> 'bank_transfer'
            AND x.provider_transaction_id IS NULL AND NOT {_OPEN}
    """,
    task="payments.charge",
    queues=_OF_PAYMENTS,
)
AT_WORK = LooseEnd(
    name="a payment that the provider is at work on",
    rows="transactions x",
    condition=f"""
        x.status = 'processing' AND x.payment_method <> 'bank_transfer'
            AND x.provider_transaction_id IS NOT NULL AND {_ASKED} AND NOT {_IN_CALL}
    """,
    task="lookups.refresh",
    queues=_OF_PAYMENTS,
)
ABANDONED = LooseEnd(
    name="a payment that its customer has left",
    rows="transactions x",
    condition="x.status = 'requires_action' AND x.updated_at <= :before",
    task="payments.cancel",
    queues=_OF_PAYMENTS,
)
UNSENT_REFUND = LooseEnd(
    name="a refund that nobody sends",
    rows=_REFUNDS,
    condition="""
        x.status IN ('pending', 'processing') AND t.payment_method <> 'bank_transfer'
            AND x.provider_refund_id IS NULL AND x.review_since IS NULL
    """,
    task="refunds.send",
    argument="refund_id",
    queues=("refunds", "reviews"),
    is_of_refunds=True,
)
REFUND_AT_WORK = LooseEnd(
    name="a refund that the provider is at work on",
    rows=_REFUNDS,
    condition=f"""
        x.status IN ('processing', 'requires_action') AND t.payment_method <> 'bank_transfer'
            AND x.provider_refund_id IS NOT NULL AND {_ASKED}
    """,
    task="refunds.collect",
    about="x.transaction_id",
    queues=("refunds",),
    is_of_refunds=True,
)
LOOSE_ENDS = (UNKNOWN, WAITING, UNSENT, AT_WORK, ABANDONED, UNSENT_REFUND, REFUND_AT_WORK)


def find(session: Session, end: LooseEnd, *, before: datetime) -> Sequence[Found]:
    """Return what may be loose in this way, oldest first: `is_loose` decides, under the lock.

    Two reads and a comparison here: the join of ids with those in JSON takes MariaDB half a minute
    where a provider was away and thousands wait. With more than that nothing is loose, but late.
    """
    candidates = _rows(session, end, before=before)
    if not candidates:
        return []
    debts = session.execute(
        across_companies(
            text(f"SELECT {_about(end)} FROM outbox o WHERE {_debts(end)} LIMIT {MOST_READ}"),
            because="whose debts they are does not matter here",
        )
    ).scalars()
    in_hand = set(debts)
    if len(candidates) == MOST_READ or len(in_hand) == MOST_READ:
        return []
    return [found for found in candidates if str(found.about) not in in_hand][:MOST]


def is_loose(session: Session, end: LooseEnd, found: Found, *, before: datetime) -> bool:
    """Whether a row that this transaction holds is still loose."""
    if not _rows(session, end, before=before, row_id=found.id):
        return False
    query = text(f"SELECT 1 FROM outbox o WHERE {_debts(end)} AND {_about(end)} = :about LIMIT 1")
    owed = across_companies(query, because="by the id of a row that is held")
    return session.execute(owed, {"about": str(found.about)}).first() is None


def _rows(
    session: Session, end: LooseEnd, *, before: datetime, row_id: UUID | None = None
) -> list[Found]:
    one = "" if row_id is None else "AND x.id = :row_id"
    query = text(
        f"SELECT x.id, x.company_id, {end.about} AS about FROM {end.rows}"
        f" WHERE {end.condition} {one} ORDER BY x.id LIMIT {MOST_READ}"
    ).columns(id=Id, company_id=Id, about=Id)
    if ":before" in end.condition:
        query = query.bindparams(bindparam("before", before, Moment))
    if row_id is not None:
        query = query.bindparams(bindparam("row_id", row_id, Id))
    found = session.execute(across_companies(query, because="whatever is loose, whosesoever"))
    return [Found(*row) for row in found]


def _about(end: LooseEnd) -> str:
    return f"JSON_UNQUOTE(JSON_EXTRACT(o.arguments, '$.{end.argument}'))"


def _debts(end: LooseEnd) -> str:
    queues = ", ".join(f"'{queue}'" for queue in end.queues)
    return f"o.queue IN ({queues}) AND o.status <> 'dismissed'"


class Review(NamedTuple):
    """A row whose need of a review and whose alert do not go together."""

    id: UUID
    company_id: UUID
    noun: str


_REVIEWED = """
    SELECT x.id, x.company_id, 'transaction' AS noun FROM transactions x
    WHERE x.status = 'needs_review'
    UNION ALL
    SELECT x.id, x.company_id, 'refund' FROM refunds x
    WHERE x.review_since IS NOT NULL AND x.status IN ('pending', 'processing', 'requires_action')
"""
_TOLD = "SELECT * FROM alerts WHERE kind = 'needs_review' AND resolved_at IS NULL"


def untold_reviews(session: Session) -> Sequence[Review]:
    """Return what needs a review and has no open alert."""
    return _reviews(
        session,
        f"SELECT r.id, r.company_id, r.noun FROM ({_REVIEWED}) r"
        f" LEFT JOIN ({_TOLD}) a ON a.subject_id = r.id WHERE a.id IS NULL LIMIT {MOST}",
    )


def ended_reviews(session: Session) -> Sequence[Review]:
    """Return what has an open alert and needs no review any more."""
    return _reviews(
        session,
        f"SELECT a.subject_id AS id, a.company_id, a.subject AS noun FROM ({_TOLD}) a"
        f" LEFT JOIN ({_REVIEWED}) r ON r.id = a.subject_id"
        f" WHERE r.id IS NULL AND a.subject_id IS NOT NULL LIMIT {MOST}",
    )


def ended_declines(session: Session) -> Sequence[Review]:
    """Return the declines with an open alert about which nobody needs to do anything any more."""
    return _reviews(
        session,
        "SELECT a.subject_id AS id, a.company_id, 'decline' AS noun FROM alerts a"
        f" WHERE a.kind = '{DECLINE_IN_REVIEW}' AND a.resolved_at IS NULL AND NOT EXISTS ("
        "SELECT 1 FROM transactions x JOIN invoices i ON i.id = x.invoice_id"
        " WHERE x.id = a.subject_id AND x.status = 'failed' AND x.dunning = 'in_review'"
        f" AND i.status = 'open') LIMIT {MOST}",
    )


def ended_unseen(session: Session, *, not_set_up: Sequence[str]) -> Sequence[Review]:
    """Return the payments with an open alert that nobody could look at them, and that need none.

    Args:
        not_set_up: the providers at which still nobody can.
    """
    return _reviews(
        session,
        "SELECT a.subject_id AS id, a.company_id, 'payment' AS noun FROM alerts a"
        f" WHERE a.kind = '{UNSEEN}' AND a.resolved_at IS NULL AND NOT EXISTS ("
        "SELECT 1 FROM transactions x JOIN invoices i ON i.id = x.invoice_id"
        " WHERE x.id = a.subject_id AND x.status IN ('failed', 'processing')"
        f" AND i.status = 'open' AND FIND_IN_SET(x.payment_method, :not_set_up)) LIMIT {MOST}",
        not_set_up=",".join(not_set_up),
    )


def _reviews(session: Session, query: str, **values: str) -> Sequence[Review]:
    typed = text(query).columns(id=Id, company_id=Id)
    found = session.execute(across_companies(typed, because="whatever needs a person"), values)
    return [Review(*row) for row in found]
