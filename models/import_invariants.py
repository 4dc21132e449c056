"""What must always hold of imports; `models.invariants` runs these with the others."""

from __future__ import annotations

IMPORTS = {
    "an import that runs holds its place, and one that has ended holds none": """
        SELECT i.id, i.status, i.running_key FROM imports i
        WHERE NEW(i.id) AND ((i.status = 'running') <> (i.running_key IS NOT NULL)
            OR (i.status = 'running') <> (i.finished_at IS NULL))
    """,
    "everything that an import has seen became something": """
        SELECT i.id, i.seen, i.made, i.updated, i.skipped, i.refused FROM imports i
        WHERE NEW(i.id) AND (i.seen <> i.made + i.updated + i.skipped + i.refused
            OR i.refusals < i.refused)
    """,
    "a dry run's import has made nothing": """
        SELECT m.id, m.import_id FROM imported_invoices m JOIN imports i ON i.id = m.import_id
        WHERE NEW(m.id) AND i.is_dry_run
    """,
    "an imported invoice is of its company and of the import's tenant": """
        SELECT m.id, m.company_id, v.company_id, c.tenant_id, i.tenant_id
        FROM imported_invoices m JOIN invoices v ON v.id = m.invoice_id
        JOIN companies c ON c.id = m.company_id JOIN imports i ON i.id = m.import_id
        WHERE NEW(m.id) AND (v.company_id <> m.company_id OR c.tenant_id <> i.tenant_id)
    """,
    "no revenue of ours is in what was billed and paid before an invoice was imported": """
        SELECT m.id, v.amount, m.paid_before, v.status,
            COALESCE((SELECT SUM(e.amount) FROM ledger_entries e
                WHERE e.invoice_id = v.id AND e.account = 'opening'), 0) AS opened
        FROM imported_invoices m JOIN invoices v ON v.id = m.invoice_id
        WHERE TOUCHED(v.id)
        HAVING opened <> m.paid_before - v.amount
            AND NOT (opened = 0 AND v.status = 'void' AND m.paid_before = 0)
    """,
}
