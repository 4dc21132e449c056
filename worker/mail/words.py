"""What letters say around their own text, in each language; `en` stands in for what is missing."""

from __future__ import annotations

from schedules.declines import ACTIONS, CustomerAction

FALLBACK = "en"
# What every layout needs.
LAYOUT: dict[str, dict[str, str]] = {
    "en": {
        "hello": "Hello",
        "why": "You get this because you are a contact for payments at this company.",
        "unsubscribe": "Send me no more mail of this kind",
    },
    "de": {
        "hello": "Guten Tag",
        "why": "Sie erhalten dies als Kontakt für Zahlungen bei diesem Unternehmen.",
        "unsubscribe": "Solche E-Mails nicht mehr senden",
    },
}
# What the customer is to do about a decline.
TO_DO: dict[str, dict[CustomerAction, str]] = {
    "en": {**ACTIONS, CustomerAction.NONE: "You need not do anything for now."},
    "de": {
        CustomerAction.NONE: "Sie müssen vorerst nichts tun.",
        CustomerAction.ADD_FUNDS: "Sorgen Sie für Deckung der Karte, oder zahlen Sie anders.",
        CustomerAction.CONTACT_BANK: "Bitten Sie Ihre Bank, die Zahlung zuzulassen, oder zahlen "
        "Sie anders.",
        CustomerAction.UPDATE_CARD: "Geben Sie die Kartendaten neu ein, oder zahlen Sie anders.",
        CustomerAction.AUTHENTICATE: "Bestätigen Sie die Zahlung im Browser bei Ihrer Bank.",
        CustomerAction.USE_ANOTHER_METHOD: "Zahlen Sie anders: Dieses Zahlungsmittel wird nicht "
        "angenommen.",
        CustomerAction.PAY_IN_BROWSER: "Zahlen Sie im Browser oder auf der Seite des Anbieters.",
        CustomerAction.PAY_AGAIN: "Beginnen Sie eine neue Zahlung: Aus dieser wird nichts mehr.",
    },
}

# Why a payment is disputed, as Stripe and PayPal name it; in English their names are words.
REASONS: dict[str, dict[str, str]] = {
    "en": {},
    "de": {
        "bank_cannot_process": "von der Bank nicht ausführbar",
        "canceled_recurring_billing": "Abonnement gekündigt",
        "check_returned": "Scheck zurückgegeben",
        "credit_not_processed": "Gutschrift nicht erhalten",
        "customer_initiated": "vom Kunden veranlasst",
        "debit_not_authorized": "Lastschrift nicht erlaubt",
        "duplicate": "doppelt abgebucht",
        "duplicate_transaction": "doppelt abgebucht",
        "fraudulent": "Betrugsverdacht",
        "general": "allgemein",
        "incorrect_account_details": "falsche Kontodaten",
        "incorrect_amount": "falscher Betrag",
        "insufficient_funds": "keine Deckung",
        "merchandise_or_service_not_as_described": "Leistung nicht wie beschrieben",
        "merchandise_or_service_not_received": "Leistung nicht erhalten",
        "noncompliant": "Regelverstoß",
        "other": "anderer Grund",
        "payment_by_other_means": "auf anderem Weg bezahlt",
        "problem_with_remittance": "Problem mit der Überweisung",
        "product_not_received": "Leistung nicht erhalten",
        "product_unacceptable": "Leistung mangelhaft",
        "subscription_canceled": "Abonnement gekündigt",
        "unauthorised": "Zahlung nicht erlaubt",
        "unrecognized": "Zahlung nicht erkannt",
    },
}


def layout(language: str) -> dict[str, str]:
    """Return the words of the layout."""
    return LAYOUT.get(language, LAYOUT[FALLBACK])


def to_do(language: str, action: str | None) -> str:
    """Return what the customer is to do, as a sentence."""
    sentences = TO_DO.get(language, TO_DO[FALLBACK])
    known = CustomerAction(action) if action in set(CustomerAction) else CustomerAction.NONE
    return sentences[known]


def reason(language: str, name: str) -> str:
    """Return why a payment is disputed, in words; the provider's own where there are none."""
    return REASONS.get(language, {}).get(name, name.replace("_", " "))
