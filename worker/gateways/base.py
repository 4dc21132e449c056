"""What every gateway speaks: requests, answers, and errors typed by what the caller must do.

    GatewayError
    ├── Declined         the provider said no: climb the ladder, ask the customer, or stop
    ├── Unavailable      surely not executed: try again with the same key
    ├── OutcomeUnknown   it may have happened: look it up, never charge anew
    └── Rejected         our bug: alert

A gateway is stateless; each call takes its idempotency key and has its own timeout. It is never
called with a transaction open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable
from uuid import UUID

from models.disputes import DisputeStatus
from models.imported_customers import FoundCustomer, KeptMethod
from models.money import Money
from models.subscriptions import SubscriptionStatus
from schedules.declines import Advice as Advice  # noqa: PLC0414  a gateway's word too
from worker.signatures import Event

# The code of a look-up whose list is behind the time that it is asked about; it says until when.
LAGS = "look_up_lags"


@dataclass(kw_only=True, eq=False)
class GatewayError(Exception):
    """The call did not succeed. Not frozen: Python itself sets tracebacks on exceptions."""

    message: str
    code: str = ""
    provider_request_id: str = ""
    http_status: int | None = None

    def __str__(self) -> str:
        """Say what happened, without anything secret."""
        return f"{self.code}: {self.message}" if self.code else self.message


@dataclass(kw_only=True, eq=False)
class Declined(GatewayError):
    """The provider refused the charge; no money moved."""

    advice: Advice
    decline_code: str = ""
    advice_code: str = ""
    network_advice_code: str = ""
    network_decline_code: str = ""
    provider_id: str = ""
    wait_at_least_s: int = 0


@dataclass(kw_only=True, eq=False)
class Unavailable(GatewayError):
    """The provider surely did not execute the call (429, refused connection, lock timeout).

    A look-up without an answer is this too: it changes nothing, so it is not unknown. What it was
    asked about stays as unknown as before.
    """

    retry_after_s: float | None = None


@dataclass(kw_only=True, eq=False)
class OutcomeUnknown(GatewayError):
    """A timeout, a dropped connection, a 500 or a key in use: it may have happened."""


@dataclass(kw_only=True, eq=False)
class Rejected(GatewayError):
    """The provider says that the request itself is wrong: retrying cannot help."""


class IntentStatus(StrEnum):
    """Where a charge stands at the provider, in our words."""

    REQUIRES_ACTION = "requires_action"  # waits for the customer (a method, 3-D Secure, approval)
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"  # the last try was declined; the intent can be tried again
    CANCELED = "canceled"


@dataclass(frozen=True, kw_only=True)
class ChargeRequest:
    """One attempt to charge. `key` is the attempt's idempotency key, committed before the call.

    `customer` and `method` are the provider's ids. Without a method the intent is only created
    and the customer confirms it in the browser. `metadata` carries our own ids. `return_url` is
    where a provider with pages of its own sends the customer back to; empty for the settings'.
    With `keep_method` it keeps for `customer` what they pay with.
    """

    key: str
    money: Money
    customer: str
    method: str | None
    off_session: bool
    metadata: Mapping[str, str]
    description: str = ""
    return_url: str = ""
    keep_method: bool = False


@dataclass(frozen=True, kw_only=True)
class Intent:
    """A charge as the provider tells it. `client_secret` is for the caller's eyes, once.

    `approve_url` is where the customer approves it; one that is approved waits for `capture`.
    `kept_method` is what the provider has kept of what it was paid with.
    """

    provider_id: str
    status: IntentStatus
    money: Money
    captured: Money | None = None
    charge_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    client_secret: str = field(default="", repr=False)
    approve_url: str = field(default="", repr=False)
    is_approved: bool = False
    kept_method: MethodAnswer | None = None
    decline: Declined | None = None
    provider_request_id: str = ""


@dataclass(frozen=True, kw_only=True)
class RefundRequest:
    """One refund of a captured charge, full or in part."""

    key: str
    provider_id: str  # of the intent
    money: Money
    reason: str  # our reason; the gateway maps it to its own
    metadata: Mapping[str, str]


class RefundState(StrEnum):
    """Where a refund stands at the provider."""

    PENDING = "pending"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, kw_only=True)
class RefundAnswer:
    """A refund as the provider tells it; `reason` is the provider's word.

    Of its intent and its charge a provider may tell one, or neither.
    """

    provider_id: str
    state: RefundState
    money: Money
    intent_id: str = ""
    charge_id: str = ""
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    failure_reason: str = ""
    provider_request_id: str = ""


@dataclass(frozen=True)
class Movement:
    """What was taken for a dispute (below zero) or given back; the provider's id tells it."""

    provider_id: str
    money: Money


@dataclass(frozen=True, kw_only=True)
class DisputeAnswer:
    """A dispute as the provider tells it; `state` is None where its word is new to us."""

    provider_id: str
    intent_id: str
    charge_id: str
    state: DisputeStatus | None
    money: Money
    reason: str
    evidence_due_at: datetime | None
    is_refundable: bool
    evidence: Mapping[str, str] = field(default_factory=dict)
    submissions: int = 0
    movements: tuple[Movement, ...] = ()
    fees: tuple[Movement, ...] = ()  # what the provider keeps for it, in its balance's currency
    metadata: Mapping[str, str] = field(default_factory=dict)
    provider_request_id: str = ""


@dataclass(frozen=True, kw_only=True)
class MethodAnswer:
    """A payment method as the provider keeps it; never a card number."""

    provider_id: str
    type: str  # card, bank_account, paypal
    last_four: str | None
    brand: str | None
    exp_month: int | None
    exp_year: int | None
    fingerprint: str | None = None
    provider_request_id: str = ""


@dataclass(frozen=True, kw_only=True)
class MissedEvent:
    """An event that our endpoint has not taken, read as the endpoint would have read it."""

    event: Event
    created_at: datetime


class Gateway(Protocol):
    """The seam to a provider. Every method may raise any `GatewayError`."""

    name: str
    key_life_s: int  # how long the provider remembers a charge's key, with a margin taken off
    refund_key_life_s: int  # and a refund's
    # Whether `find` can say "none" at once; else the key is the look-up while it lives.
    finds_at_once: bool

    def create_customer(self, *, key: str, company_id: UUID, name: str, email: str) -> str:
        """Create the company's customer at the provider; return its id."""

    def attach_method(
        self,
        *,
        key: str,
        customer: str,
        token: str,
        type: str,  # noqa: A002  the column's and the API's name
    ) -> MethodAnswer:
        """Turn a one-time token (`tok_…`, `pm_…`) into a method kept for `customer`."""

    def retrieve_method(self, method: str) -> MethodAnswer | None:
        """Look a method up; None once the provider has forgotten it or keeps it for nobody."""

    def detach_method(self, *, key: str, method: str) -> None:
        """Forget a method. A method that is already gone is no error."""

    def charge(self, request: ChargeRequest) -> Intent:
        """Create (and with a method: confirm) an intent. A decline raises `Declined`."""

    def confirm(
        self,
        *,
        key: str,
        provider_id: str,
        method: str | None,
        off_session: bool,
        return_url: str = "",
    ) -> Intent:
        """Try an intent that exists, with `method` or its own. A decline raises `Declined`.

        One that has succeeded meanwhile is returned as it is. `return_url` is where the customer
        comes back to after a redirect; without one no method that redirects can be used.
        """

    def capture(self, *, key: str, provider_id: str) -> Intent:
        """Take the money of an intent that the customer has approved. A decline is raised.

        One that is not approved, or has been captured already, is returned as it is; at a provider
        that captures by itself that is every one.
        """

    def retrieve(self, provider_id: str) -> Intent:
        """Look an intent up; a decline is told in `decline`, not raised."""

    def find(
        self, *, transaction_id: UUID, customer: str, key: str, until: datetime | None = None
    ) -> list[Intent]:
        """Return the intents that carry our transaction id in their metadata, newest first.

        Built on listing by customer, which is consistent at once; a provider's search index lags.
        `key` narrows to one attempt, which the gateway wrote into the metadata as `attempt_key`;
        an empty one asks for all. After `until` none was made; empty for now. When "none" cannot
        be said of all the time before it, this raises, and never returns too few.
        """

    def cancel(self, *, key: str, provider_id: str) -> Intent:
        """Cancel an intent; one that has succeeded meanwhile is returned as it is."""

    def refund(self, request: RefundRequest) -> RefundAnswer:
        """Give money back."""

    def retrieve_refund(self, provider_id: str) -> RefundAnswer:
        """Look a refund up."""

    def find_refunds(self, *, provider_id: str) -> list[RefundAnswer]:
        """Return the refunds of an intent, newest first."""

    def missed_events(self, *, since: datetime) -> Iterator[list[MissedEvent]]:
        """Yield what our endpoint has not taken of what happened since, page by page.

        Also what is on its way just now. An event that could not be kept is left out.
        """


@runtime_checkable
class DisputeGateway(Protocol):
    """A provider whose disputes are answered through us."""

    key_life_s: int

    def retrieve(self, provider_id: str) -> Intent:
        """Look an intent up."""

    def retrieve_dispute(self, provider_id: str) -> DisputeAnswer:
        """Look a dispute up."""

    def submit_evidence(
        self,
        *,
        key: str,
        provider_id: str,
        evidence: Mapping[str, str],
        submit: bool,
        action_id: str,
    ) -> DisputeAnswer:
        """Add evidence to a dispute, and hand it to the bank if `submit`.

        `action_id` is found again as `dispute_action_id` in the dispute's metadata.
        """

    def accept_dispute(self, *, key: str, provider_id: str) -> DisputeAnswer:
        """Give a dispute up; it cannot be taken back."""


@dataclass(frozen=True, kw_only=True)
class SubscriptionAnswer:
    """A subscription that a provider bills; `status` is in our words, `seats` of its first item."""

    provider_id: str
    status: SubscriptionStatus
    customer: str
    currency: str
    seats: int
    current_period_start: datetime
    current_period_end: datetime
    trial_ends_at: datetime | None
    cancel_at_period_end: bool
    canceled_at: datetime | None
    ended_at: datetime | None
    metadata: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class SubscriptionGateway(Protocol):
    """A provider that bills subscriptions of its own."""

    def retrieve_subscription(self, provider_id: str) -> SubscriptionAnswer:
        """Look a subscription up."""


@dataclass(frozen=True)
class CustomerPage:
    """Customers as a provider lists them, newest first; `next_after` is None at the end."""

    customers: tuple[FoundCustomer, ...]
    next_after: str | None


@runtime_checkable
class CustomerGateway(Protocol):
    """A provider whose customers can be listed. It is only asked: nothing there changes."""

    def list_customers(self, *, after: str | None) -> CustomerPage:
        """Return the customers after one, from the newest on.

        Raises:
            Rejected: with the code `resource_missing`, for an `after` that is gone.
        """

    def list_methods(self, *, customer: str) -> list[KeptMethod]:
        """Return what the provider keeps for a customer, newest first."""
