"""Finding a payment or an invoice by what people have at hand: an id, a number, or how it begins.

Every way to match is a range of an index. A beginning counts from eight characters on, which is
few rows however many there are: ids, ours and the providers', begin with their time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, false, select, union
from sqlalchemy.orm import InstrumentedAttribute

from models.base import Base
from models.invoices import Invoice
from models.transactions import Transaction

BEGINNING = 8
# All that ids, ours and the providers', and numbers are written in.
_WRITTEN = re.compile("[A-Za-z0-9_-]+")
_HEX = frozenset("0123456789abcdef")
_ID_DIGITS = 32
_NUMBER_DIGITS = 6


@dataclass(frozen=True)
class Term:
    """What is looked for, as it may be meant."""

    text: str

    @property
    def may_match(self) -> bool:
        """Return whether anything can be called so: people look for names too."""
        return _WRITTEN.fullmatch(self.text) is not None

    @property
    def ids(self) -> tuple[UUID, UUID] | None:
        """Return the first and the last id that begin so, if it can be the beginning of one."""
        digits = self.text.lower().replace("-", "")
        if not BEGINNING <= len(digits) <= _ID_DIGITS or not _HEX.issuperset(digits):
            return None
        return UUID(digits.ljust(_ID_DIGITS, "0")), UUID(digits.ljust(_ID_DIGITS, "f"))

    def matches(self, column: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
        """Return the condition that a column is this or, if that is enough, begins so."""
        if len(self.text) < BEGINNING:
            return column == self.text
        # In the pattern these would be any character.
        return column.startswith(self.text, autoescape=True)

    def is_number(self) -> ColumnElement[bool]:
        """Return the condition on an invoice's number; people leave its first letters out."""
        if self.text.isdecimal() and len(self.text) <= _NUMBER_DIGITS:
            return Invoice.number == f"INV-{self.text.zfill(_NUMBER_DIGITS)}"
        return self.matches(Invoice.number)


def of_payments(query: Select[Any], text: str, *, company_id: UUID) -> Select[Any]:
    """Narrow a query to the company's payments that `text` may mean.

    By the payment's id or its invoice's, the invoice's number, the provider's ids.
    """
    term = Term(text)
    if not term.may_match:
        return query.where(false())
    own = select(Transaction.id).where(Transaction.company_id == company_id)
    ways = [
        own.where(term.matches(Transaction.provider_transaction_id)),
        own.where(term.matches(Transaction.payment_processor_id)),
        own.join(Invoice, Invoice.id == Transaction.invoice_id).where(
            Invoice.company_id == company_id, term.is_number()
        ),
    ]
    if (ids := term.ids) is not None:
        ways += [own.where(Transaction.id.between(*ids))]
        ways += [own.where(Transaction.invoice_id.between(*ids))]
    return _among(query, ways, Transaction)


def of_invoices(query: Select[Any], text: str, *, company_id: UUID) -> Select[Any]:
    """Narrow a query to the company's invoices that `text` may mean: by number or id."""
    term = Term(text)
    if not term.may_match:
        return query.where(false())
    own = select(Invoice.id).where(Invoice.company_id == company_id)
    ways = [own.where(term.is_number())]
    if (ids := term.ids) is not None:
        ways += [own.where(Invoice.id.between(*ids))]
    return _among(query, ways, Invoice)


def _among(query: Select[Any], ways: list[Select[Any]], table: type[Base]) -> Select[Any]:
    found = union(*ways).subquery()
    narrowed = query.select_from(found).join(table, table.id == found.c.id)
    # What was found comes first: an optimizer has read all of the company's rows beside it.
    return narrowed.prefix_with("STRAIGHT_JOIN")
