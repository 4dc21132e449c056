"""The scenario `payment`: an invoice is paid, and everybody hears of it."""

from __future__ import annotations

import time

from sandbox.demo.company import PATIENCE_S, Api, Channel
from sandbox.demo.screen import Json, Screen, Unexpected

EVENTS = ("payment.succeeded", "invoice.paid")
WEBHOOK = "payment_intent.succeeded"
LINES = [
    {"description": "Seats, November", "quantity": 12, "unit_amount": "99.00"},
    {"description": "Support hours", "quantity": "2.5", "unit_amount": "124.40"},
]


def wait_for_webhook(api: Api, payment_id: str) -> Json:
    """Return the line of the timeline that tells of it, and all `lines`."""
    return wait_for_line(api, payment_id, "event", WEBHOOK)


def wait_for_line(api: Api, payment_id: str, what: str, why: str) -> Json:
    """Return a line of a payment's timeline once it is there, and all `lines`."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        lines = api.get(f"payments/{payment_id}/timeline")["data"]
        for line in lines:
            if (line["what"], line["why"]) == (what, why):
                return {"lines": lines, **line}
        time.sleep(0.02)
    raise Unexpected(f"The {what} {why} did not arrive within {PATIENCE_S:.0f} s.")


def table_of(lines: list[Json], *, is_dated: bool = False) -> list[tuple[str, ...]]:
    """Return a timeline as rows."""
    shown = slice(0, 19) if is_dated else slice(11, 23)
    rows: list[tuple[str, ...]] = [("time", "of", "what", "why", "cause")]
    for line in lines:
        moved = f"{line['was']} → {line['became']}" if line["became"] else line["what"]
        cause = line["event_id"] or line["provider_request_id"] or line["request_id"] or ""
        at = line["at"][shown].replace("T", " ")
        rows.append((at, line["subject"], moved, line["why"][:48], cause[:36]))
    return rows


def run(api: Api, screen: Screen) -> Json:
    """Pay an invoice; return the seconds of each step.

    Raises:
        Unexpected: something is not as it should be.
    """
    screen.timed("login", api.sign_in, lambda user: f"signed in as {user['email']}")
    channel = Channel(api)
    invoice = screen.timed(
        "invoice",
        lambda: api.post("invoices", {"lines": LINES}, expected=201),
        lambda one: f"invoice {one['number']} over {one['amount']} {one['currency']}",
    )
    card = screen.timed(
        "card",
        lambda: api.post(
            "payment-methods", {"type": "card", "token": "pm_card_visa"}, expected=201
        ),
        lambda one: f"card {one['brand']} ···· {one['last_four']} kept by the provider",
    )
    intent = {"invoice_id": invoice["id"], "payment_method_id": card["id"]}
    began = time.monotonic()
    payment = screen.timed(
        "payment",
        lambda: api.post(
            "payments/create-intent", {**intent, "amount": str(invoice["amount"])}, expected=200
        ),
        lambda one: f"payment {one['status']}",
    )
    if payment["status"] != "succeeded":
        raise Unexpected(f"The payment is {payment['status']}: {payment['error']}.")
    for kind in EVENTS:
        came = channel.wait_for(kind, invoice["id"])
        screen.step(kind, f"browsers heard {kind}", came - began)
    event = screen.timed(
        "webhook",
        lambda: wait_for_webhook(api, payment["transaction_id"]),
        lambda one: f"signed webhook {one['why']} applied ({one['event_id']})",
    )
    paid = api.get(f"invoices/{invoice['id']}")
    if (paid["status"], paid["amount_due"]) != ("paid", 0):
        raise Unexpected(f"The invoice is {paid['status']}, {paid['amount_due']} is due.")
    print("\n  The payment's timeline\n")
    screen.table(table_of(event["lines"]))
    print()
    return {"invoice": paid["number"], "status": paid["status"], "seconds": screen.took_s}
