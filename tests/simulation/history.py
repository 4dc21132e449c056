"""One history: a company's random days, then quiet, when everything must hold.

What happens is chosen by `random.Random(seed)` alone, so a seed tells the same history again:

    PAYBEAT_SEED=4711 .venv/bin/python -m pytest tests/simulation

Customers act through the API, workers take messages from the broker and stop at each crash point
and around each call, where others may overtake them or they are killed; events come late, twice
or never; the stand-in fails on command and the clock jumps.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

from models.clock import now
from models.tenants import User
from tests.factories import Customer, make_company
from tests.simulation.crew import Hand
from tests.simulation.steps import STEPS
from tests.simulation.world import World
from web.auth import tokens
from worker import sessions
from worker.database import transaction

ROUNDS = 300
# Of the quiet at the end; a history needs about twenty.
CALMS, CALM_H = 3, 73
# Past every key, ladder and deadline that a history may have begun.
AN_HOUR = timedelta(hours=1)
BUGS = ("LookupError", "KeyError", "TypeError", "ValueError", "AttributeError", "IllegalMove")


class Broken(AssertionError):
    """Something happened that never may; the message tells the whole history."""


@dataclass
class Running:
    """A hand with the message that it works on, if it is a worker's."""

    hand: Hand
    message: bytes | None = None


class History:
    """What happens to one company in a world.

    Args:
        seed: chooses everything.
        length: how many steps there are before the quiet.
    """

    def __init__(self, world: World, seed: int, *, length: int | None = None) -> None:
        self.world = world
        self.seed = seed
        self.random = Random(seed)
        self.length = length or self.random.choice((8, 12, 20, 40))
        self.told: list[str] = []
        self.hands: list[Running] = []
        self.killed: list[bytes] = []
        self.seen: list[bytes] = []
        self.events: list[dict[str, Any]] = []
        self.late: list[dict[str, Any]] = []
        self.invoices: list[tuple[str, str]] = []
        self.company: Customer
        self._token = ""
        self._signed_in_until = now()

    def run(self) -> None:
        """Live through the history and its quiet.

        Raises:
            Broken: an unexpected error; what holds at the end is judged elsewhere.
        """
        try:
            self.world.begin(self.seed)
            self.company = make_company()
            for _ in range(self.length):
                self._step()
            self._calm_down()
        except Broken:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the history explains it
            raise self.broken("".join(traceback.format_exception(error))) from None

    def broken(self, why: str) -> Broken:
        """Return an error that tells the whole history."""
        steps = "\n".join(f"  {line}" for line in self.told)
        return Broken(f"seed {self.seed}, after\n{steps}\n{why}")

    def _step(self) -> None:
        weights = [weight for weight, _ in STEPS]
        for _ in range(50):
            [(_, step)] = self.random.choices(STEPS, weights)
            done = step(self)
            if done is not None:
                self._tell(f"{step.__name__}: {done}")
                self._look()
                return

    def _tell(self, what: str) -> None:
        self.told.append(what)

    def _look(self) -> None:
        """Stop at an error that nobody expects."""
        for error in self.world.errors:
            if error.startswith(BUGS):
                raise self.broken(f"a task failed: {error}")

    # --- Hands

    def start(self, name: str, work: Any, *, message: bytes | None = None) -> str:
        """Let a process begin something; maybe it will not live to the end of it."""
        dies_at = self.random.randint(1, 9) if self.random.random() < 0.12 else None
        running = Running(Hand(name, work, dies_at=dies_at), message)
        self.hands.append(running)
        return self.go_on(running)

    def go_on(self, running: Running) -> str:
        """Let a hand go on to its next point."""
        running.hand.go()
        return self.stood(running)

    def stood(self, running: Running) -> str:
        """Return where a hand stands; one that has ended is let go."""
        hand = running.hand
        if not hand.is_done:
            return f"{hand.name} at {hand.at}"
        self.hands.remove(running)
        if hand.error is not None:
            raise self.broken("".join(traceback.format_exception(hand.error)))
        if running.message is not None:
            # Unacknowledged, the broker brings it again; else it may yet come twice.
            (self.killed if hand.is_dead else self.seen).append(running.message)
        return f"{hand.name} " + (f"killed at {hand.at}" if hand.is_dead else "done")

    def work_off(self, message: bytes, *, redelivered: bool = False) -> str:
        """Let a worker begin with a message."""
        return self.start(
            self.world.name_of(message),
            lambda: self.world.handle(message, redelivered=redelivered),
            message=message,
        )

    # --- The API

    def ask(self, path: str, body: Any) -> tuple[int, Any]:
        """Post to the API as the company's owner; return status and answer."""
        self._sign_in()
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Idempotency-Key": f"{self.random.getrandbits(64):x}",
            "Prefer": "respond-async",
        }
        answer = self.world.app.test_client().post(f"/api/v1/{path}", json=body, headers=headers)
        assert answer.status_code < 500, answer.text
        return answer.status_code, answer.json

    def _sign_in(self) -> None:
        if now() < self._signed_in_until - AN_HOUR:
            return
        with transaction() as session:
            row = sessions.start(session, session.get_one(User, self.company.user_id))
            session_id, self._signed_in_until = row.id, row.expires_at
        self._token = tokens.issue(
            user_id=self.company.user_id, session_id=session_id, expires_at=row.expires_at
        )

    @property
    def company_id(self) -> UUID:
        return self.company.company_id

    # --- Quiet

    def _calm_down(self) -> None:
        """No more faults and nothing new: all that is owed and late is done, however long."""
        self._tell("quiet")
        self.world.stripe.clear_faults()
        for running in list(self.hands):
            running.hand.finish()
            self.stood(running)
        for message in self.killed:
            self.world.put(message)
        self.killed.clear()
        for _ in range(CALMS):
            self._work_off_all()
            self.world.advance(CALM_H * 3600)
            for name in self.world.beat():
                self._do(name, lambda name=name: self.world.ring(name))
        self._work_off_all()

    def _work_off_all(self) -> None:
        for _ in range(ROUNDS):
            if self._round():
                continue
            due = self.world.next_due()
            if due is None:
                return
            self.world.advance(max(0, int((due - now()).total_seconds())) + 2)
            self.world.sweep_due()
        raise self.broken(f"it does not become quiet: {self.world.owed()}")

    def _round(self) -> bool:
        """Work off what waits and deliver what is late; whether there was anything."""
        messages = [
            self.world.take(queue)
            for queue, number in self.world.waiting().items()
            for _ in range(number)
        ]
        for message in messages:
            self._do(
                self.world.name_of(message),
                lambda m=message: self.world.handle(m, redelivered=False),
            )
        self.late += self.world.new_events()
        late, self.late = self.late, []
        for event in late:
            self._do(event["type"], lambda event=event: self.world.deliver(event))
        if late:
            self.world.stripe.taken([event["id"] for event in late])
        return bool(messages or late)

    def _do(self, name: str, work: Any) -> None:
        running = Running(Hand(name, work))
        self.hands.append(running)
        running.hand.finish()
        self.stood(running)
        self._look()
