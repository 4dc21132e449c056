"""The Stripe gateway: each method is one or two calls, each with its own idempotency key."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import stripe

from models.clock import now
from models.imported_customers import KeptMethod
from worker.gateways.base import (
    ChargeRequest,
    CustomerPage,
    DisputeAnswer,
    Intent,
    MethodAnswer,
    MissedEvent,
    OutcomeUnknown,
    RefundAnswer,
    RefundRequest,
    Rejected,
    SubscriptionAnswer,
)
from worker.gateways.stripe.calls import PAGE, each_page, pages, read, write
from worker.gateways.stripe.customers import customer_page, kept_method_of
from worker.gateways.stripe.disputes import dispute_of, evidence_params
from worker.gateways.stripe.subscriptions import subscription_of
from worker.gateways.stripe.translate import (
    charge_params,
    confirm_params,
    id_of,
    intent_of,
    method_of,
    refund_of,
    refund_params,
)
from worker.gateways.stripe.wire import PooledClient
from worker.signatures import Refused, event_of

log = logging.getLogger(__name__)

# stripe-python tells Stripe about our machine unless it is told not to.
stripe.enable_telemetry = False
# At DEBUG it logs whole bodies, client secrets among them.
logging.getLogger("stripe").setLevel(logging.WARNING)

SERVER_ERROR = 500
THREADS = 64  # a worker's threads: each keeps a connection
UNEXPECTED_STATE = "payment_intent_unexpected_state"  # it moved on before we came
CLOCK_MARGIN_S = 86_400  # Stripe's clock against ours, generously


class StripeGateway:
    """Stripe through stripe-python, at `api_base` (empty for Stripe itself). Thread-safe."""

    name = "stripe"
    # Stripe keeps a key for 24 h; past that the same key charges again. A call takes seconds, and
    # what it has made is found before the key is sent again.
    key_life_s = 24 * 3600 - 30
    refund_key_life_s = key_life_s
    finds_at_once = True

    def __init__(self, *, api_key: str, api_base: str, timeout_s: float) -> None:
        self._transport = PooledClient(timeout_s=timeout_s, threads=THREADS)
        self._stripe = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base.rstrip("/")} if api_base else None,
            max_network_retries=0,
            http_client=self._transport,
        )
        self._client = self._stripe.v1

    def close(self) -> None:
        """Drop the idle connections."""
        self._transport.close()

    def create_customer(self, *, key: str, company_id: UUID, name: str, email: str) -> str:
        """Create the company's customer at Stripe; return its id."""
        params: Any = {
            "name": name,
            "email": email,
            "metadata": {"company_id": str(company_id), "attempt_key": key},
        }
        return write(
            "customers.create",
            lambda: self._client.customers.create(params, {"idempotency_key": key}),
            lambda body, _: str(body["id"]),
        )

    def attach_method(self, *, key: str, customer: str, token: str, type: str) -> MethodAnswer:  # noqa: A002  the protocol's word
        """Keep a `tok_…` or `pm_…` for `customer`. What is attached already stays as it is.

        An error of Stripe's own is looked behind: its key would repeat it for a day.
        """
        method = self._method_of_token(key, token, type) if token.startswith("tok_") else token
        try:
            return self._attach(f"{key}:attach", method, customer)
        except (Rejected, OutcomeUnknown) as error:
            is_saved = (error.http_status or 0) >= SERVER_ERROR
            if isinstance(error, OutcomeUnknown) and not is_saved:
                raise
            kept = self._kept_method(method, customer)
            if kept is None and not is_saved:
                raise
        # Under another key: no money moves, and what is attached twice is attached once.
        return kept or self._attach(f"{key}:attach-{now():%d%H%M}", method, customer)

    def _attach(self, key: str, method: str, customer: str) -> MethodAnswer:
        return write(
            "payment_methods.attach",
            lambda: self._client.payment_methods.attach(
                method, {"customer": customer}, {"idempotency_key": key}
            ),
            method_of,
            is_theirs=True,
        )

    def _method_of_token(self, key: str, token: str, type: str) -> str:  # noqa: A002
        if type != "card":
            raise Rejected(message=f"a token cannot become a {type}", code="token_of_wrong_type")
        params: Any = {"type": "card", "card": {"token": token}, "metadata": {"attempt_key": key}}
        return write(
            "payment_methods.create",
            lambda: self._client.payment_methods.create(
                params, {"idempotency_key": f"{key}:create"}
            ),
            lambda body, _: str(body["id"]),
            is_theirs=True,
        )

    def _kept_method(self, method: str, customer: str) -> MethodAnswer | None:
        """Return the method if it belongs to `customer` already, else nothing."""

        def theirs(body: Mapping[str, Any], request_id: str) -> MethodAnswer | None:
            is_theirs = id_of(body.get("customer")) == customer
            return method_of(body, request_id=request_id) if is_theirs else None

        try:
            return read(
                "payment_methods.retrieve",
                lambda: self._client.payment_methods.retrieve(method),
                theirs,
            )
        except Rejected:
            return None

    def retrieve_method(self, method: str) -> MethodAnswer | None:
        """Look a method up; None for one that is unknown or belongs to nobody any more."""
        try:
            return read(
                "payment_methods.retrieve",
                lambda: self._client.payment_methods.retrieve(method),
                lambda body, request_id: (
                    method_of(body, request_id) if body.get("customer") else None
                ),
            )
        except Rejected as refusal:
            if refusal.code != "resource_missing":
                raise
            return None

    def detach_method(self, *, key: str, method: str) -> None:
        """Forget a method. One that is unknown or belongs to nobody any more is no error."""
        try:
            write(
                "payment_methods.detach",
                lambda: self._client.payment_methods.detach(
                    method, options={"idempotency_key": key}
                ),
                method_of,
            )
        except Rejected:
            if self.retrieve_method(method) is not None:
                raise

    def charge(self, request: ChargeRequest) -> Intent:
        """Create an intent and, with a method, confirm it in the same call.

        Off-session a card that wants 3-D Secure is `Declined` with advice ASK; its `provider_id`
        is the intent that the customer can confirm later.
        """
        # The service would make an object of every part of the answer, for about a quarter of
        # the call's processor time; only this call is made often enough to care.
        params = charge_params(request)
        return write(
            "payment_intents.create",
            lambda: self._stripe.raw_request(
                "post", "/v1/payment_intents", **params, idempotency_key=request.key
            ),
            intent_of,
        )

    def confirm(
        self,
        *,
        key: str,
        provider_id: str,
        method: str | None,
        off_session: bool,
        return_url: str = "",
    ) -> Intent:
        """Try an intent that exists; one that cannot be tried any more is returned as it is."""
        params = confirm_params(method=method, off_session=off_session, return_url=return_url)
        try:
            return write(
                "payment_intents.confirm",
                lambda: self._client.payment_intents.confirm(
                    provider_id, params, {"idempotency_key": key}
                ),
                intent_of,
            )
        except Rejected as refusal:
            if refusal.code != UNEXPECTED_STATE:
                raise
        return self.retrieve(provider_id)

    def capture(self, *, key: str, provider_id: str) -> Intent:  # noqa: ARG002  the protocol's
        """Return the intent as it is: Stripe captures by itself what the customer confirms."""
        return self.retrieve(provider_id)

    def retrieve(self, provider_id: str) -> Intent:
        """Look an intent up; a decline is told in `decline`, not raised."""
        return read(
            "payment_intents.retrieve",
            lambda: self._client.payment_intents.retrieve(provider_id),
            intent_of,
        )

    def find(
        self,
        *,
        transaction_id: UUID,
        customer: str,
        key: str,
        until: datetime | None = None,  # noqa: ARG002  Stripe's lists are never behind
    ) -> list[Intent]:
        """Return the customer's intents of our transaction, newest first.

        An empty `key` asks for those of all attempts.

        Raises:
            OutcomeUnknown: more intents than may be listed, so that "none" cannot be said.
        """
        params: dict[str, Any] = {"customer": customer}
        if transaction_id.version == 7:  # noqa: PLR2004  RFC 9562: its first 48 bits are a time
            params["created"] = {"gte": (transaction_id.int >> 80) // 1000 - CLOCK_MARGIN_S}
        bodies = pages("payment_intents.list", self._client.payment_intents.list, params)
        ours = [
            body
            for body in bodies
            if (about := body.get("metadata") or {}).get("transaction_id") == str(transaction_id)
            and (not key or about.get("attempt_key", key) == key)
        ]
        return [intent_of(body) for body in ours]

    def cancel(self, *, key: str, provider_id: str) -> Intent:
        """Cancel an intent; one that cannot be cancelled any more is returned as it is."""
        try:
            return write(
                "payment_intents.cancel",
                lambda: self._client.payment_intents.cancel(
                    provider_id, options={"idempotency_key": key}
                ),
                intent_of,
            )
        except Rejected as refusal:
            if refusal.code != UNEXPECTED_STATE:
                raise
        return self.retrieve(provider_id)

    def refund(self, request: RefundRequest) -> RefundAnswer:
        """Give money back."""
        params: Any = refund_params(request)
        return write(
            "refunds.create",
            lambda: self._client.refunds.create(params, {"idempotency_key": request.key}),
            refund_of,
        )

    def retrieve_refund(self, provider_id: str) -> RefundAnswer:
        """Look a refund up."""
        return read(
            "refunds.retrieve", lambda: self._client.refunds.retrieve(provider_id), refund_of
        )

    def find_refunds(self, *, provider_id: str) -> list[RefundAnswer]:
        """Return the refunds of an intent, newest first."""
        params: dict[str, Any] = {"payment_intent": provider_id}
        return [
            refund_of(body) for body in pages("refunds.list", self._client.refunds.list, params)
        ]

    def retrieve_dispute(self, provider_id: str) -> DisputeAnswer:
        """Look a dispute up."""
        return read(
            "disputes.retrieve", lambda: self._client.disputes.retrieve(provider_id), dispute_of
        )

    def retrieve_subscription(self, provider_id: str) -> SubscriptionAnswer:
        """Look a subscription up; one that has ended is there as well."""
        return read(
            "subscriptions.retrieve",
            lambda: self._client.subscriptions.retrieve(provider_id),
            subscription_of,
        )

    def list_customers(self, *, after: str | None) -> CustomerPage:
        """Return a page of the account's customers with their tax ids, newest first."""
        params: Any = {"limit": PAGE, "expand": ["data.tax_ids"]}
        if after is not None:
            params["starting_after"] = after
        return read("customers.list", lambda: self._client.customers.list(params), customer_page)

    def list_methods(self, *, customer: str) -> list[KeptMethod]:
        """Return what Stripe keeps for a customer, of every type, newest first."""
        bodies = pages(
            "customers.payment_methods.list",
            lambda params: self._client.customers.payment_methods.list(customer, params),
            {},
        )
        return [kept_method_of(body) for body in bodies]

    def submit_evidence(
        self,
        *,
        key: str,
        provider_id: str,
        evidence: Mapping[str, str],
        submit: bool,
        action_id: str,
    ) -> DisputeAnswer:
        """Add evidence to a dispute, and hand it to the bank if `submit`."""
        params: Any = evidence_params(evidence, submit=submit, action_id=action_id)
        return write(
            "disputes.update",
            lambda: self._client.disputes.update(provider_id, params, {"idempotency_key": key}),
            dispute_of,
            is_theirs=True,
        )

    def accept_dispute(self, *, key: str, provider_id: str) -> DisputeAnswer:
        """Close a dispute as lost."""
        return write(
            "disputes.close",
            lambda: self._client.disputes.close(provider_id, options={"idempotency_key": key}),
            dispute_of,
        )

    def missed_events(self, *, since: datetime) -> Iterator[list[MissedEvent]]:
        """Yield the events that no endpoint has taken yet; Stripe keeps them for 30 days."""
        params: dict[str, Any] = {
            "delivery_success": False,
            "created": {"gte": int(since.timestamp())},
        }
        for page in each_page("events.list", self._client.events.list, params):
            yield [event for body in page if (event := _missed(body)) is not None]


def _missed(body: Mapping[str, Any]) -> MissedEvent | None:
    """Return a listed event as the endpoint would have read it; None if that would refuse it."""
    try:
        event = event_of(orjson.dumps(body))
    except Refused as error:
        log.warning("an event cannot be kept: %s", error)
        return None
    return MissedEvent(event=event, created_at=datetime.fromtimestamp(body["created"], UTC))
