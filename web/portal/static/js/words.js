/** What the page says, in the company's language; English stands in for what is missing. */

const EN = {
  account: "Your account",
  invoice: "Invoice",
  invoices: "Invoices",
  due: "Due",
  dueOn: "Due on {day}",
  issued: "Issued",
  total: "Total",
  taxes: "Taxes",
  discount: "Discount",
  credited: "Credited",
  paidSoFar: "Paid so far",
  amountDue: "Amount due",
  description: "Description",
  quantity: "Quantity",
  amount: "Amount",
  billedTo: "For {company}",
  pdf: "Download PDF",
  pdfOf: "PDF of {number}",
  pay: "Pay {amount}",
  payWith: "Pay with",
  card: "Card",
  paypal: "PayPal",
  toPayPal: "Continue to PayPal",
  kept: "{brand} ending in {digits}",
  paying: "Paying…",
  processing: "Your payment is on its way",
  processingMore: "It can take a moment. This page shows by itself what became of it.",
  paid: "Paid",
  paidThanks: "Thank you. The invoice is paid.",
  void: "This invoice was canceled",
  voidMore: "Nothing is to be paid.",
  uncollectible: "This invoice is closed",
  uncollectibleMore: "It cannot be paid here any more. Please ask {issuer}.",
  declined: "The payment was declined",
  cardDeclined: "The card was declined",
  payments: "Payments",
  refund: "Refund",
  creditNote: "Credit note",
  noInvoices: "There are no invoices yet.",
  more: "Show more",
  back: "All invoices",
  cards: "Ways to pay",
  addCard: "Add a card",
  saveCard: "Save card",
  update: "Replace",
  remove: "Remove",
  removeSure: "Remove {name}? It is charged no more.",
  makeDefault: "Make default",
  isDefault: "Default",
  expires: "Good until {date}",
  expired: "Expired",
  saved: "The card is saved.",
  saving: "Saving…",
  removed: "It is removed.",
  chosen: "It is charged by default from now on.",
  useAsDefault: "Charge it by default",
  noCards: "Nothing is saved yet.",
  cancel: "Cancel",
  ended: "This link has ended",
  endedMore: "For your safety links work for a while only. We can mail you a new one.",
  visitEnded: "Please open your link again",
  visitEndedMore: "You have been away for a while. Open the link in your letter again, or have a new one mailed.",
  ask: "Mail me a new link",
  asked: "If the link was one of ours, a new one is on its way to the address that we have for its company.",
  bad: "This link does not work",
  badMore: "It may have been cut off. Open it from the letter, or copy all of it.",
  none: "Open the link from your letter",
  noneMore: "Invoices are seen and paid here by the links in the letters about them.",
  failed: "Something went wrong",
  tryAgain: "Try again",
  noWay: "Nothing can be paid here at the moment. Please ask {issuer}.",
  tooMany: "Please wait a moment and try again.",
  noServer: "The server cannot be reached. Check your connection and try again.",
  canceledAtPayPal: "You have left PayPal without paying. Nothing was charged.",
  status: {
    open: "Open", paid: "Paid", void: "Canceled", uncollectible: "Closed",
    pending: "Processing", processing: "Processing", requires_action: "Waits for you", succeeded: "Succeeded",
    failed: "Failed", canceled: "Canceled", partially_refunded: "Partly refunded", refunded: "Refunded", needs_review: "Processing",
  },
  advice: {
    funds: "There are not enough funds, or the card's limit is reached. Use another card, or try again later.",
    data: "Check the card's number, date and security code, and try again, or use another card.",
    bank: "Your bank must confirm the payment. Try again and confirm it, or use another card.",
    other: "Use another card, or ask your bank why it declined.",
  },
};

/** @type {typeof EN} */
const DE = {
  account: "Ihr Konto",
  invoice: "Rechnung",
  invoices: "Rechnungen",
  due: "Fällig",
  dueOn: "Fällig am {day}",
  issued: "Ausgestellt",
  total: "Gesamtbetrag",
  taxes: "Steuern",
  discount: "Rabatt",
  credited: "Gutgeschrieben",
  paidSoFar: "Bisher bezahlt",
  amountDue: "Offener Betrag",
  description: "Beschreibung",
  quantity: "Menge",
  amount: "Betrag",
  billedTo: "Für {company}",
  pdf: "PDF herunterladen",
  pdfOf: "PDF von {number}",
  pay: "{amount} bezahlen",
  payWith: "Bezahlen mit",
  card: "Karte",
  paypal: "PayPal",
  toPayPal: "Weiter zu PayPal",
  kept: "{brand} mit Endziffern {digits}",
  paying: "Wird bezahlt…",
  processing: "Ihre Zahlung ist unterwegs",
  processingMore: "Das kann einen Moment dauern. Diese Seite zeigt von selbst, was daraus wird.",
  paid: "Bezahlt",
  paidThanks: "Vielen Dank. Die Rechnung ist bezahlt.",
  void: "Diese Rechnung wurde storniert",
  voidMore: "Es ist nichts zu bezahlen.",
  uncollectible: "Diese Rechnung ist geschlossen",
  uncollectibleMore: "Sie kann hier nicht mehr bezahlt werden. Bitte fragen Sie {issuer}.",
  declined: "Die Zahlung wurde abgelehnt",
  cardDeclined: "Die Karte wurde abgelehnt",
  payments: "Zahlungen",
  refund: "Erstattung",
  creditNote: "Gutschrift",
  noInvoices: "Es gibt noch keine Rechnungen.",
  more: "Mehr anzeigen",
  back: "Alle Rechnungen",
  cards: "Zahlungsmittel",
  addCard: "Karte hinzufügen",
  saveCard: "Karte speichern",
  update: "Ersetzen",
  remove: "Entfernen",
  removeSure: "{name} entfernen? Damit wird nichts mehr bezahlt.",
  makeDefault: "Als Standard festlegen",
  isDefault: "Standard",
  expires: "Gültig bis {date}",
  expired: "Abgelaufen",
  saved: "Die Karte ist gespeichert.",
  saving: "Wird gespeichert…",
  removed: "Es ist entfernt.",
  chosen: "Damit wird von nun an bezahlt.",
  useAsDefault: "Als Standard verwenden",
  noCards: "Es ist noch nichts gespeichert.",
  cancel: "Abbrechen",
  ended: "Dieser Link ist abgelaufen",
  endedMore: "Zu Ihrer Sicherheit gelten Links nur eine Weile. Wir können Ihnen einen neuen schicken.",
  visitEnded: "Bitte öffnen Sie Ihren Link noch einmal",
  visitEndedMore: "Sie waren eine Weile weg. Öffnen Sie den Link in Ihrer E-Mail erneut, oder lassen Sie sich einen neuen schicken.",
  ask: "Neuen Link schicken",
  asked: "War der Link von uns, ist ein neuer unterwegs an die Adresse, die wir von seinem Unternehmen haben.",
  bad: "Dieser Link funktioniert nicht",
  badMore: "Vielleicht wurde er abgeschnitten. Öffnen Sie ihn aus der E-Mail, oder kopieren Sie ihn ganz.",
  none: "Öffnen Sie den Link aus Ihrer E-Mail",
  noneMore: "Rechnungen sehen und bezahlen Sie hier über die Links in den E-Mails dazu.",
  failed: "Etwas ist schiefgegangen",
  tryAgain: "Noch einmal versuchen",
  noWay: "Hier kann im Moment nicht bezahlt werden. Bitte fragen Sie {issuer}.",
  tooMany: "Bitte warten Sie einen Moment und versuchen Sie es noch einmal.",
  noServer: "Der Server ist nicht erreichbar. Prüfen Sie Ihre Verbindung und versuchen Sie es noch einmal.",
  canceledAtPayPal: "Sie haben PayPal verlassen, ohne zu bezahlen. Es wurde nichts abgebucht.",
  status: {
    open: "Offen", paid: "Bezahlt", void: "Storniert", uncollectible: "Geschlossen",
    pending: "In Arbeit", processing: "In Arbeit", requires_action: "Wartet auf Sie", succeeded: "Erfolgreich",
    failed: "Fehlgeschlagen", canceled: "Abgebrochen", partially_refunded: "Teilweise erstattet", refunded: "Erstattet", needs_review: "In Arbeit",
  },
  advice: {
    funds: "Die Karte ist nicht gedeckt oder ihr Limit erreicht. Nehmen Sie eine andere, oder versuchen Sie es später noch einmal.",
    data: "Prüfen Sie Nummer, Datum und Prüfziffer, und versuchen Sie es noch einmal, oder nehmen Sie eine andere Karte.",
    bank: "Ihre Bank muss die Zahlung bestätigen. Versuchen Sie es noch einmal und bestätigen Sie, oder nehmen Sie eine andere Karte.",
    other: "Nehmen Sie eine andere Karte, oder fragen Sie Ihre Bank nach dem Grund.",
  },
};

const FUNDS = ["insufficient_funds", "card_velocity_exceeded", "withdrawal_count_limit_exceeded"];
const DATA = ["expired_card", "incorrect_number", "incorrect_cvc", "incorrect_zip", "invalid_number", "invalid_cvc", "invalid_expiry_month", "invalid_expiry_year"];
const BANK = ["authentication_required", "payment_intent_authentication_failure"];

const state = { words: EN, language: "en", locale: "en", zone: "UTC" };

/** Speak a language from here on, with days as they are in a time zone. */
export function speak(/** @type {string} */ locale, /** @type {string} */ zone) {
  state.language = locale.toLowerCase().startsWith("de") ? "de" : "en";
  state.words = state.language === "de" ? DE : EN;
  state.locale = locale;
  state.zone = zone;
  document.documentElement.lang = state.language;
}

/**
 * Return words, with what belongs into their places.
 *
 * @param {Exclude<keyof typeof EN, "status" | "advice">} name @param {Record<string, string>} [values]
 */
export function say(name, values = {}) {
  return state.words[name].replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

/** Return what a status is called. */
export function statusWord(/** @type {string} */ status) {
  return /** @type {Record<string, string>} */ (state.words.status)[status] ?? status;
}

/** Return what to do about a decline, by the provider's code. */
export function advice(/** @type {string | undefined} */ code) {
  const { funds, data, bank, other } = state.words.advice;
  if (FUNDS.includes(code ?? "")) {
    return funds;
  }
  if (BANK.includes(code ?? "")) {
    return bank;
  }
  return DATA.includes(code ?? "") ? data : other;
}

/** Return the language that the page speaks: `en` or `de`. */
export function language() {
  return state.language;
}

/** Return money as text; amounts stay text, which Intl writes exactly. */
export function money(/** @type {string | number} */ amount, /** @type {string} */ currency) {
  return new Intl.NumberFormat(state.locale, { style: "currency", currency }).format(/** @type {any} */ (String(amount)));
}

/** Return a day: of a date, or of the moment that a time is in the company's zone. */
export function day(/** @type {string | null} */ given) {
  if (!given) {
    return "–";
  }
  const isDate = given.length === "2026-12-31".length;
  const options = { dateStyle: /** @type {const} */ ("long"), timeZone: isDate ? "UTC" : state.zone };
  return new Intl.DateTimeFormat(state.locale, options).format(new Date(given));
}
