/**
 * A card, taken by its provider's own script in a frame of the provider's: nothing of it is ever
 * here. On the sandbox the stand-in's script does the same.
 */

import { h } from "/console/static/js/dom.js";
import { language } from "./words.js";

const ZERO_DECIMAL = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split(" ");
const THREE_DECIMAL = "BHD JOD KWD OMR TND".split(" ");

/** @type {any} */
const known = { config: null, script: null, policy: null };

/** Say how cards are taken here: the answer of /portal/config.json. */
export function setUp(/** @type {any} */ config) {
  known.config = config;
}

export const canTakeCards = () => Boolean(known.config?.card_script);

/** Return the provider's script interface, loaded when it is first needed. @returns {Promise<any>} */
export function provider() {
  known.script ??= new Promise((resolve, reject) => {
    const { card_script: url, publishable_key: key } = known.config;
    const home = new URL(url).origin;
    // The default one, by which Stripe's script loads its own parts too; no other host gets in.
    known.policy ??= /** @type {any} */ (window).trustedTypes?.createPolicy("default", {
      createScriptURL(/** @type {string} */ asked) {
        if (new URL(asked, location.href).origin !== home) {
          throw new TypeError("No script of the card's provider");
        }
        return asked;
      },
    });
    const script = h("script", { async: true });
    script.src = known.policy?.createScriptURL(url) ?? url;
    script.addEventListener("load", () => resolve(/** @type {any} */ (window).Stripe(key, { locale: language() })));
    script.addEventListener("error", () => {
      known.script = null;
      reject(new Error("The card's provider cannot be reached."));
    });
    document.head.append(script);
  });
  return known.script;
}

/**
 * Put the provider's form for a card into a place.
 *
 * @param {HTMLElement} place @param {{amount?: string, currency?: string}} [what] what is to be paid; nothing for a card to keep
 */
export async function cardForm(place, { amount, currency } = {}) {
  const stripe = await provider();
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const mode = amount && currency ? { mode: "payment", amount: minor(amount, currency), currency: currency.toLowerCase() } : { mode: "setup", currency: "usd", paymentMethodCreation: "manual", paymentMethodTypes: ["card"] };
  const elements = stripe.elements({ ...mode, locale: language(), appearance: { theme: dark ? "night" : "stripe" } });
  const element = elements.create("payment");
  element.mount(place);
  return {
    /** Return what is wrong with what was typed, or null. */
    async check() {
      return (await elements.submit()).error ?? null;
    },
    /** Have the intent paid with the card. @returns {Promise<any>} `{paymentIntent}` or `{error}` */
    confirm: (/** @type {string} */ clientSecret) =>
      stripe.confirmPayment({ elements, clientSecret, confirmParams: { return_url: known.config.return_url }, redirect: "if_required" }),
    /** Return a token that stands for the card. @returns {Promise<any>} `{paymentMethod}` or `{error}` */
    token: () => stripe.createPaymentMethod({ elements }),
    leave: () => element.destroy(),
  };
}

/** Return the integer that Stripe counts an amount in, from decimal text. */
function minor(/** @type {string | number} */ amount, /** @type {string} */ currency) {
  const places = ZERO_DECIMAL.includes(currency) ? 0 : THREE_DECIMAL.includes(currency) ? 3 : 2;
  const [whole, part = ""] = String(amount).split(".");
  return Number(whole + part.slice(0, places).padEnd(places, "0"));
}
