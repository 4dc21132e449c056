"""What must always hold of invoices and credit notes: a part of `models.invariants`."""

# ruff: noqa: S608  every name that is put into a query is a constant of this module

from __future__ import annotations

from models.import_invariants import IMPORTS


def _numbers(table: str, prefix: str, last: str, mark: str, but: str = "") -> str:
    """Return a query of numbers that break their company's series: one to the last one given.

    Each is looked up by the index, with the one before it and the last one. So the cost is that of
    the rows that are looked at, however many numbers their companies have.
    """
    number = "CAST(SUBSTRING_INDEX(x.number, '-', -1) AS UNSIGNED)"

    def has(wanted: str) -> str:
        return f"""EXISTS (SELECT 1 FROM {table} o
            WHERE o.company_id = x.company_id AND o.number = {named(wanted)})"""

    def named(counted: str) -> str:
        # INV-000012, and wider from a million on.
        return f"CONCAT('{prefix}-', LPAD({counted}, GREATEST(6, LENGTH({counted})), '0'))"

    return f"""
        SELECT x.id, x.company_id, x.number, c.{last}
        FROM {table} x JOIN companies c ON c.id = x.company_id
        WHERE x.number IS NOT NULL AND {mark}(x.id) {but}
            AND NOT COALESCE(x.number = {named(number)} AND {number} BETWEEN 1 AND c.{last}
                AND ({number} = 1 OR {has(f"({number} - 1)")}) AND {has(f"c.{last}")}, FALSE)
    """


# The sums of a touched invoice's entries: by the index of the invoice.
_ENTRIES = """COALESCE(
    (SELECT SUM(e.amount) FROM ledger_entries e WHERE e.invoice_id = i.id AND {}), 0)"""
_RECEIVABLE = _ENTRIES.format("e.account = 'receivable'")
_BAD_DEBT = _ENTRIES.format("e.account = 'bad_debt'")
# What moves between revenue and a company's credit has names of its own, and so has what takes an
# imported invoice out of it.
_REVENUE = _ENTRIES.format(
    "e.account = 'revenue' AND e.posting NOT LIKE 'customer-credit%'"
    " AND e.posting NOT LIKE 'imported-%'"
)
_CREDIT = _ENTRIES.format("e.account = 'credit'")
_CREDIT_LINES = """COALESCE(
    (SELECT SUM(l.total) FROM invoice_lines l
     WHERE l.invoice_id = i.id AND l.kind = 'credit'), 0)"""
# Refunds themselves stand under their transaction, notes for them do not.
_NOTED = _ENTRIES.format("e.account = 'refunds' AND e.transaction_id IS NULL")
_NOTES = """COALESCE(
    (SELECT SUM(n.amount) FROM credit_notes n
     WHERE n.invoice_id = i.id AND n.reversed_at IS NULL AND {}), 0)"""

INVOICES = {
    "the ledger's receivable of an issued invoice is what is still due": f"""
        SELECT i.id, i.amount, i.amount_paid, i.amount_credited, {_RECEIVABLE} AS booked
        FROM invoices i WHERE i.status IN ('open', 'paid') AND TOUCHED(i.id)
        HAVING booked <> i.amount - i.amount_paid - i.amount_credited
    """,
    "nothing is receivable of an invoice that is void, but what was paid goes back": f"""
        SELECT i.id, i.amount, i.amount_paid, {_RECEIVABLE} AS booked
        FROM invoices i WHERE i.status = 'void' AND TOUCHED(i.id)
        HAVING booked <> -i.amount_paid
    """,
    "what is due of an uncollectible invoice is a bad debt, and of no other": f"""
        SELECT i.id, i.status, i.amount, i.amount_paid, i.amount_credited,
            {_RECEIVABLE} AS receivable, {_BAD_DEBT} AS bad_debt
        FROM invoices i WHERE TOUCHED(i.id)
        HAVING (i.status <> 'uncollectible' AND bad_debt <> 0)
            OR (i.status = 'uncollectible'
                AND receivable + bad_debt <> i.amount - i.amount_paid - i.amount_credited)
    """,
    "the ledger's revenue of an invoice is what was billed and not credited": f"""
        SELECT i.id, i.status, i.amount, {_REVENUE} AS booked, {_NOTES.format("TRUE")} AS credited
        FROM invoices i WHERE TOUCHED(i.id)
        HAVING booked <> IF(i.status IN ('draft', 'void'), 0, credited - i.amount)
    """,
    "the credit that an invoice gave or used is in the ledger until it is undone": f"""
        SELECT i.id, i.status, i.amount, i.amount_credited,
            {_CREDIT} AS booked, {_CREDIT_LINES} AS asked
        FROM invoices i WHERE TOUCHED(i.id)
        HAVING booked <> IF(i.status IN ('draft', 'void')
            OR (i.amount > 0 AND i.amount_credited = i.amount), 0, -asked)
    """,
    "a refund's credit note stands in the ledger against the refund": f"""
        SELECT i.id, {_NOTED} AS booked, {_NOTES.format("n.refund_id IS NOT NULL")} AS credited
        FROM invoices i WHERE TOUCHED(i.id)
        HAVING booked <> -credited
    """,
    "an invoice's credited amount is that of its credit notes for no refund": f"""
        SELECT i.id, i.amount_credited, {_NOTES.format("n.refund_id IS NULL")} AS credited
        FROM invoices i WHERE TOUCHED(i.id)
        HAVING credited <> i.amount_credited
    """,
    "no more of an invoice is credited than was billed": f"""
        SELECT i.id, i.amount, {_NOTES.format("TRUE")} AS credited
        FROM invoices i WHERE TOUCHED(i.id)
        HAVING credited > i.amount
    """,
    "a credit note is of no more than the refund that it is for": """
        SELECT n.id, n.amount, r.amount, t.invoice_id, n.invoice_id
        FROM credit_notes n JOIN refunds r ON r.id = n.refund_id
        JOIN transactions t ON t.id = r.transaction_id
        WHERE TOUCHED(n.invoice_id) AND (n.amount > r.amount OR n.amount <= 0
            OR t.invoice_id <> n.invoice_id
            OR (n.reversed_at IS NULL) <> (r.status = 'succeeded'))
    """,
    "an invoice is paid if and only if its paid and credited amounts cover it": """
        SELECT i.id, i.status, i.amount, i.amount_paid, i.amount_credited FROM invoices i
        WHERE i.status IN ('open', 'paid') AND TOUCHED(i.id)
            AND (i.status = 'paid') <> (i.amount_paid + i.amount_credited >= i.amount)
    """,
    "an invoice has its number, its date and whom it bills once it is issued": """
        SELECT i.id, i.status, i.number, i.issued_at FROM invoices i
        WHERE TOUCHED(i.id) AND (
            (i.status = 'draft') <> (i.number IS NULL)
            OR (i.status = 'draft') <> (i.issued_at IS NULL)
            OR (i.status = 'draft') <> (i.billed_to IS NULL))
    """,
    "an invoice's amount is its subtotal less discounts plus taxes": """
        SELECT i.id, i.subtotal, i.discount_amount, i.tax_amount, i.amount FROM invoices i
        WHERE TOUCHED(i.id) AND i.subtotal - i.discount_amount + i.tax_amount <> i.amount
    """,
    "a line's total is its amount less its discount plus its taxes": """
        SELECT l.id, l.amount, l.discount_amount, l.tax_amount, l.total FROM invoice_lines l
        WHERE TOUCHED(l.invoice_id) AND l.amount - l.discount_amount + l.tax_amount <> l.total
    """,
    "an invoice's totals are the sums of its lines": """
        SELECT i.id, i.amount, SUM(l.total), i.subtotal, SUM(l.amount),
            i.discount_amount, SUM(l.discount_amount), i.tax_amount, SUM(l.tax_amount)
        FROM invoices i JOIN invoice_lines l ON l.invoice_id = i.id
        WHERE TOUCHED(i.id)
        GROUP BY i.id, i.amount, i.subtotal, i.discount_amount, i.tax_amount
        HAVING i.amount <> SUM(l.total) OR i.subtotal <> SUM(l.amount)
            OR i.discount_amount <> SUM(l.discount_amount) OR i.tax_amount <> SUM(l.tax_amount)
    """,
    "the numbers of a company's invoices have no gap and no twin": _numbers(
        "invoices",
        "INV",
        "last_invoice_number",
        "TOUCHED",
        # A series of their own, which another system has given.
        but="AND NOT EXISTS (SELECT 1 FROM imported_invoices m WHERE m.invoice_id = x.id)",
    ),
    "the numbers of a company's credit notes have no gap and no twin": _numbers(
        "credit_notes", "CN", "last_credit_note_number", "NEW"
    ),
    **IMPORTS,
}
