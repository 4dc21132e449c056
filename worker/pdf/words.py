"""What documents say around what was billed, in each language that a company may have."""

from __future__ import annotations

from models.tenants import Language

_KEYS = (
    "invoice credit_note number issued_on due_on period billed_to tax_id description quantity"
    " unit_amount discount tax amount subtotal of total credited for_invoice pay_until page"
).split()
_TEXTS: dict[str, str] = {
    Language.ENGLISH: """
        Invoice|Credit note|Number|Date|Due on|Period|Billed to|Tax no.|Description|Quantity
        Unit price|Discount|Tax|Amount|Subtotal|of|Total|Credited|For invoice
        Please pay by {}.|Page
    """,
    Language.GERMAN: """
        Rechnung|Gutschrift|Nummer|Datum|Fällig am|Zeitraum|Rechnung an|Steuernr.|Beschreibung|Menge
        Einzelpreis|Rabatt|Steuer|Betrag|Zwischensumme|auf|Gesamtbetrag|Gutgeschrieben|Zur Rechnung
        Zahlbar bis {}.|Seite
    """,
    Language.FRENCH: """
        Facture|Avoir|Numéro|Date|Échéance|Période|Facturé à|N° fiscal|Description|Quantité
        Prix unitaire|Remise|Taxe|Montant|Sous-total|sur|Total|Montant de l'avoir|Pour la facture
        À payer au plus tard le {}.|Page
    """,
    Language.SPANISH: """
        Factura|Nota de crédito|Número|Fecha|Vencimiento|Período|Facturado a|NIF
        Descripción|Cantidad
        Precio unitario|Descuento|Impuesto|Importe|Subtotal|sobre|Total
        Importe abonado|De la factura
        Pagadero hasta el {}.|Página
    """,
    Language.HINDI: """
        चालान|क्रेडिट नोट|संख्या|दिनांक|देय तिथि|अवधि|बिल प्राप्तकर्ता|कर संख्या|विवरण|मात्रा
        इकाई मूल्य|छूट|कर|राशि|उप-योग|पर|कुल राशि|जमा राशि|चालान के लिए
        कृपया {} तक भुगतान करें।|पृष्ठ
    """,
}


def _read(text: str) -> dict[str, str]:
    several = [word for line in text.strip().splitlines() for word in line.strip().split("|")]
    return dict(zip(_KEYS, several, strict=True))


WORDS: dict[str, dict[str, str]] = {str(language): _read(text) for language, text in _TEXTS.items()}


def words_of(language: str) -> dict[str, str]:
    """Return the words of a language; English stands in for one that is not known."""
    return WORDS.get(language, WORDS[Language.ENGLISH])
