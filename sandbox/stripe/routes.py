"""Which operation answers which request, and which typed parameters check it."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.stripe import (
    charges,
    customers,
    disputes,
    events,
    payment_intents,
    payment_methods,
    payouts,
    refunds,
    subscriptions,
)
from sandbox.stripe.call import Operation


@dataclass(frozen=True, slots=True)
class Route:
    """One operation and the name of its parameters in stripe-python."""

    run: Operation
    parameters: str


ROUTES: dict[tuple[str, str], Route] = {
    (method, path): Route(run, parameters)
    for method, path, run, parameters in (
        ("GET", "balance_transactions", payouts.movements, "balance_transaction_list"),
        ("GET", "balance_transactions/*", charges.movement, "balance_transaction_retrieve"),
        ("GET", "charges", charges.listed, "charge_list"),
        ("GET", "charges/*", charges.retrieve, "charge_retrieve"),
        ("POST", "charges/*", charges.update, "charge_update"),
        ("GET", "charges/*/refunds", refunds.of_charge, "charge_list_refunds"),
        ("GET", "customers", customers.listed, "customer_list"),
        ("POST", "customers", customers.create, "customer_create"),
        ("DELETE", "customers/*", customers.delete, "customer_delete"),
        ("GET", "customers/*", customers.retrieve, "customer_retrieve"),
        ("POST", "customers/*", customers.update, "customer_update"),
        (
            "GET",
            "customers/*/payment_methods",
            customers.methods,
            "customer_payment_method_list",
        ),
        (
            "GET",
            "customers/*/payment_methods/*",
            customers.method,
            "customer_payment_method_retrieve",
        ),
        ("GET", "disputes", disputes.listed, "dispute_list"),
        ("GET", "disputes/*", disputes.retrieve, "dispute_retrieve"),
        ("POST", "disputes/*", disputes.update, "dispute_update"),
        ("POST", "disputes/*/close", disputes.close, "dispute_close"),
        ("GET", "events", events.listed, "event_list"),
        ("GET", "events/*", events.retrieve, "event_retrieve"),
        ("GET", "payment_intents", payment_intents.listed, "payment_intent_list"),
        ("POST", "payment_intents", payment_intents.create, "payment_intent_create"),
        ("GET", "payment_intents/*", payment_intents.retrieve, "payment_intent_retrieve"),
        ("POST", "payment_intents/*", payment_intents.update, "payment_intent_update"),
        ("POST", "payment_intents/*/cancel", payment_intents.cancel, "payment_intent_cancel"),
        ("POST", "payment_intents/*/capture", payment_intents.capture, "payment_intent_capture"),
        ("POST", "payment_intents/*/confirm", payment_intents.confirm, "payment_intent_confirm"),
        ("GET", "payment_methods", payment_methods.listed, "payment_method_list"),
        ("POST", "payment_methods", payment_methods.create, "payment_method_create"),
        ("GET", "payment_methods/*", payment_methods.retrieve, "payment_method_retrieve"),
        ("POST", "payment_methods/*", payment_methods.update, "payment_method_update"),
        ("POST", "payment_methods/*/attach", payment_methods.attach, "payment_method_attach"),
        ("POST", "payment_methods/*/detach", payment_methods.detach, "payment_method_detach"),
        ("GET", "payouts", payouts.listed, "payout_list"),
        ("GET", "payouts/*", payouts.retrieve, "payout_retrieve"),
        ("GET", "refunds", refunds.listed, "refund_list"),
        ("POST", "refunds", refunds.create, "refund_create"),
        ("GET", "refunds/*", refunds.retrieve, "refund_retrieve"),
        ("POST", "refunds/*", refunds.update, "refund_update"),
        ("POST", "refunds/*/cancel", refunds.cancel, "refund_cancel"),
        ("GET", "subscriptions", subscriptions.listed, "subscription_list"),
        ("POST", "subscriptions", subscriptions.create, "subscription_create"),
        ("DELETE", "subscriptions/*", subscriptions.cancel, "subscription_cancel"),
        ("GET", "subscriptions/*", subscriptions.retrieve, "subscription_retrieve"),
        ("POST", "subscriptions/*", subscriptions.update, "subscription_update"),
    )
}


def found(method: str, path: str) -> tuple[Route, list[str]] | None:
    """Return the route of `/v1/…` and the ids in it."""
    parts = path.removeprefix("/v1/").rstrip("/").split("/")
    ids = parts[1::2]
    shape = "/".join("*" if number % 2 else part for number, part in enumerate(parts))
    if len(parts) == 3:  # noqa: PLR2004  noun, id, verb or noun
        ids = parts[1:2]
    route = ROUTES.get((method, shape))
    return (route, ids) if route else None
