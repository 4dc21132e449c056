"""Letters lead to the portal: by a link that lets in to what they are about."""

from __future__ import annotations

import re

import pytest

from models.invoices import Invoice
from models.notifications import owe_notice
from models.tenants import User
from tests.factories import make_invoice
from worker import portal
from worker.database import transaction
from worker.mail.composing import letter_of

LINK = re.compile(r"https://pay\.example\.com/portal/#([\w.-]+)")


def led_to(office) -> set[tuple[bool, object]]:
    """What the links of the last letter let in to, in both of its forms."""
    with transaction(company_id=office.company_id) as session:
        letter = letter_of(session, office.letters()[-1])
    found = set()
    for form in (letter.text, letter.html):
        (token,) = set(LINK.findall(form))
        link = portal.link_of(token)
        found.add((link.company_id == office.company_id, link.invoice_id))
    return found


@pytest.mark.parametrize("template", ["invoice_issued", "payment_failed", "retry_scheduled"])
def test_a_letter_about_an_invoice_leads_to_paying_it(office, template):
    invoice_id = make_invoice(office.company_id)
    with transaction(company_id=office.company_id) as session:
        invoice = session.get_one(Invoice, invoice_id)
        told = {"invoice_id": str(invoice_id), "amount": "1.00", "currency": "INR"}
        more = {
            "invoice_number": invoice.number,
            "due_on": None,
            "action": "none",
            "retry_at": None,
        }
        owe_notice(session, template, invoice, **told, **more)
    office.run(*office.owed("notifications.notify"))
    assert led_to(office) == {(True, invoice_id)}


@pytest.mark.parametrize("template", ["card_expiring", "trial_ending", "credit_note_issued"])
def test_a_letter_about_an_account_leads_to_it(office, template):
    office.notify(template)
    assert led_to(office) == {(True, None)}


def test_a_new_link_is_for_the_companys_own_address(office):
    with transaction() as session:
        session.get_one(User, office.customer.user_id).is_active = True
    office.notify("portal_link")
    assert [each.recipient for each in office.letters()] == ["billing@example.com"]
    assert led_to(office) == {(True, None)}
