"""What chance alone would seldom bring about: the moments at which money is charged twice or lost.

A scene is a step like any other, and made of the same; only the order of a few is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from models.methods import PaymentMethod
from models.transactions import SETTLED, Provider, Status, Transaction
from tests.simulation.crew import Hand
from tests.simulation.steps import (
    WHOLE,
    buy,
    choose,
    keep,
    methods_of,
    number_of,
    pay_with,
    payments_of,
)

if TYPE_CHECKING:
    from tests.simulation.history import History

SURE = {Provider.STRIPE: ("card", "pm_card_visa"), Provider.PAYPAL: ("paypal", "sandbox_payer")}
DECLINED = ("card", "pm_sandbox_decline_insufficient_funds")
CHARGES = {
    Provider.STRIPE: "/v1/payment_intents*",
    Provider.PAYPAL: "/v2/checkout/orders*",
}
REFUNDS = {
    Provider.STRIPE: "/v1/refunds",
    Provider.PAYPAL: "/v2/payments/captures/*",
}
LOST: tuple[dict[str, Any], ...] = (
    {"kind": "drop_after"},
    {"kind": "timeout_after", "delay_ms": 3},
    {"kind": "server_error", "executed": True},
    {"kind": "drop_before"},
    {"kind": "server_error", "executed": False},
)
# After the last two no money has moved, but nobody can know.
FREEZES_S = (91, 400, 5 * 3600, 7 * 3600, 25 * 3600, 25 * 3600)
# Past a lease; past the life of a key at either.
CALLING = ("payments", "refunds")
AROUND_A_CALL = ("before the call", "after the call")
REFUSED = 400

Work = Callable[[], object]


def freeze(history: History) -> str | None:
    """Have a process stand still around a call for so long that others take its work over."""
    begun = _begin(history, history.any_provider()) if history.random.random() < 0.7 else ""
    message = _take(history, CALLING)
    if message is None:
        return begun or None
    name = history.world.name_of(message)
    hand = Hand(name, lambda: history.world.handle(message, redelivered=False))
    where = history.random.choice(AROUND_A_CALL)
    while hand.go() and hand.at != where:
        pass
    if hand.is_done:
        return f"{begun} {name}: {history.ended(hand, message)}"
    seconds = history.random.choice(FREEZES_S)
    history.world.advance(seconds)
    history.world.sweep_due()
    for _ in range(history.random.choice((1, 3, 3))):
        history.work_round()
    hand.finish()
    return f"{begun} {name} {where} for {seconds} s: {history.ended(hand, message)}"


def lose_the_answer(history: History) -> str | None:
    """Have money move at the provider or not, and nobody told: by no answer and by no event."""
    side = history.world.sides[history.any_provider()]
    told = _begin(history, side.name)
    if told is None:
        return None
    path = (REFUNDS if told.startswith("refund") else CHARGES)[side.name]
    fault = dict(history.random.choice(LOST))
    side.control.clear_faults()
    side.control.fault(**fault, path=path, count=history.random.choice((1, 1, 3)))
    history.work_round()
    events = history.world.new_events()
    if history.random.random() < 0.5:
        history.late += events
    seconds = history.random.choice(FREEZES_S)
    if history.random.random() < 0.6:
        history.world.advance(seconds)
        history.world.sweep_due()
        history.work_round()
    else:
        seconds = 0
    return f"{told}, {fault['kind']}, {len(events)} events, {seconds} s later"


def pay_in_an_old_tab(history: History) -> str | None:
    """Have a declined payment be paid in a tab that is open still, around another payment."""
    keep(history, DECLINED)
    history.work_round()
    declined = next((one for one in reversed(methods_of(history)) if one.is_active), None)
    told = buy(history, declined, "USD")
    history.work_round()
    earlier = payments_of(history)[-1]
    if earlier.status != Status.FAILED or not (good := _good(history, Provider.STRIPE)):
        return told
    pay_with(history, *history.invoices[-1], history.random.choice(good))
    message = _take(history, CALLING)
    if message is None:
        return told
    hand = Hand("the other", lambda: history.world.handle(message, redelivered=False))
    stands = sum(
        hand.go() for _ in range(history.random.choice((0, 0, 1, 2, 3))) if not hand.is_done
    )
    is_paid = history.world.stripe.pay_in_browser(earlier)
    if history.random.random() < 0.6:
        history.hear()
    if not hand.is_done:
        hand.finish()
    return f"{told}, {is_paid} at point {stands} of the other: {history.ended(hand, message)}"


def _begin(history: History, provider: Provider) -> str | None:
    if history.random.random() < 0.3 and (told := _begin_a_refund(history, provider)):
        return told
    return _begin_a_good_payment(history, provider)


def _begin_a_good_payment(history: History, provider: Provider) -> str | None:
    if not (good := _good(history, provider)):
        keep(history, SURE[provider])
        history.work_round()
        good = _good(history, provider)
    return buy(history, history.random.choice(good), "USD") if good else None


def _good(history: History, provider: Provider) -> list[PaymentMethod]:
    methods = methods_of(history)
    return [one for one in methods if one.provider == provider and str(one.id) in history.good]


def _begin_a_refund(history: History, provider: Provider) -> str | None:
    found = [p for p in payments_of(history) if p.payment_method == provider]
    payment = choose(history, [p for p in found if p.status in SETTLED])
    if payment is None:
        return None
    status, _ = _refunding(history, payment, Decimal("0.6"))()
    return f"refund of payment {number_of(history, payment)}: {status}"


def _refunding(
    history: History, payment: Transaction, share: Decimal
) -> Callable[[], tuple[int, object]]:
    places = Decimal(1) if payment.currency in WHOLE else Decimal("0.01")
    amount = str((payment.amount * share).quantize(places))
    return history.asking(f"payments/{payment.id}/refund", {"amount": amount})


def race(history: History) -> str | None:
    """Have one do all that it can while another stands before a commit, then both go on."""
    kinds = [_two_refunds, _two_refunds, _two_messages, _twice, _two_settlers]
    history.random.shuffle(kinds)
    works = next(filter(None, (two(history) for two in kinds)), None)
    if works is None:
        return None
    told = works.told
    one, other = Hand(f"{told} 1", works.first), Hand(f"{told} 2", works.second)
    commit = history.random.choice((1, 1, 1, 2))
    if not one.go_to_commit(commit):
        other.finish()
    else:
        one.race(other)
    for hand in (one, other):
        history.ended(hand)
    told = f"{told} at commit {commit}"
    if works.is_one_too_many and all(hand.result[0] < REFUSED for hand in (one, other)):
        raise history.broken(f"{told}: both were accepted")
    return told


@dataclass(frozen=True)
class Two:
    """What two do at once."""

    told: str
    first: Work
    second: Work
    # Whether each asks for what the other leaves no room for.
    is_one_too_many: bool = False


def _two_refunds(history: History) -> Two | None:
    if not _unrefunded(history):
        _begin_a_good_payment(history, history.any_provider())
        history.work_round()
    payment = choose(history, _unrefunded(history))
    if payment is None:
        return None
    first, second = (_refunding(history, payment, Decimal("0.6")) for _ in range(2))
    told = f"refunds of payment {number_of(history, payment)}"
    return Two(told, first, second, is_one_too_many=True)


def _unrefunded(history: History) -> list[Transaction]:
    return [p for p in payments_of(history) if p.status == Status.SUCCEEDED]


def _two_settlers(history: History) -> Two | None:
    """Two operators settle one payment, and not alike."""
    found = [p for p in payments_of(history) if p.status == Status.NEEDS_REVIEW]
    payment = choose(history, found)
    if payment is None:
        return None
    path = f"operations/reviews/payments/{payment.id}/settle"
    first, second = (
        history.asking(path, {"outcome": outcome, "note": "seen"}, is_operator=True)
        for outcome in ("failed", "canceled")
    )
    told = f"settlers of payment {number_of(history, payment)}"
    return Two(told, first, second, is_one_too_many=True)


def _two_messages(history: History) -> Two | None:
    first = _take(history)
    if first is None:
        return None
    second = _take(history)
    if second is None:
        history.world.put(first)
        return None
    name_of = history.world.name_of
    return Two(
        f"{name_of(first)} and {name_of(second)}",
        lambda: history.world.handle(first, redelivered=False),
        lambda: history.world.handle(second, redelivered=False),
    )


def _twice(history: History) -> Two | None:
    """One message comes to two workers."""
    message = _take(history)
    if message is None:
        return None
    return Two(
        f"{history.world.name_of(message)} twice",
        lambda: history.world.handle(message, redelivered=False),
        lambda: history.world.handle(message, redelivered=True),
    )


def _take(history: History, first: tuple[str, ...] = ()) -> bytes | None:
    """Take a message from the broker, of the `first` queues if there is any."""
    queues = sorted(history.world.waiting())
    if not queues:
        return None
    preferred = [queue for queue in queues if queue in first]
    return history.world.take(history.random.choice(preferred or queues))


SCENES = (
    (5.0, freeze),
    (5.0, lose_the_answer),
    (6.0, race),
    (2.5, pay_in_an_old_tab),
)
