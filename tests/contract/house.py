"""What the contract suite must be able to arrange at a provider: one small class a provider.

A house is a gateway with the provider behind it: a stand-in of ours, which does on command what a
real one does at its own time, or the provider's own test mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import pytest

from models.ids import new_id
from models.money import Money
from worker.gateways.base import (
    ChargeRequest,
    Gateway,
    Intent,
    OutcomeUnknown,
    RefundAnswer,
    RefundRequest,
)

Answered = Intent | RefundAnswer | None


class Pays(StrEnum):
    """How a method pays."""

    WELL = "well"
    NOT_NOW = "not_now"  # declined, and may be tried again
    NEVER = "never"  # declined for good
    UNLISTED = "unlisted"  # declined for a reason that no table of ours has
    LATER = "later"  # is on its way until it is settled


class Loss(StrEnum):
    """How a call is lost."""

    ANSWER = "its answer is lost"
    REQUEST = "it is lost itself"
    ERROR_AFTER = "it fails after it was executed"
    ERROR_BEFORE = "it fails before it was executed"
    IN_USE = "its key is in use"


class Delivery(NamedTuple):
    """A webhook as it came."""

    body: bytes
    headers: Mapping[str, str]


class House(Protocol):
    """A provider as the suite arranges it."""

    name: str
    gateway: Gateway
    is_stand_in: bool
    currency: str
    odd_money: tuple[Money, ...]
    refused_money: tuple[Money, ...]
    method_type: str
    saves_errors: bool  # an error is told again for its key, though nothing was executed

    def stranger(self) -> Gateway:
        """Return a gateway whose credentials are wrong."""

    def token(self, customer: str) -> str:
        """Return what a browser would hand over for a method that pays well."""

    def method(self, customer: str, pays: Pays = Pays.WELL) -> str:
        """Return a method that is kept for the customer."""

    def approve(self, intent: Intent) -> None:
        """Do as a customer who agrees to pay an intent that waits for them."""

    def settle(self, intent: Intent) -> None:
        """Have what is on its way arrive."""

    def lose(self, loss: Loss, *, refund: bool = False) -> None:
        """Lose the next charge, or the next refund."""

    def be_busy(self) -> None:
        """Refuse every charge as one too many, until `be_well`."""

    def be_silent(self) -> None:
        """Answer no look-up, until `be_well`."""

    def be_well(self) -> None:
        """Fail no more."""

    def delay_refund(self) -> None:
        """Leave the next refund pending."""

    def age(self, hours: float) -> None:
        """Let time pass, here and there."""

    def taken(self, transaction_id: str) -> list[tuple[Decimal, Decimal]]:
        """Return what the provider's book says of each charge: captured, and given back."""

    def deliveries(self) -> Iterator[Delivery]:
        """Return the webhooks that were sent, oldest first."""

    def hear(self, delivery: Delivery) -> tuple[str, Answered]:
        """Take a webhook in as our door and our workers do: the event's id, and what it tells.

        Raises:
            Refused: it is not the provider's.
        """


def customer_of(house: House) -> str:
    return house.gateway.create_customer(
        key=f"customer-{new_id()}", company_id=new_id(), name="Acme", email="pay@acme.example"
    )


def charge_of(
    house: House,
    pays: Pays | None = Pays.WELL,
    *,
    money: Money | None = None,
    off_session: bool = True,
    customer: str | None = None,
) -> ChargeRequest:
    """One attempt, not yet sent; without `pays` there is no method yet."""
    customer = customer or customer_of(house)
    attempt_id = new_id()
    return ChargeRequest(
        key=f"attempt-{attempt_id}",
        money=money or Money(Decimal("12.30"), house.currency),
        customer=customer,
        method=house.method(customer, pays) if pays else None,
        off_session=off_session and pays is not None,
        metadata={
            "transaction_id": str(new_id()),
            "company_id": str(new_id()),
            "attempt_id": str(attempt_id),
        },
    )


def transaction_of(request: ChargeRequest) -> UUID:
    return UUID(request.metadata["transaction_id"])


def refund_of(intent: Intent, money: Money, **more: Any) -> RefundRequest:
    refund_id = str(new_id())
    ids = {name: intent.metadata[name] for name in ("transaction_id", "company_id")}
    return RefundRequest(
        key=more.get("key", f"refund-{refund_id}"),
        provider_id=intent.provider_id,
        money=money,
        reason="requested",
        metadata={"refund_id": refund_id, **ids},
    )


def resolve(house: House, request: ChargeRequest) -> Intent:
    """Find out what became of a lost charge, as the workers do while its key lives.

    A saved error may be told again before the provider knows better.
    """
    if house.gateway.finds_at_once:
        found = house.gateway.find(
            transaction_id=transaction_of(request), customer=request.customer, key=request.key
        )
        if found:
            return found[0]
    return house.gateway.charge(request)


def must_stand_in(house: House, why: str) -> None:
    """Skip where only a stand-in can do what the test needs."""
    if not house.is_stand_in:
        pytest.skip(f"{house.name}'s own test mode {why}")


def lost(call: Callable[[], object]) -> OutcomeUnknown:
    with pytest.raises(OutcomeUnknown) as unknown:
        call()
    return unknown.value
