"""What must always hold of the ladder; `models.invariants` runs these with the others."""

from __future__ import annotations

LADDER = {
    "a payment has a date to be tried again if and only if it is scheduled": """
        SELECT id, status, dunning, next_retry_at FROM transactions t
        WHERE TOUCHED(t.id) AND (
            (next_retry_at IS NOT NULL AND dunning <> 'scheduled')
            OR (next_retry_at IS NULL AND dunning = 'scheduled' AND status = 'failed'))
    """,
    "an invoice is tried again by the ladder at most three times with a card": """
        SELECT t.invoice_id, a.fingerprint, COUNT(*)
        FROM payment_attempts a JOIN transactions t ON t.id = a.transaction_id
        WHERE a.made_by = 'ladder'
            AND t.invoice_id IN (SELECT y.invoice_id FROM transactions y WHERE TOUCHED(y.id))
        GROUP BY t.invoice_id, a.fingerprint HAVING COUNT(*) > 3
    """,
    "no attempt is made on a card that was declined ten times in 30 days": """
        SELECT a.id, COUNT(*)
        FROM payment_attempts a
        JOIN payment_attempts d ON d.fingerprint = a.fingerprint AND d.advice IS NOT NULL
            AND d.created_at > a.created_at - INTERVAL 30 DAY AND d.finished_at < a.created_at
        WHERE TOUCHED(a.transaction_id)
        GROUP BY a.id HAVING COUNT(*) >= 10
    """,
    "what is refused for good, or is the customer's to mend, is not climbed from": """
        SELECT a.id, d.advice
        FROM payment_attempts a
        JOIN payment_attempts d ON d.transaction_id = a.transaction_id
            AND d.number = a.number - 1 AND d.fingerprint = a.fingerprint
        WHERE a.made_by = 'ladder' AND TOUCHED(a.transaction_id)
            AND (d.advice IN ('stop', 'stop_and_review', 'look_up')
                OR d.decline_code = 'authentication_required')
    """,
}
