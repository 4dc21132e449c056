"""What must always hold of letters; `models.invariants` runs these with the others."""

from __future__ import annotations

MAIL = {
    "a letter that has not been sent is owed": """
        SELECT x.id, x.status FROM mails x
        WHERE x.status IN ('owed', 'sending') AND x.id NOT IN (
            SELECT COALESCE(CAST(UNHEX(REPLACE(
                JSON_UNQUOTE(JSON_EXTRACT(o.arguments, '$.mail_id')), '-', '')) AS BINARY(16)), '')
            FROM outbox o WHERE o.task = 'mail.send')
    """,
    "a letter is of the company of its notice": """
        SELECT m.id, m.company_id, n.company_id
        FROM mails m JOIN notifications n ON n.id = m.notification_id
        WHERE m.company_id <> n.company_id AND NEW(m.id)
    """,
}
