"""What may happen next. Each step says what it did, or None where there was nothing to do."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import select

from models.methods import PaymentMethod
from models.refunds import Refund
from models.transactions import Transaction
from sandbox.standin.control import Refused
from worker.database import transaction

if TYPE_CHECKING:
    from tests.simulation.history import History

CARDS = (
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_mastercard",
    "pm_card_authenticationRequired",
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
    "pm_card_chargeCustomerFail",
    "pm_card_refundFail",
    "pm_card_pendingRefund",
    "pm_sandbox_processing",
    "pm_sandbox_decline_insufficient_funds",
    "pm_sandbox_decline_lost_card__do_not_try_again",
    "pm_sandbox_decline_do_not_honor____03",
    "pm_sandbox_decline_no_such_code",
    "pm_card_chargeDeclined",
)
PRICES = {
    "INR": ("100.00", "0.50", "33.33"),
    "USD": ("9.99", "100.00"),
    "JPY": ("1200", "100"),
    "KWD": ("10.50", "100.00"),
}
DECLINES = (
    "insufficient_funds",
    "generic_decline",
    "processing_error",
    "expired_card",
    "fraudulent",
)
FAULTS = (
    {"kind": "drop_after"},
    {"kind": "drop_before"},
    {"kind": "timeout_after", "delay_ms": 3},
    {"kind": "timeout_before", "delay_ms": 3},
    {"kind": "server_error", "executed": True},
    {"kind": "server_error", "executed": False},
    {"kind": "key_in_use"},
    {"kind": "rate_limit"},
    {"kind": "rate_limit", "count": 9},
    {"kind": "lock_timeout", "count": 4},
    {"kind": "slow", "delay_ms": 2},
    {"kind": "drop_before", "method": "GET"},
    {"kind": "server_error", "method": "GET", "count": 2},
    {"kind": "refund_pending"},
    {"kind": "refund_failed"},
)
JUMPS_S = (
    1,
    30,
    61,
    300,
    700,
    3600,
    6 * 3600,
    23 * 3600,
    24 * 3600 - 1,
    24 * 3600,
    30 * 3600,
    3 * 86400,
)

Step = Callable[["History"], str | None]


# --- Customers


def bill(history: History) -> str | None:
    currency = history.random.choice(sorted(PRICES))
    price = history.random.choice(PRICES[currency])
    line = {"description": "Seats", "quantity": 1, "unit_amount": price}
    status, answer = history.ask("invoices", {"lines": [line], "currency": currency})
    if status == 201:
        history.invoices.append((answer["id"], price))
    return f"{price} {currency}: {status}"


def keep_a_card(history: History) -> str:
    token = history.random.choice(CARDS)
    status, _ = history.ask("payment-methods", {"type": "card", "token": token})
    return f"{token}: {status}"


def pay(history: History) -> str | None:
    if not history.invoices:
        return None
    invoice_id, price = history.random.choice(history.invoices)
    body: dict[str, Any] = {"invoice_id": invoice_id, "amount": price}
    if (methods := _methods(history)) and history.random.random() < 0.9:
        body["payment_method_id"] = str(history.random.choice(methods).id)
        body["off_session"] = history.random.random() < 0.3
    status, answer = history.ask("payments/create-intent", body)
    return f"invoice {history.invoices.index((invoice_id, price))}: {status} {_short(answer)}"


def refund(history: History) -> str | None:
    payment = _choose(history, _payments(history))
    if payment is None:
        return None
    share = history.random.choice((Decimal(1), Decimal("0.6"), Decimal("0.25")))
    places = Decimal(1) if payment.currency == "JPY" else Decimal("0.01")
    amount = str((payment.amount * share).quantize(places))
    status, answer = history.ask(f"payments/{payment.id}/refund", {"amount": amount})
    return f"{amount} of payment {_number(history, payment)}: {status} {_short(answer)}"


# --- The customer's browser, the bank and the provider's dashboard


def authenticate(history: History) -> str | None:
    payment = _choose(history, _payments(history, has_intent=True))
    if payment is None:
        return None
    is_success = history.random.random() < 0.7
    told = _deed(
        lambda: history.world.stripe.authenticate(
            payment.provider_transaction_id or "", is_success=is_success
        )
    )
    return told and f"payment {_number(history, payment)} {is_success}: {told}"


def settle(history: History) -> str | None:
    payment = _choose(history, _payments(history, has_intent=True))
    if payment is None:
        return None
    outcome = history.random.choice(("succeeded", "failed"))
    told = _deed(
        lambda: history.world.stripe.settle(payment.provider_transaction_id or "", outcome=outcome)
    )
    return told and f"payment {_number(history, payment)} {outcome}: {told}"


def refund_at_the_dashboard(history: History) -> str | None:
    payment = _choose(history, _payments(history, has_intent=True))
    if payment is None:
        return None
    status = history.random.choice(("succeeded", "pending"))
    amount = history.random.choice((50, 100, 200))
    told = _deed(
        lambda: history.world.stripe.refund(
            payment_intent=payment.provider_transaction_id, amount=amount, status=status
        )
    )
    return told and f"{amount} of payment {_number(history, payment)} {status}: {told}"


def move_a_refund(history: History) -> str | None:
    with transaction(company_id=history.company_id) as session:
        query = select(Refund).where(Refund.provider_refund_id.is_not(None)).order_by(Refund.id)
        found = list(session.scalars(query))
    one = _choose(history, found)
    if one is None:
        return None
    status = history.random.choice(("succeeded", "failed"))
    told = _deed(lambda: history.world.stripe.move_refund(one.provider_refund_id or "", status))
    return told and f"refund {found.index(one)} {status}: {told}"


def _deed(work: Callable[[], object]) -> str | None:
    """Do it at the stand-in; None where it is not possible there."""
    try:
        work()
    except Refused:
        return None
    return "done"


# --- Workers, the broker and the provider's events


def take_a_message(history: History) -> str | None:
    queues = history.world.waiting()
    if not queues:
        return None
    message = history.world.take(history.random.choice(sorted(queues)))
    return history.work_off(message)


def go_on(history: History) -> str | None:
    return history.go_on(history.random.choice(history.hands)) if history.hands else None


def finish(history: History) -> str | None:
    if not history.hands:
        return None
    running = history.random.choice(history.hands)
    running.hand.finish()
    return history.stood(running)


def kill(history: History) -> str | None:
    if not history.hands:
        return None
    running = history.random.choice(history.hands)
    running.hand.kill()
    return history.stood(running)


def bring_back_what_a_dead_worker_held(history: History) -> str | None:
    if not history.killed:
        return None
    message = history.killed.pop(history.random.randrange(len(history.killed)))
    return history.work_off(message, redelivered=True)


def bring_a_message_twice(history: History) -> str | None:
    if not history.seen:
        return None
    return history.work_off(history.random.choice(history.seen), redelivered=True)


def lose_a_message(history: History) -> str | None:
    queues = history.world.waiting()
    if not queues:
        return None
    return history.world.name_of(history.world.take(history.random.choice(sorted(queues))))


def lose_the_broker(history: History) -> str:
    history.world.flush_broker()
    return "flushed"


def deliver(history: History) -> str | None:
    _hear(history)
    if not history.late:
        return None
    event = history.late.pop(history.random.randrange(len(history.late)))
    history.events.append(event)
    history.world.stripe.taken([event["id"]])
    return history.start(event["type"], lambda: history.world.deliver(event))


def deliver_again(history: History) -> str | None:
    if not history.events:
        return None
    event = history.random.choice(history.events)
    return history.start(event["type"], lambda: history.world.deliver(event))


def _hear(history: History) -> None:
    history.late += history.world.new_events()


def beat(history: History) -> str:
    name = history.random.choice(["outbox.sweep", *history.world.beat()])
    return history.start(name, lambda: history.world.ring(name))


# --- Faults and the clock


def fault(history: History) -> str:
    chosen = dict(history.random.choice(FAULTS))
    history.world.stripe.fault(**chosen)
    return str(chosen)


def decline(history: History) -> str:
    code = history.random.choice(DECLINES)
    history.world.stripe.fault("decline", decline_code=code)
    return code


def mend(history: History) -> str:
    history.world.stripe.clear_faults()
    return "no faults"


def jump(history: History) -> str:
    seconds = history.random.choice(JUMPS_S)
    history.world.advance(seconds)
    return f"{seconds} s"


STEPS: tuple[tuple[float, Step], ...] = (
    (4, bill),
    (4, keep_a_card),
    (8, pay),
    (5, refund),
    (2, authenticate),
    (1.5, settle),
    (1, refund_at_the_dashboard),
    (1.5, move_a_refund),
    (14, take_a_message),
    (10, go_on),
    (5, finish),
    (1.5, kill),
    (2, bring_back_what_a_dead_worker_held),
    (1, bring_a_message_twice),
    (0.7, lose_a_message),
    (0.3, lose_the_broker),
    (8, deliver),
    (1, deliver_again),
    (3, beat),
    (3, fault),
    (1, decline),
    (0.7, mend),
    (2.5, jump),
)


def _methods(history: History) -> list[PaymentMethod]:
    with transaction(company_id=history.company_id) as session:
        query = select(PaymentMethod).where(PaymentMethod.is_active).order_by(PaymentMethod.id)
        return list(session.scalars(query))


def _payments(history: History, *, has_intent: bool = False) -> list[Transaction]:
    with transaction(company_id=history.company_id) as session:
        query = select(Transaction).order_by(Transaction.id)
        if has_intent:
            query = query.where(Transaction.provider_transaction_id.is_not(None))
        return list(session.scalars(query))


def _choose(history: History, rows: list[Any]) -> Any:
    return history.random.choice(rows) if rows else None


def _number(history: History, payment: Transaction) -> int:
    """Return a payment's number in this history, which is the same each time."""
    ids: list[UUID] = [each.id for each in _payments(history)]
    return ids.index(payment.id)


def _short(answer: Any) -> str:
    return str(answer.get("status") if isinstance(answer.get("status"), str) else answer["detail"])
