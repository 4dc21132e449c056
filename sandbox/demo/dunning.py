"""The scenario `dunning`: a card without funds, and a payment that succeeds on its third day.

The stand-in declines the first attempts; the ladder tries again after 24 and 48 hours, which pass
by `POST /sandbox/clock`. What is shown is what the API tells at each of these times.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from requests import RequestException

from sandbox.demo.company import Api, Channel
from sandbox.demo.payment import LINES, table_of, wait_for_line, wait_for_webhook
from sandbox.demo.screen import Json, Screen, Unexpected
from sandbox.standin.control import Refused
from sandbox.stripe.control import Control
from worker.settings import settings

Answer = TypeVar("Answer")

WAITS_H = (24, 48)
# Of the ladder's three steps those that are needed: the second retry, on the third day, succeeds.
DECLINE = {
    "path": "/v1/payment_intents*",
    "decline_code": "insufficient_funds",
    "advice_code": "try_again_later",
}
CARDS = ("visa", "mastercard", "amex", "discover", "diners", "jcb", "unionpay", "visa_debit")
# Another one each time, for a card may be declined ten times a month and no more.
RUN_S = sum(WAITS_H) * 60 * 60
SHOWN = ("at", "trigger", "outcome", "why", "then", "again at")


class Stripe:
    """The stand-in for Stripe, with its clock, which is everybody's."""

    def __init__(self) -> None:
        self._control = Control(settings().stripe_api_base)

    def ask(self, work: Callable[[Control], Answer]) -> Answer:
        """Have something done there.

        Raises:
            Unexpected: it is not there, or does not do it.
        """
        try:
            return work(self._control)
        except (RequestException, Refused) as error:
            raise Unexpected(f"The sandbox's Stripe is needed and fails: {error}.") from None

    def now(self) -> datetime:
        """Return its time."""
        told = self.ask(lambda control: control.clock())
        return datetime.fromtimestamp(told["now"], UTC)


def run(api: Api, screen: Screen) -> Json:
    """Let a payment climb the ladder; return the seconds of each step.

    Raises:
        Unexpected: something is not as it should be.
    """
    stripe = Stripe()
    began = stripe.now()
    screen.timed("login", api.sign_in, lambda user: f"signed in as {user['email']}")
    channel = Channel(api)
    invoice = screen.timed(
        "invoice",
        lambda: api.post("invoices", {"lines": LINES}, expected=201),
        lambda one: f"invoice {one['number']} over {one['amount']} {one['currency']}",
    )
    token = f"pm_card_{CARDS[int(began.timestamp()) // RUN_S % len(CARDS)]}"
    card = screen.timed(
        "card",
        lambda: api.post("payment-methods", {"type": "card", "token": token}, expected=201),
        lambda one: f"card {one['brand']} ···· {one['last_four']}, which has no funds",
    )
    stripe.ask(lambda control: control.fault("decline", count=len(WAITS_H), **DECLINE))
    payment = _pay(api, screen, invoice, card)
    for number, hours in enumerate(WAITS_H):
        _wait(channel, screen, invoice, "payment.failed", number)
        _show_dunning(api, screen, invoice, retries=number)
        _pass(stripe, screen, hours)
        api.sign_in()  # a sign-in ends after 24 hours
        channel.connect()
    _wait(channel, screen, invoice, "payment.succeeded", len(WAITS_H))
    _show_end(api, screen, channel, invoice, payment)
    return {
        "invoice": invoice["number"],
        "status": "paid",
        "attempts": 1 + len(WAITS_H),
        "days": round((stripe.now() - began).total_seconds() / 86400, 2),
        "seconds": screen.took_s,
    }


def _pay(api: Api, screen: Screen, invoice: Json, card: Json) -> Json:
    body = {"invoice_id": invoice["id"], "payment_method_id": card["id"]}
    payment = screen.timed(
        "payment",
        lambda: api.post(
            "payments/create-intent", {**body, "amount": str(invoice["amount"])}, expected=200
        ),
        lambda one: f"payment {one['status']}: {(one['error'] or {}).get('code')}",
    )
    if payment["status"] != "failed":
        raise Unexpected(f"The payment is {payment['status']} and was to be declined.")
    return payment


def _pass(stripe: Stripe, screen: Screen, hours: int) -> None:
    told = screen.timed(
        f"{hours}h",
        lambda: stripe.ask(lambda control: control.advance(f"{hours}h")),
        lambda told: f"{hours} hours pass: it is {_date(told['at'])}",
    )
    if told["ahead_s"] < hours * 60 * 60:
        raise Unexpected("The clock did not go forward.")


def _wait(channel: Channel, screen: Screen, invoice: Json, kind: str, retries: int) -> None:
    began = time.monotonic()
    came = channel.wait_for(kind, invoice["id"])
    of = f" of retry {retries}" if retries else ""
    screen.step(f"{kind}{retries or ''}", f"browsers heard {kind}{of}", max(0.0, came - began))


def _show_dunning(api: Api, screen: Screen, invoice: Json, *, retries: int) -> None:
    """Show what happened and what will."""
    told = api.get(f"invoices/{invoice['id']}/dunning")
    if (told["state"], told["retries_made"]) != ("scheduled", retries):
        raise Unexpected(
            f"Dunning is {told['state']} after {told['retries_made']} retries, "
            f"not scheduled after {retries}."
        )
    rows: list[tuple[str, ...]] = [
        (
            _date(attempt["at"]),
            attempt["trigger"],
            attempt["outcome"],
            attempt["decline_code"] or "",
            attempt["reason"] or "",
            _date(attempt["retry_at"]),
        )
        for attempt in told["attempts"]
    ]
    for one in told["coming"]:
        what = "scheduled" if one["is_scheduled"] else "if declined"
        rows.append((_date(one["at"]), "ladder", what, "", "", ""))
    print(f"\n    GET /api/v1/invoices/{invoice['id']}/dunning: {told['state']}")
    screen.table([SHOWN, *rows])
    print()


def _show_end(api: Api, screen: Screen, channel: Channel, invoice: Json, payment: Json) -> None:
    """Show that the invoice is paid, and how it came about."""
    _wait(channel, screen, invoice, "invoice.paid", 0)
    screen.timed(
        "webhook",
        lambda: wait_for_webhook(api, payment["transaction_id"]),
        lambda one: f"signed webhook {one['why']} applied ({one['event_id']})",
    )
    paid = api.get(f"invoices/{invoice['id']}")
    if (paid["status"], paid["amount_due"]) != ("paid", 0):
        raise Unexpected(f"The invoice is {paid['status']}, {paid['amount_due']} is due.")
    dunning = api.get(f"invoices/{invoice['id']}/dunning")
    if dunning["next_retry_at"] is not None or dunning["retries_made"] != len(WAITS_H):
        raise Unexpected(f"The ladder still stands at {dunning['next_retry_at']}.")
    told = wait_for_line(api, payment["transaction_id"], "notice", "payment_recovered")
    notices = [line for line in told["lines"] if line["what"] == "notice"]
    print("\n    Notices owed to the customer")
    screen.table([("at", "notice"), *((_date(line["at"]), line["why"]) for line in notices)])
    print("\n  The payment's timeline\n")
    screen.table(table_of(told["lines"], is_dated=True))
    print()


def _date(text: str | None) -> str:
    return datetime.fromisoformat(text).strftime("%a %d %b %H:%M") if text else ""
