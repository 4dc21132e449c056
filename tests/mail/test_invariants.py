"""What must always hold of letters, broken on purpose."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from models.base import FencedSession, across_companies
from models.invariants import ALLOWED, ENDS_WHERE, Violation, looks
from models.mail_invariants import MAIL
from worker.database import engine

OF_ANOTHER = """
    UPDATE notifications n JOIN mails m ON m.notification_id = n.id
    SET n.company_id = n.id WHERE m.id = :mail
"""


def told(session) -> set[Violation]:
    """What the sentences about letters find."""
    each = looks(limit=100_000)
    ours = [look for name, look in each if name in MAIL or name.startswith("every mail ")]
    assert len(ours) == len(MAIL) + 1
    return {violation for look in ours for violation in look(session)}


def broken_by(office, statement: str) -> set[str]:
    """What is told of this company's letters once a statement has broken them."""
    mail = office.letter()
    with FencedSession(engine()) as session:
        before = told(session)
        done = session.execute(
            across_companies(text(statement), because="a test"), {"mail": mail.id.bytes}
        )
        assert done.rowcount == 1
        found = told(session) - before
        session.rollback()
    assert all(str(mail.id) in violation.detail for violation in found)
    return {violation.invariant for violation in found}


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (
            "UPDATE mails SET status = 'owed' WHERE id = :mail",
            "a letter that has not been sent is owed",
        ),
        (
            OF_ANOTHER,
            "a letter is of the company of its notice",
        ),
        ("UPDATE mails SET status = 'delivered' WHERE id = :mail", ENDS_WHERE),
        (
            "UPDATE timeline SET became = 'bounced' WHERE subject_id = :mail AND was = 'owed'",
            ALLOWED,
        ),
    ],
)
def test_what_breaks_an_invariant_of_letters_is_told(office, statement, sentence):
    office.notify("payment_failed")
    office.send()
    assert sentence in broken_by(office, statement)
