/**
 * The stand-in for Stripe.js: the calls that a page makes to take a card, with the same answers.
 * As with Stripe's own, the card is typed into a frame of the provider's, and the page never sees it.
 */
"use strict";

(() => {
  const HOME = new URL(document.currentScript.src).origin;
  const LOOK_AGAIN_MS = 300;

  /** The provider's frame, and what is asked of it. */
  class Frame {
    constructor(key, { locale = "en", isHidden = false } = {}) {
      this.asked = 0;
      this.waiting = new Map();
      this.node = document.createElement("iframe");
      this.node.src = `${HOME}/sandbox/card#${new URLSearchParams({ key, locale })}`;
      this.node.title = locale.startsWith("de") ? "Kartendaten" : "Card details";
      const size = isHidden ? { position: "fixed", width: "1px", height: "1px" } : { width: "100%", height: "220px" };
      Object.assign(this.node.style, { border: "0", ...size });
      this.isHidden = isHidden;
      this.ready = new Promise((resolve) => {
        this.node.addEventListener("load", () => {
          const { port1, port2 } = new MessageChannel();
          this.port = port1;
          port1.onmessage = ({ data }) => this.hear(data, resolve);
          this.node.contentWindow.postMessage("begin", HOME, [port2]);
        });
      });
    }

    hear({ id, told, height }, resolve) {
      if (height) {
        if (!this.isHidden) {
          this.node.style.height = `${height}px`;
        }
        resolve();
      } else {
        this.waiting.get(id)?.(told);
        this.waiting.delete(id);
      }
    }

    async ask(what, more = {}) {
      await this.ready;
      this.asked += 1;
      const id = this.asked;
      return new Promise((resolve) => {
        this.waiting.set(id, resolve);
        this.port.postMessage({ id, what, ...more });
      });
    }
  }

  function elementOf(frame) {
    const hearers = { ready: [], change: [] };
    frame.ready.then(() => hearers.ready.forEach((hear) => hear({})));
    return {
      mount(target) {
        (typeof target === "string" ? document.querySelector(target) : target).append(frame.node);
      },
      on(name, hear) {
        (hearers[name] ??= []).push(hear);
        return this;
      },
      focus: () => frame.node.focus(),
      unmount: () => frame.node.remove(),
      destroy: () => frame.node.remove(),
    };
  }

  /** Have the bank asked in a frame of its own, until the intent goes on. */
  async function authenticate(frame, intent, secret) {
    const page = document.createElement("dialog");
    const bank = document.createElement("iframe");
    bank.title = "3-D Secure";
    bank.src = intent.next_action.redirect_to_url.url;
    Object.assign(bank.style, { border: "0", width: "min(26rem, 80vw)", height: "18rem", background: "white" });
    page.append(bank);
    document.body.append(page);
    page.showModal();
    let told = { paymentIntent: intent };
    while (told.paymentIntent?.status === "requires_action") {
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
      told = await frame.ask("look", { secret });
    }
    page.remove();
    return told;
  }

  async function finished(frame, told, secret) {
    let now = told;
    if (now.paymentIntent?.status === "requires_action") {
      now = await authenticate(frame, now.paymentIntent, secret);
    }
    const refused = now.paymentIntent?.status === "requires_payment_method" && now.paymentIntent.last_payment_error;
    return refused ? { error: refused } : now;
  }

  window.Stripe = (key) => ({
    elements(options = {}) {
      const frame = new Frame(key, options);
      return { frame, create: () => elementOf(frame), submit: () => frame.ask("check"), update() {} };
    },
    async confirmPayment({ elements, clientSecret }) {
      const told = await elements.frame.ask("confirm", { secret: clientSecret });
      return finished(elements.frame, told, clientSecret);
    },
    createPaymentMethod: ({ elements }) => elements.frame.ask("make"),
    async handleNextAction({ clientSecret }) {
      const frame = new Frame(key, { isHidden: true });
      document.body.append(frame.node);
      const told = await finished(frame, await frame.ask("look", { secret: clientSecret }), clientSecret);
      frame.node.remove();
      return told;
    },
  });
})();
