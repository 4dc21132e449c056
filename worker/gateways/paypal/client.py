"""The PayPal gateway: Orders v2, refunds of their captures, and methods in the vault.

An order cannot be cancelled at PayPal. It takes no money until it is captured, by whoever holds our
credentials: so an order that we have given up is one that we never capture, and PayPal forgets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from urllib.parse import quote
from uuid import UUID

from models.money import InvalidAmount, Money
from worker.gateways.base import (
    ChargeRequest,
    Declined,
    DisputeAnswer,
    GatewayError,
    Intent,
    IntentStatus,
    MethodAnswer,
    MissedEvent,
    OutcomeUnknown,
    RefundAnswer,
    RefundRequest,
    Rejected,
)
from worker.gateways.paypal import answering, missed
from worker.gateways.paypal.api import Answer, Api, read, write
from worker.gateways.paypal.codes import CAPTURED, DUPLICATE, NOT_APPROVED
from worker.gateways.paypal.failures import as_decline
from worker.gateways.paypal.search import captures_of
from worker.gateways.paypal.translate import (
    customer_id_of,
    intent_of,
    method_of,
    order_params,
    refund_of,
    refund_params,
    refusal_of,
)

ORDERS = "/v2/checkout/orders"
CAPTURES = "/v2/payments/captures"
REFUNDS = "/v2/payments/refunds"
TOKENS = "/v3/vault/payment-tokens"
HOUR_S = 3600
NOT_FOUND = 404
NO_MONEY = Money(Decimal(0), "XXX")
# Of an order that PayPal has forgotten; ISO 4217's code for no currency.


class PayPalGateway:
    """PayPal's REST API at `api_base`. Thread-safe."""

    name = "paypal"
    # PayPal keeps a key of an order for 6 h; past that the same key makes and captures another.
    # No list tells at once what it has made, so the margin bears a clock that is an hour slow.
    key_life_s = 4 * HOUR_S + HOUR_S // 2
    refund_key_life_s = 44 * 24 * HOUR_S  # a refund's for 45 days
    finds_at_once = False  # its search is up to three hours behind

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        api_base: str,
        timeout_s: float,
        return_url: str,
        cancel_url: str,
    ) -> None:
        self._api = Api(
            client_id=client_id,
            client_secret=client_secret,
            base=api_base,
            timeout_s=timeout_s,
        )
        self._return_url = return_url
        self._cancel_url = cancel_url

    def close(self) -> None:
        """Drop the idle connections."""
        self._api.close()

    def create_customer(self, *, key: str, company_id: UUID, name: str, email: str) -> str:  # noqa: ARG002  the protocol's
        """Return the customer's id in the vault. PayPal has no customers: the id is our own."""
        return customer_id_of(company_id)

    def attach_method(self, *, key: str, customer: str, token: str, type: str) -> MethodAnswer:  # noqa: A002  the protocol's word
        """Make a payment token of the setup token that the payer has approved."""
        kept_for, method = write(
            "payment_tokens.create",
            lambda: self._api.post(
                TOKENS,
                {
                    "customer": {"id": customer},
                    "payment_source": {"token": {"id": token, "type": "SETUP_TOKEN"}},
                },
                key=key,
            ),
            lambda body, request_id: (
                (body.get("customer") or {}).get("id"),
                method_of(body, request_id),
            ),
            is_theirs=True,
        )
        if kept_for != customer:
            raise Rejected(message="it is kept for somebody else", code="method_of_another")
        if method.type != type:
            raise Rejected(message=f"a {method.type} is no {type}", code="token_of_wrong_type")
        return method

    def retrieve_method(self, method: str) -> MethodAnswer | None:
        """Look a payment token up; None once it has been deleted, here or by the payer."""
        try:
            return read(
                "payment_tokens.get", lambda: self._api.get(f"{TOKENS}/{_id(method)}"), method_of
            )
        except Rejected as refusal:
            if refusal.http_status != NOT_FOUND:
                raise
        return None

    def detach_method(self, *, key: str, method: str) -> None:  # noqa: ARG002  a deletion needs none
        """Delete a payment token. One that is gone is no error."""
        try:
            write(
                "payment_tokens.delete",
                lambda: self._api.delete(f"{TOKENS}/{_id(method)}"),
                lambda _, __: None,
                is_theirs=True,
            )
        except Rejected as refusal:
            if refusal.http_status != NOT_FOUND:
                raise

    def charge(self, request: ChargeRequest) -> Intent:
        """Create an order; with a method of the vault it is captured by the same call.

        Off-session a payer who must approve is `Declined` with advice ASK; its `provider_id` is
        the order, which can be approved later.
        """
        try:
            params = order_params(request, return_url=self._return_url, cancel_url=self._cancel_url)
        except InvalidAmount as error:
            raise Rejected(message=str(error), code="currency_not_supported") from None
        intent = self._pay(
            "orders.create",
            lambda: self._api.post(ORDERS, params, key=request.key),
            transaction_id=request.metadata.get("transaction_id", ""),
        )
        if request.method is None:
            return intent
        if intent.is_approved:
            return self.capture(key=f"{request.key}:capture", provider_id=intent.provider_id)
        if intent.status is IntentStatus.REQUIRES_ACTION and request.off_session:
            raise refusal_of(
                "PAYER_ACTION_REQUIRED",
                message="The payer must approve this payment.",
                provider_id=intent.provider_id,
                request_id=intent.provider_request_id,
            )
        return _undeclined(intent)

    def confirm(
        self,
        *,
        key: str,
        provider_id: str,
        method: str | None,  # noqa: ARG002  an order keeps what the payer chose
        off_session: bool,  # noqa: ARG002  PayPal knows by itself
        return_url: str = "",  # noqa: ARG002  the order has its own
    ) -> Intent:
        """Capture an order that is approved; any other is returned as it is, with its link."""
        return self.capture(key=key, provider_id=provider_id)

    def capture(self, *, key: str, provider_id: str) -> Intent:
        """Take the money of an approved order; any other is returned as it is."""
        try:
            return _undeclined(
                self._pay(
                    "orders.capture",
                    lambda: self._api.post(f"{ORDERS}/{_id(provider_id)}/capture", key=key),
                    provider_id=provider_id,
                )
            )
        except Rejected as refusal:
            if refusal.code not in (CAPTURED, NOT_APPROVED):
                raise
        return self.retrieve(provider_id)

    def retrieve(self, provider_id: str) -> Intent:
        """Look an order up; a decline is told in `decline`, not raised."""
        return read("orders.get", lambda: self._api.get(f"{ORDERS}/{_id(provider_id)}"), intent_of)

    def find(
        self,
        *,
        transaction_id: UUID,
        customer: str,  # noqa: ARG002  the search knows no customers
        key: str,  # noqa: ARG002  whichever attempt was captured: PayPal completes one only
        until: datetime | None = None,
    ) -> list[Intent]:
        """Return the orders of our transaction that money has moved for, newest first.

        An order that was never captured is in no search; nor can it take money without us.

        Raises:
            Unavailable: none was found, but the search is behind `until`.
        """
        return [
            self.retrieve(order_id)
            for capture_id in captures_of(self._api, transaction_id, until=until)
            if (order_id := self._order_of(capture_id))
        ]

    def _order_of(self, capture_id: str) -> str:
        return read(
            "captures.get",
            lambda: self._api.get(f"{CAPTURES}/{_id(capture_id)}"),
            lambda body, _: str(body["supplementary_data"]["related_ids"]["order_id"]),
        )

    def cancel(self, *, key: str, provider_id: str) -> Intent:  # noqa: ARG002  nothing is changed
        """Return an order as canceled if it took no money: from now on nobody may capture it.

        One that has been captured meanwhile, or is being captured, is returned as it is. The
        caller has seen to it that no capture of ours is under way.
        """
        try:
            intent = self.retrieve(provider_id)
        except Rejected as refusal:
            if refusal.http_status != NOT_FOUND:
                raise
            intent = Intent(provider_id=provider_id, status=IntentStatus.CANCELED, money=NO_MONEY)
        if intent.status in (IntentStatus.SUCCEEDED, IntentStatus.PROCESSING):
            return intent
        return replace(intent, status=IntentStatus.CANCELED, decline=None)

    def refund(self, request: RefundRequest) -> RefundAnswer:
        """Give back the capture of an order, whole or in part."""
        try:
            params = refund_params(request)
        except InvalidAmount as error:
            raise Rejected(message=str(error), code="currency_not_supported") from None
        capture_id = self.retrieve(request.provider_id).charge_id
        if not capture_id:
            raise Rejected(message="nothing of it was captured", code="nothing_captured")
        return write(
            "captures.refund",
            lambda: self._api.post(f"{CAPTURES}/{_id(capture_id)}/refund", params, key=request.key),
            refund_of,
        )

    def retrieve_refund(self, provider_id: str) -> RefundAnswer:
        """Look a refund up."""
        return read(
            "refunds.get", lambda: self._api.get(f"{REFUNDS}/{_id(provider_id)}"), refund_of
        )

    def find_refunds(self, *, provider_id: str) -> list[RefundAnswer]:
        """Return the refunds of an order, newest first."""
        return read(
            "orders.get",
            lambda: self._api.get(f"{ORDERS}/{_id(provider_id)}"),
            lambda body, request_id: [
                refund_of(each, request_id)
                for each in reversed(
                    (body["purchase_units"][0].get("payments") or {}).get("refunds") or []
                )
            ],
        )

    def missed_events(self, *, since: datetime) -> Iterator[list[MissedEvent]]:
        """Yield all events since; PayPal keeps them for 30 days and does not tell which came."""
        return missed.each_page(self._api, since=since)

    def retrieve_dispute(self, provider_id: str) -> DisputeAnswer:
        """Look a dispute up."""
        return answering.retrieve(self._api, provider_id)

    def submit_evidence(
        self,
        *,
        key: str,  # noqa: ARG002  the path takes none; our mark in the evidence tells that it came
        provider_id: str,
        evidence: Mapping[str, str],
        submit: bool,
        action_id: str,
    ) -> DisputeAnswer:
        """Provide evidence; PayPal keeps no drafts."""
        return answering.submit(
            self._api, provider_id, evidence, submit=submit, action_id=action_id
        )

    def accept_dispute(self, *, key: str, provider_id: str) -> DisputeAnswer:  # noqa: ARG002  the path takes none
        """Give a dispute up; it cannot be taken back."""
        return answering.accept(self._api, provider_id)

    def _pay(
        self,
        name: str,
        send: Callable[[], Answer],
        *,
        transaction_id: str = "",
        provider_id: str = "",
    ) -> Intent:
        """Make a call that takes money; a refusal of it is a decline."""
        failure: GatewayError
        try:
            return write(name, send, intent_of, is_theirs=bool(provider_id))
        except Declined as error:
            failure = error
        except Rejected as error:
            failure = error if error.code in (CAPTURED, NOT_APPROVED) else as_decline(error)
        except OutcomeUnknown as error:
            if error.code == DUPLICATE and (found := self._completed(transaction_id, provider_id)):
                return found
            raise
        if isinstance(failure, Declined):
            failure.provider_id = failure.provider_id or provider_id
        raise failure

    def _completed(self, transaction_id: str, provider_id: str) -> Intent | None:
        """Return the capture for which PayPal refuses another of our payment, once it is listed."""
        try:
            if not transaction_id:
                transaction_id = self.retrieve(provider_id).metadata["transaction_id"]
            found = self.find(transaction_id=UUID(transaction_id), customer="", key="")
        except (GatewayError, LookupError, ValueError):
            return None
        return found[0] if found else None


def _undeclined(intent: Intent) -> Intent:
    """Return an intent, or raise the decline that it tells."""
    if intent.decline is not None:
        raise intent.decline
    return intent


def _id(text: str) -> str:
    return quote(text, safe="")
