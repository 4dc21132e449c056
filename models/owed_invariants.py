"""What must always hold of what is owed; `models.invariants` runs these with the others."""

# ruff: noqa: S608  every name that is put into a query is a constant of this module

from __future__ import annotations

# Whether a task is owed for row `x`, or is dead and shown: either way it is not forgotten. The set
# is made once for all rows: as 16 bytes and without NULL, for else each row would read the outbox.
_IS_OWED = """
    x.id IN (
        SELECT COALESCE(CAST(UNHEX(REPLACE(
            JSON_UNQUOTE(JSON_EXTRACT(o.arguments, '$.{argument}')), '-', '')) AS BINARY(16)), '')
        FROM outbox o WHERE o.task IN ({tasks})
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
    "a retry that was begun was made, or is owed": f"""
        SELECT x.id, x.last_retry_at FROM transactions x
        WHERE x.status = 'processing'
            AND x.last_retry_at > (
                SELECT MAX(a.created_at) FROM payment_attempts a WHERE a.transaction_id = x.id)
            AND NOT {_owed("transaction_id", "payments.charge")}
    """,
    "a refund that has not been sent is owed": f"""
        SELECT x.id, x.status FROM refunds x
        WHERE x.status IN ('pending', 'processing') AND x.provider_refund_id IS NULL
            AND x.review_since IS NULL
            AND NOT {_owed("refund_id", "refunds.send")}
    """,
    "what is asked of the provider about a dispute is owed until it is sent": f"""
        SELECT x.id, x.kind FROM dispute_actions x
        WHERE x.status = 'pending' AND NOT {_owed("action_id", "disputes.send")}
    """,
    "a payment method that has not been attached is owed": f"""
        SELECT x.id, x.status FROM payment_methods x
        WHERE x.status = 'pending' AND NOT {_owed("method_id", "methods.attach")}
    """,
    "an event that was received is owed, and one that was handled is not": f"""
        SELECT x.id, x.provider_event_id, x.status FROM payment_webhooks x
        WHERE NEW(x.id) AND (x.status IN ('received', 'processing', 'failed'))
            <> {_owed("event_id", "webhooks.handle", "webhooks.verify")}
    """,
    "an event that was handled had exactly one effect": """
        SELECT w.id, w.provider_event_id, COUNT(t.id)
        FROM payment_webhooks w
        LEFT JOIN timeline t
            ON t.subject_id = COALESCE(w.transaction_id, w.subject_id)
                AND t.event_id = w.provider_event_id AND t.what IN ('event', 'replay')
        WHERE w.status = 'completed' AND NEW(w.id)
        -- Each time that an operator has it handled again allows for one more.
        GROUP BY w.id, w.provider_event_id
        HAVING SUM(CASE t.what WHEN 'event' THEN 1 WHEN 'replay' THEN -1 ELSE 0 END) <> 1
    """,
}
