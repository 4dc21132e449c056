"""What must always hold of modules and their use; `models.invariants` runs these too."""

from __future__ import annotations

USAGE = {
    "each use is counted in exactly one period": """
        SELECT u.id, COUNT(t.id) FROM module_usage u
        LEFT JOIN module_usage_totals t
            ON t.company_id = u.company_id AND t.module_id = u.module_id
                AND t.period_start <= u.at AND t.period_end > u.at
        WHERE NEW(u.id)
        GROUP BY u.id HAVING COUNT(t.id) <> 1
    """,
    "the use of a period is the sum of what was recorded in it": """
        SELECT t.id, t.used, COALESCE((
            SELECT SUM(u.quantity) FROM module_usage u
            WHERE u.company_id = t.company_id AND u.module_id = t.module_id
                AND u.at >= t.period_start AND u.at < t.period_end), 0) AS recorded
        FROM module_usage_totals t
        WHERE NEW(t.id) OR (t.company_id, t.module_id) IN (
            SELECT n.company_id, n.module_id FROM module_usage n WHERE NEW(n.id))
        HAVING t.used <> recorded
    """,
    "use of a time that a subscription has billed was billed, or waits as late": """
        SELECT h.company_id, h.module_id, h.subscription_id,
            SUM(h.billed_units + h.late_units) AS counted, COALESCE((
                SELECT SUM(u.quantity) FROM module_usage u
                WHERE u.company_id = h.company_id AND u.module_id = h.module_id AND EXISTS (
                    SELECT 1 FROM company_modules w
                    WHERE w.subscription_id = h.subscription_id AND w.module_id = u.module_id
                        AND u.at >= w.billed_from AND u.at < w.billed_until)), 0) AS recorded
        FROM company_modules h
        WHERE h.subscription_id IS NOT NULL AND (TOUCHED(h.subscription_id)
            OR (h.company_id, h.module_id) IN (
                SELECT n.company_id, n.module_id FROM module_usage n WHERE NEW(n.id)))
        GROUP BY h.company_id, h.module_id, h.subscription_id
        HAVING counted <> recorded
    """,
    "a company has modules of its own tenant": """
        SELECT h.id FROM company_modules h
        JOIN modules m ON m.id = h.module_id
        JOIN companies c ON c.id = h.company_id
        WHERE c.tenant_id <> m.tenant_id AND NEW(h.id)
    """,
}
