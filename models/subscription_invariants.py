"""What must always hold of subscriptions; `models.invariants` runs these with the others."""

# ruff: noqa: S608  every name that is put into a query is a constant of this module

from __future__ import annotations

_OF_THE_COMPANY = {
    f"{child} are of the company of their {parent}": f"""
        SELECT child.id, child.company_id, parent.company_id
        FROM {child} child JOIN {parent} parent ON parent.id = child.{key}
        WHERE child.company_id <> parent.company_id AND NEW(child.id)
    """
    for child, key, parent in (
        ("invoices", "subscription_id", "subscriptions"),
        ("subscription_items", "subscription_id", "subscriptions"),
        ("subscription_periods", "subscription_id", "subscriptions"),
        ("subscription_changes", "subscription_id", "subscriptions"),
    )
}

SUBSCRIPTIONS = {
    "each period of a subscription has exactly one invoice once it is billed": """
        SELECT p.id, p.status, p.invoice_id FROM subscription_periods p
        WHERE TOUCHED(p.subscription_id) AND (p.status = 'invoiced') <> (p.invoice_id IS NOT NULL)
    """,
    "an invoice of a subscription is that of exactly one period": """
        SELECT i.id, i.subscription_id FROM invoices i
        WHERE i.subscription_id IS NOT NULL AND TOUCHED(i.id) AND NOT EXISTS (
            SELECT 1 FROM subscription_periods p
            WHERE p.invoice_id = i.id AND p.subscription_id = i.subscription_id)
    """,
    "the periods of a subscription do not overlap": """
        SELECT a.id, b.id, a.ends_at, b.starts_at
        FROM subscription_periods a JOIN subscription_periods b
            ON b.subscription_id = a.subscription_id
            AND b.starts_at > a.starts_at AND b.starts_at < a.ends_at
        WHERE TOUCHED(a.subscription_id)
    """,
    "what goes on is in a period that has its row": """
        SELECT s.id, s.status, s.current_period_start FROM subscriptions s
        WHERE s.status IN ('active', 'past_due', 'unpaid') AND s.provider IS NULL AND TOUCHED(s.id)
            AND NOT EXISTS (
                SELECT 1 FROM subscription_periods p
                WHERE p.subscription_id = s.id AND p.starts_at = s.current_period_start)
    """,
    "a period that is not billed yet is owed its invoice": """
        SELECT x.id, x.starts_at FROM subscription_periods x
        WHERE x.status = 'generating' AND NEW(x.id) AND x.id NOT IN (
            SELECT COALESCE(CAST(UNHEX(REPLACE(JSON_UNQUOTE(
                JSON_EXTRACT(o.arguments, '$.period_id')), '-', '')) AS BINARY(16)), '')
            FROM outbox o WHERE o.task = 'invoicing.generate')
    """,
    "a company's credit is never used up beyond what it was given": """
        SELECT e.company_id, e.currency, SUM(e.amount) FROM ledger_entries e
        WHERE e.account = 'credit' AND e.company_id IN (
            SELECT c.company_id FROM ledger_entries c
            WHERE c.account = 'credit' AND POSTED(c.posting))
        GROUP BY e.company_id, e.currency HAVING SUM(e.amount) > 0
    """,
    **_OF_THE_COMPANY,
}
