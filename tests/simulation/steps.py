"""What may happen next. Each step says what it did, or None where there was nothing to do."""

from __future__ import annotations

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import select

from models.clock import now
from models.disputes import Dispute
from models.invoices import Invoice
from models.methods import MethodType, PaymentMethod
from models.refunds import Refund
from models.transactions import SETTLED, Provider, Status, Transaction
from sandbox.standin.control import Refused
from tests.simulation.providers import Side
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
WALLETS = (
    "sandbox_payer",
    "sandbox_payer",
    "sandbox_pending",
    "sandbox_denied_5120",
    "sandbox_instrument_declined",
    "sandbox_payer_action_required",
    "sandbox_transaction_refused",
)
GOOD = frozenset({"pm_card_visa", "pm_card_mastercard", "sandbox_payer"})
# Nobody declines these.
METHODS = (*(("card", token) for token in CARDS), *(("paypal", token) for token in WALLETS))
WHOLE = ("HUF", "JPY")
# Nobody asks for parts of these, for PayPal takes none.
PRICES = {
    "INR": ("100.00", "0.50", "33.33"),
    "USD": ("9.99", "100.00"),
    "JPY": ("1200", "100"),
    "KWD": ("10.50", "100.00"),
    "HUF": ("3500", "200"),
    "EUR": ("100.00", "0.99"),
}
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


def bill(history: History, currency: str = "") -> str:
    currency = currency or history.random.choice(sorted(PRICES))
    price = history.random.choice(PRICES[currency])
    line = {"description": "Seats", "quantity": 1, "unit_amount": price}
    status, answer = history.ask("invoices", {"lines": [line], "currency": currency})
    if status == 201:
        history.invoices.append((answer["id"], price))
    return f"{price} {currency}: {status}"


def buy(history: History, method: PaymentMethod | None = None, currency: str = "") -> str:
    """Bill and pay at once, with a chosen method if one is given."""
    billed = bill(history, currency)
    invoice_id, price = history.invoices[-1]
    return f"{billed}, {pay_with(history, invoice_id, price, method)}"


def keep_a_card(history: History) -> str:
    return keep(history, history.random.choice(METHODS))


def keep(history: History, method: tuple[str, str]) -> str:
    """Keep a card or a wallet, whichever it is."""
    kind, token = method
    status, answer = history.ask("payment-methods", {"type": kind, "token": token})
    if status == 202 and token in GOOD:
        history.good.add(answer["id"])
    return f"{token}: {status}"


def pay(history: History) -> str | None:
    if not history.invoices:
        return None
    return pay_with(history, *history.random.choice(history.invoices))


def pay_with(
    history: History, invoice_id: str, price: str, method: PaymentMethod | None = None
) -> str:
    body: dict[str, Any] = {"invoice_id": invoice_id, "amount": price}
    if method is not None:
        body["payment_method_id"] = str(method.id)
    elif (methods := methods_of(history)) and history.random.random() < 0.8:
        body["payment_method_id"] = str(history.random.choice(methods).id)
        body["off_session"] = history.random.random() < 0.3
    elif history.random.random() < 0.6:
        body |= {"provider": "paypal", "save_method": history.random.random() < 0.3}
    status, answer = history.ask("payments/create-intent", body)
    return f"invoice {history.invoices.index((invoice_id, price))}: {status} {_short(answer)}"


def refund(history: History) -> str | None:
    payment = choose(history, mostly(history, SETTLED))
    if payment is None:
        return None
    share = history.random.choice((Decimal(1), Decimal("0.6"), Decimal("0.25")))
    places = Decimal(1) if payment.currency in WHOLE else Decimal("0.01")
    amount = str((payment.amount * share).quantize(places))
    status, answer = history.ask(f"payments/{payment.id}/refund", {"amount": amount})
    return f"{amount} of payment {number_of(history, payment)}: {status} {_short(answer)}"


def retry(history: History) -> str | None:
    payment = choose(history, mostly(history, (Status.FAILED, Status.REQUIRES_ACTION)))
    if payment is None:
        return None
    body = {}
    if (methods := methods_of(history)) and history.random.random() < 0.5:
        body = {"payment_method_id": str(history.random.choice(methods).id)}
    verb = "retry" if history.random.random() < 0.7 else "resume"
    status, answer = history.ask(f"payments/{payment.id}/{verb}", body if verb == "retry" else {})
    return f"{verb} payment {number_of(history, payment)}: {status} {_short(answer)}"


def change_a_card(history: History) -> str | None:
    methods = methods_of(history)
    one = choose(history, methods)
    if one is None:
        return None
    path = f"payment-methods/{one.id}"
    what = history.random.choice(("remove", "replace", "default"))
    if what == "remove":
        status, _ = history.ask(path, method="DELETE")
    elif what == "replace":
        tokens = WALLETS if one.type is MethodType.PAYPAL else CARDS
        status, _ = history.ask(
            f"{path}/replace", {"type": one.type, "token": history.random.choice(tokens)}
        )
    else:
        status, _ = history.ask(f"{path}/default", {})
    return f"{what} card {methods.index(one)}: {status}"


def change_the_policy(history: History) -> str:
    hours = history.random.choice(([], [1], [1, 2, 3], [24, 48, 72]))
    body = {"delays_h": hours, "is_enabled": history.random.random() < 0.8}
    status, _ = history.ask("retry-policy", body, method="PUT")
    return f"{body}: {status}"


def answer_a_dispute(history: History) -> str | None:
    disputes = _disputes(history)
    one = choose(history, disputes)
    if one is None:
        return None
    if history.random.random() < 0.5:
        status, answer = history.ask(f"disputes/{one.id}/accept", {})
    else:
        evidence = {"evidence": {"product_description": "Seats"}, "submit": True}
        status, answer = history.ask(f"disputes/{one.id}/evidence", evidence)
    return f"dispute {disputes.index(one)}: {status} {_short(answer)}"


# --- The operator


def record_a_transfer(history: History) -> str | None:
    if not history.invoices:
        return None
    invoice_id, price = history.random.choice(history.invoices)
    with transaction(company_id=history.company_id) as session:
        currency = session.get_one(Invoice, UUID(invoice_id)).currency
    body = {
        "amount": price,
        "currency": currency,
        "reference": f"R{history.random.randrange(5)}",
        "received_on": now().date().isoformat(),
    }
    status, answer = history.ask(f"invoices/{invoice_id}/bank-transfers", body, is_operator=True)
    return f"invoice {history.invoices.index((invoice_id, price))}: {status} {_short(answer)}"


def reverse_a_transfer(history: History) -> str | None:
    payments = [p for p in payments_of(history) if p.payment_method == Provider.BANK_TRANSFER]
    payment = choose(history, payments)
    if payment is None:
        return None
    body = {"reason": "a mistake"}
    status, answer = history.ask(f"payments/{payment.id}/reverse", body, is_operator=True)
    return f"payment {number_of(history, payment)}: {status} {_short(answer)}"


def settle_a_review(history: History) -> str | None:
    reviews = [p for p in payments_of(history) if p.status == Status.NEEDS_REVIEW]
    payment = choose(history, reviews)
    if payment is None:
        return None
    outcome = history.random.choice(("succeeded", "failed", "canceled"))
    body = {"outcome": outcome, "note": "seen at the provider"}
    if outcome == "succeeded":
        body["provider_transaction_id"] = payment.provider_transaction_id or "pi_none"
    status, answer = history.ask(
        f"operations/reviews/payments/{payment.id}/settle", body, is_operator=True
    )
    return f"payment {number_of(history, payment)} {outcome}: {status} {_short(answer)}"


def replay_the_dead(history: History) -> str:
    status, _ = history.ask("operations/dead-letters/replay", {}, is_operator=True)
    return str(status)


# --- The customer's browser, the bank and the provider's dashboard


def authenticate(history: History) -> str | None:
    payment = choose(history, mostly(history, (Status.REQUIRES_ACTION, Status.FAILED)))
    if payment is None or payment.provider_transaction_id is None:
        return None
    told = _deed(lambda: _side(history, payment).authenticate(payment, history.random))
    return told and f"payment {number_of(history, payment)}: {told}"


def come_back(history: History) -> str | None:
    """Come back from PayPal's page, having approved or not."""
    found = [p for p in payments_of(history) if p.payment_method == Provider.PAYPAL]
    payment = choose(history, found)
    if payment is None:
        return None
    status, answer = history.ask(f"payments/{payment.id}/capture", {})
    return f"payment {number_of(history, payment)}: {status} {_short(answer)}"


def give_up(history: History) -> str | None:
    payment = choose(history, mostly(history, (Status.REQUIRES_ACTION,)))
    if payment is None:
        return None
    status, answer = history.ask(f"payments/{payment.id}/cancel", {})
    return f"payment {number_of(history, payment)}: {status} {_short(answer)}"


def settle(history: History) -> str | None:
    payment = choose(history, payments_of(history, has_intent=True))
    if payment is None:
        return None
    outcome = history.random.choice(("succeeded", "failed"))
    told = _deed(lambda: _side(history, payment).settle(payment, outcome))
    return told and f"payment {number_of(history, payment)} {outcome}"


def refund_at_the_dashboard(history: History) -> str | None:
    payment = choose(history, mostly(history, SETTLED))
    if payment is None:
        return None
    status = history.random.choice(("succeeded", "pending"))
    amount = history.random.choice((50, 100, 200))
    told = _deed(lambda: _side(history, payment).refund(payment, amount, status))
    return told and f"{amount} of payment {number_of(history, payment)} {status}"


def dispute(history: History) -> str | None:
    payment = choose(history, mostly(history, SETTLED))
    if payment is None:
        return None
    reason = history.random.choice(("fraudulent", "inquiry", "product_not_received"))
    told = _deed(lambda: _side(history, payment).dispute(payment, reason))
    return told and f"payment {number_of(history, payment)} {reason}"


def end_a_dispute(history: History) -> str | None:
    disputes = _disputes(history)
    one = choose(history, disputes)
    if one is None:
        return None
    status = history.random.choice(("won", "lost", "warning_closed", "needs_response"))
    told = _deed(lambda: history.world.sides[one.provider].end_dispute(one, status))
    return told and f"dispute {disputes.index(one)} {status}"


def move_a_refund(history: History) -> str | None:
    with transaction(company_id=history.company_id) as session:
        query = (
            select(Refund, Transaction.payment_method)
            .join(Transaction, Transaction.id == Refund.transaction_id)
            .where(Refund.provider_refund_id.is_not(None))
            .order_by(Refund.id)
        )
        found = list(session.execute(query))
    if not found:
        return None
    number = history.random.randrange(len(found))
    one, provider = found[number]
    status = history.random.choice(("succeeded", "failed"))
    told = _deed(lambda: history.world.sides[provider].move_refund(one, status))
    return told and f"refund {number} {status}"


def _side(history: History, payment: Transaction) -> Side:
    """Return where a payment is made.

    Raises:
        Refused: a bank transfer is made at neither.
    """
    side = history.world.sides.get(payment.payment_method)
    if side is None:
        raise Refused("there is no page for it")
    return side


def _deed(work: Callable[[], object]) -> str | None:
    """Do it at the stand-in; None where it is not possible there."""
    try:
        return str(work())
    except Refused:
        return None


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


def lose_an_event(history: History) -> str | None:
    _hear(history)
    if not history.late:
        return None
    event = history.late.pop(history.random.randrange(len(history.late)))
    return event.type


def lose_the_broker(history: History) -> str:
    history.world.flush_broker()
    return "flushed"


def deliver(history: History) -> str | None:
    _hear(history)
    if not history.late:
        return None
    event = history.late.pop(history.random.randrange(len(history.late)))
    history.events.append(event)
    history.world.taken([event])
    return history.start(event.type, lambda: history.world.deliver(event))


def deliver_again(history: History) -> str | None:
    if not history.events:
        return None
    event = history.random.choice(history.events)
    return history.start(event.type, lambda: history.world.deliver(event))


def _hear(history: History) -> None:
    history.late += history.world.new_events()


def beat(history: History) -> str:
    name = history.random.choice(["outbox.sweep", *history.world.beat()])
    return history.start(name, lambda: history.world.ring(name))


# --- Faults and the clock


def fault(history: History) -> str:
    side = history.random.choice(list(history.world.sides.values()))
    chosen = dict(history.random.choice(side.faults))
    side.control.fault(**chosen)
    return f"{side.name} {chosen}"


def decline(history: History) -> str:
    side = history.random.choice(list(history.world.sides.values()))
    code = history.random.choice(side.declines)
    side.control.fault("decline", decline_code=code)
    return code


def mend(history: History) -> str:
    for side in history.world.sides.values():
        side.control.clear_faults()
    return "no faults"


def jump(history: History) -> str:
    seconds = history.random.choice(JUMPS_S)
    history.world.advance(seconds)
    return f"{seconds} s"


STEPS: tuple[tuple[float, Step], ...] = (
    (1, bill),
    (3, keep_a_card),
    (10, buy),
    (4, pay),
    (5, refund),
    (3, retry),
    (1, change_a_card),
    (0.4, change_the_policy),
    (1, answer_a_dispute),
    (1.5, record_a_transfer),
    (0.7, reverse_a_transfer),
    (1, settle_a_review),
    (0.3, replay_the_dead),
    (1.2, dispute),
    (1, end_a_dispute),
    (4, authenticate),
    (2, come_back),
    (0.7, give_up),
    (1.5, settle),
    (1, refund_at_the_dashboard),
    (1.5, move_a_refund),
    (14, take_a_message),
    (10, go_on),
    (5, finish),
    (1.5, kill),
    (2, bring_back_what_a_dead_worker_held),
    (1, bring_a_message_twice),
    (1, lose_an_event),
    (0.7, lose_a_message),
    (0.3, lose_the_broker),
    (8, deliver),
    (1, deliver_again),
    (3, beat),
    (5, fault),
    (1, decline),
    (0.7, mend),
    (2.5, jump),
)


def methods_of(history: History) -> list[PaymentMethod]:
    with transaction(company_id=history.company_id) as session:
        query = select(PaymentMethod).where(PaymentMethod.is_active).order_by(PaymentMethod.id)
        return list(session.scalars(query))


def _disputes(history: History) -> list[Dispute]:
    with transaction(company_id=history.company_id) as session:
        return list(session.scalars(select(Dispute).order_by(Dispute.id)))


def payments_of(history: History, *, has_intent: bool = False) -> list[Transaction]:
    with transaction(company_id=history.company_id) as session:
        query = select(Transaction).order_by(Transaction.id)
        if has_intent:
            query = query.where(Transaction.provider_transaction_id.is_not(None))
        return list(session.scalars(query))


def mostly(history: History, statuses: Collection[Status]) -> list[Transaction]:
    """Return the payments that can be chosen with sense; now and then it is done without."""
    found = payments_of(history)
    if history.random.random() < 0.1:
        return found
    return [payment for payment in found if payment.status in statuses]


def choose(history: History, rows: list[Any]) -> Any:
    return history.random.choice(rows) if rows else None


def number_of(history: History, payment: Transaction) -> int:
    """Return a payment's number in this history, which is the same each time."""
    ids: list[UUID] = [each.id for each in payments_of(history)]
    return ids.index(payment.id)


def _short(answer: Any) -> str:
    status = answer.get("status")
    return str(status if isinstance(status, str) else answer.get("detail"))
