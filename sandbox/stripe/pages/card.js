/** What happens in the provider's frame: the card is typed here, and goes nowhere but to the provider. */
"use strict";

const given = new URLSearchParams(location.hash.slice(1));
const form = document.querySelector("form");
const WORDS = {
  de: { number: "Kartennummer", expiry: "Gültig bis (MM/JJ)", cvc: "Prüfziffer", hint: "Sandbox: 4242… zahlt, 4000 0000 0000 9995 ist nicht gedeckt, 4000 0027 6000 3184 fragt nach 3-D Secure.", wrong: "Die Kartendaten sind nicht vollständig.", past: "Die Karte ist abgelaufen." },
  en: { wrong: "Your card details are incomplete.", past: "Your card's expiration date is in the past." },
};
const language = (given.get("locale") ?? "en").startsWith("de") ? "de" : "en";
document.documentElement.lang = language;
for (const [id, text] of Object.entries(WORDS[language])) {
  document.getElementById(id)?.replaceChildren(text);
}
form.addEventListener("submit", (event) => event.preventDefault());

/** @returns {{card: Record<string, string>} | {error: object}} */
function typed() {
  const { number, expiry, cvc } = Object.fromEntries(new FormData(form));
  const digits = number.replace(/\D/g, "");
  const [, month, year] = /^\s*(\d{1,2})\s*\/?\s*(?:20)?(\d{2})\s*$/.exec(expiry) ?? [];
  if (digits.length < 13 || !month || Number(month) < 1 || Number(month) > 12 || !/^\d{3,4}$/.test(cvc)) {
    return { error: { type: "validation_error", code: "incomplete_number", message: WORDS[language].wrong } };
  }
  if (new Date(2000 + Number(year), Number(month)) <= new Date()) {
    return { error: { type: "validation_error", code: "invalid_expiry_year_past", message: WORDS[language].past } };
  }
  return { card: { number: digits, exp_month: String(Number(month)), exp_year: `20${year}`, cvc } };
}

/** Ask the provider as its script does, with the key that every page may know. */
async function ask(method, path, body = {}) {
  const params = new URLSearchParams(body);
  const isPost = method === "POST";
  const answer = await fetch(`/v1/${path}${isPost ? "" : `?${params}`}`, {
    method,
    headers: { Authorization: `Bearer ${given.get("key")}` },
    body: isPost ? params : undefined,
  });
  return answer.json();
}

async function make() {
  const { card, error } = typed();
  if (error) {
    return { error };
  }
  const fields = Object.entries(card).map(([name, value]) => [`card[${name}]`, value]);
  const made = await ask("POST", "payment_methods", { type: "card", ...Object.fromEntries(fields) });
  return made.error ? { error: made.error } : { paymentMethod: made };
}

function intentOf(told) {
  return told.error ? { error: told.error } : { paymentIntent: told };
}

const idOf = (secret) => secret.split("_secret_")[0];

const DEEDS = {
  check: async () => {
    const { error } = typed();
    return error ? { error } : {};
  },
  make,
  look: async ({ secret }) => intentOf(await ask("GET", `payment_intents/${idOf(secret)}`, { client_secret: secret })),
  async confirm({ secret }) {
    const made = await make();
    if (made.error) {
      return made;
    }
    const body = { client_secret: secret, payment_method: made.paymentMethod.id, return_url: `${location.origin}/sandbox/card/done` };
    return intentOf(await ask("POST", `payment_intents/${idOf(secret)}/confirm`, body));
  },
};

addEventListener("message", ({ data, ports: [port] }) => {
  if (data !== "begin" || !port) {
    return;
  }
  port.onmessage = async ({ data: { id, what, ...more } }) => port.postMessage({ id, told: await DEEDS[what](more) });
  new ResizeObserver(() => port.postMessage({ height: Math.max(document.documentElement.offsetHeight, 1) })).observe(document.documentElement);
});
