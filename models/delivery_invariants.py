"""What must always hold of deliveries; `models.invariants` runs these with the others."""

from __future__ import annotations

DELIVERIES = {
    "a delivery has a date to be made if and only if it is pending": """
        SELECT d.id, d.status, d.next_attempt_at FROM endpoint_deliveries d
        WHERE NEW(d.id) AND
            (d.status IN ('owed', 'delivering')) <> (d.next_attempt_at IS NOT NULL)
    """,
    "a message is delivered to endpoints of its own tenant, and of its company or all": """
        SELECT d.id, e.company_id, m.company_id
        FROM endpoint_deliveries d
        JOIN endpoints e ON e.id = d.endpoint_id
        JOIN endpoint_messages m ON m.id = d.message_id
        WHERE NEW(d.id) AND (
            e.tenant_id <> m.tenant_id
            OR (e.company_id IS NOT NULL AND NOT e.company_id <=> m.company_id))
    """,
}
