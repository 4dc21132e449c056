"""A customer's ninety days: invoices, declines, other cards, retries by hand; from one seed.

Drives `schedules.ladder` as the tasks do, without rows. What was attempted is for
`tests.schedules.policy_table` to judge.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from schedules.declines import Advice
from schedules.ladder import (
    CARD_WINDOW,
    MAX_CARD_DECLINES,
    RETRIES,
    RetryPolicy,
    Standing,
    Step,
    decide,
    spent,
)
from tests.schedules.policy_table import BY_CODE, BY_NETWORK, Made
from worker.gateways.stripe.codes import Signals, advice_for, wait_at_least_s

DAYS = 90
AN_HOUR_S = 3600
# Chances at each look, of which a day has four.
BY_HAND = 0.006
A_NEW_CARD = 0.005
BEGINS = datetime(2027, 1, 15, 9, 30, tzinfo=UTC)
DEFAULT = RetryPolicy()
HARD = ("stolen_card", "fraudulent", "authentication_required", "a_code_nobody_knows")


@dataclass
class Decline:
    """An attempt that was declined, as the rows keep it."""

    made: Made
    advice: Advice
    wait_s: int


@dataclass
class Invoice:
    name: str
    card: str
    is_open: bool = True
    retry_at: datetime | None = None


@dataclass
class Customer:
    """Lives through its days hour by hour; `made` is every attempt that a provider saw."""

    seed: int
    policy: RetryPolicy = DEFAULT
    made: list[Made] = field(default_factory=list)
    declines: list[Decline] = field(default_factory=list)

    def live(self) -> list[Made]:
        chance = random.Random(self.seed)
        # Most are of a kind: a card that never recovers, one that does, one that is good.
        good = chance.choice([0.05, 0.3, 0.7])
        cards, invoices = 1, []
        moment, ends_at = BEGINS, BEGINS + timedelta(days=DAYS)
        next_invoice_at = moment
        while moment < ends_at:
            if moment >= next_invoice_at:
                next_invoice_at += timedelta(days=chance.choice([5, 10, 30]))
                invoices.append(Invoice(f"invoice {len(invoices)}", f"card {cards}"))
                self._attempt(invoices[-1], moment, chance, good, is_ladder=False)
            for invoice in invoices:
                self._look_at(invoice, moment, chance, good)
            if chance.random() < A_NEW_CARD:
                cards += 1
                self._use(f"card {cards}", invoices, moment, chance, good)
            moment += timedelta(seconds=chance.randrange(2 * AN_HOUR_S, 10 * AN_HOUR_S))
        return self.made

    def _look_at(
        self, invoice: Invoice, moment: datetime, chance: random.Random, good: float
    ) -> None:
        if invoice.retry_at is not None and invoice.retry_at <= moment:
            self._climb(invoice, moment, chance, good)
        elif invoice.is_open and chance.random() < BY_HAND:
            self._attempt(invoice, moment, chance, good, is_ladder=False, is_by_hand=True)

    def _use(
        self,
        card: str,
        invoices: list[Invoice],
        moment: datetime,
        chance: random.Random,
        good: float,
    ) -> None:
        """As `ladder.restart`: what waits for a card is tried with the new one."""
        for invoice in invoices:
            if invoice.is_open and invoice.retry_at is None:
                invoice.card = card
                self._attempt(invoice, moment, chance, good, is_ladder=False)

    def _recent(self, card: str, moment: datetime) -> list[Decline]:
        return [
            each
            for each in self.declines
            if each.made.card == card and each.made.at > moment - CARD_WINDOW
        ]

    def _standing(
        self, invoice: Invoice, moment: datetime, advice: Advice, kept: datetime | None = None
    ) -> Standing:
        recent = self._recent(invoice.card, moment)
        tried = [
            each for each in self.made if (each.invoice, each.card) == (invoice.name, invoice.card)
        ]
        told = {id(each.made): each.advice for each in self.declines}
        climbed = [told.get(id(before)) for before, after in pairwise(tried) if after.is_ladder]
        waits = [each.made.at + timedelta(seconds=each.wait_s) for each in recent if each.wait_s]
        return Standing(
            advice=advice,
            declined_at=moment,
            retries=sum(each.is_ladder for each in tried),
            retries_on_advice=climbed.count(advice),
            card_declines=len(recent),
            not_before=max(waits, default=None),
            kept=kept,
        )

    def _climb(
        self, invoice: Invoice, moment: datetime, chance: random.Random, good: float
    ) -> None:
        """As `tasks.ladder`: what the date allowed may be forbidden by now."""
        on_card = self._recent(invoice.card, moment)
        of_pair = [each for each in on_card if each.made.invoice == invoice.name]
        advice = of_pair[-1].advice if of_pair else Advice.RETRY
        standing = self._standing(invoice, moment, advice)
        is_refused = bool(on_card) and on_card[-1].advice is Advice.STOP
        invoice.retry_at = None
        if is_refused or advice not in RETRIES or spent(standing, self.policy):
            return
        if standing.not_before is not None and standing.not_before > moment:
            invoice.retry_at = standing.not_before
            return
        self._attempt(invoice, moment, chance, good, is_ladder=True)

    def _attempt(
        self,
        invoice: Invoice,
        moment: datetime,
        chance: random.Random,
        good: float,
        *,
        is_ladder: bool,
        is_by_hand: bool = False,
    ) -> None:
        """As the door and the settlement: refused at ten declines, decided after each."""
        if len(self._recent(invoice.card, moment)) >= MAX_CARD_DECLINES:
            invoice.retry_at = None
            return
        if chance.random() < good:
            self.made.append(Made(moment, invoice.name, invoice.card, is_ladder))
            invoice.is_open, invoice.retry_at = False, None
            return
        network = chance.choice(sorted(BY_NETWORK)) if chance.random() < 0.2 else ""
        soft = [code for code in BY_CODE if code not in HARD]
        code = chance.choice(soft if chance.random() < 0.9 else list(HARD))
        made = Made(moment, invoice.name, invoice.card, is_ladder, code, network)
        signals = Signals(decline_code=code, network_advice_code=network)
        advice = advice_for(signals)
        kept = invoice.retry_at if is_by_hand else None
        self.made.append(made)
        self.declines.append(Decline(made, advice, wait_at_least_s(signals)))
        decision = decide(self._standing(invoice, moment, advice, kept), self.policy)
        invoice.retry_at = decision.retry_at
        if decision.step is Step.SCHEDULED:
            assert decision.retry_at is not None
