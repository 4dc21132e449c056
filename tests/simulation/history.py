"""One history: a company's random days, then quiet, when everything must hold.

What happens is chosen by `random.Random(seed)` alone, so a seed tells the same history again:

    PAYBEAT_SEED=4711 .venv/bin/python -m pytest tests/simulation

Customers act through the API, workers take messages from the broker and stop at each crash point
and around each call, where others may overtake them or they are killed; events come late, twice
or never; the stand-in fails on command and the clock jumps.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

from models.clock import now
from models.tenants import Role, User
from models.transactions import Provider
from tests.factories import Customer, make_company
from tests.simulation.crew import Hand
from tests.simulation.providers import Event
from tests.simulation.scenes import SCENES
from tests.simulation.steps import METHODS, STEPS, keep
from tests.simulation.world import World, persist
from web.auth import tokens
from worker import sessions
from worker.database import PUBLISH, is_away, transaction

LENGTHS = (3, 5, 8, 12, 24)
# Most of what breaks does so within few steps.
ROUNDS, PATIENCE = 300, 12
# Of the quiet at the end; a history needs about twenty.
CALMS, CALM_H = 3, 73
# Past every key and deadline, and past each step of a ladder, that a history may have begun.
CALMING = ("webhooks.fetch_missed", "janitor.sweep", "ladder.sweep", "methods.watch_expiry")
# What beat rings for that finds work when days have passed.
ALL = (*STEPS, *SCENES)
AN_HOUR = timedelta(hours=1)
BUGS = (
    "AttributeError",
    "IllegalMove",
    "IntegrityError",
    "KeyError",
    "LookupError",
    "TypeError",
    "ValueError",
)


class Broken(AssertionError):
    """Something happened that never may; the message tells the whole history."""


class Disturbed(Exception):
    """The machine was too slow or a server was away: that says nothing of the code."""


@dataclass
class Running:
    """A hand with the message that it works on, if it is a worker's."""

    hand: Hand
    message: bytes | None = None


def _make_operator(tenant_id: UUID) -> UUID:
    with transaction() as session:
        operator = User(
            tenant_id=tenant_id,
            email=f"{tenant_id}@operators.example.com",
            password_hash="none",
            role=Role.OPERATOR,
        )
        session.add(operator)
        session.flush()
        return operator.id


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
        self.length = length or self.random.choice(LENGTHS)
        # Then the look-ups and the fetched events must do alone.
        self.events_are_lost = self.random.random() < 0.3
        self.told: list[str] = []
        self.hands: list[Running] = []
        self.killed: list[bytes] = []
        self.seen: list[bytes] = []
        self.events: list[Event] = []
        self.late: list[Event] = []
        self.good: set[str] = set()
        self.invoices: list[tuple[str, str]] = []
        self.company: Customer
        self._operator_id: UUID
        self._tokens: list[str] = []
        self._signed_in_until: datetime

    def run(self) -> None:
        """Live through the history and its quiet.

        Raises:
            Broken: an unexpected error; what holds at the end is judged elsewhere.
            Disturbed: begin again.
        """
        try:
            self.world.begin(self.seed)
            self._signed_in_until = now()
            self.company = make_company()
            self._operator_id = _make_operator(self.company.tenant_id)
            self._open_up()
            for _ in range(self.length):
                self._step()
            self._calm_down()
        except (Broken, Disturbed):
            raise
        except Exception as error:
            if is_away(error):
                raise Disturbed from error
            raise self.broken("".join(traceback.format_exception(error))) from None

    def _open_up(self) -> None:
        """Keep cards to begin with; nothing goes wrong yet."""
        for _ in range(self.random.choice((1, 2))):
            self._tell(keep(self, self.random.choice(METHODS)))
        while self._round():
            pass

    def broken(self, why: str) -> Broken:
        """Return an error that tells the whole history."""
        steps = "\n".join(f"  {line}" for line in self.told)
        return Broken(f"seed {self.seed}, after\n{steps}\n{why}")

    def _step(self) -> None:
        weights = [weight for weight, _ in ALL]
        for _ in range(50):
            [(_, step)] = self.random.choices(ALL, weights)
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
        return f"{hand.name} {self.ended(hand, running.message)}"

    def ended(self, hand: Hand, message: bytes | None = None) -> str:
        """Return how a hand has ended.

        Raises:
            Broken: by an error.
        """
        if hand.error is not None:
            if is_away(hand.error):
                raise Disturbed from hand.error
            raise self.broken("".join(traceback.format_exception(hand.error)))
        if message is not None:
            # Unacknowledged, the broker brings it again; else it may yet come twice.
            (self.killed if hand.is_dead else self.seen).append(message)
        return f"killed at {hand.at}" if hand.is_dead else "done"

    def work_off(self, message: bytes, *, redelivered: bool = False) -> str:
        """Let a worker begin with a message."""
        return self.start(
            self.world.name_of(message),
            lambda: self.world.handle(message, redelivered=redelivered),
            message=message,
        )

    # --- The API

    def ask(
        self, path: str, body: Any = None, *, method: str = "POST", is_operator: bool = False
    ) -> tuple[int, Any]:
        """Ask the API as the company's owner or an operator; return status and answer."""
        return self.asking(path, body, method=method, is_operator=is_operator)()

    def asking(
        self, path: str, body: Any = None, *, method: str = "POST", is_operator: bool = False
    ) -> Callable[[], tuple[int, Any]]:
        """Return what asks the API, for a hand to do."""
        self._sign_in()
        headers = {
            "Authorization": f"Bearer {self._tokens[is_operator]}",
            "X-Company-Id": str(self.company_id),
            "Idempotency-Key": f"{self.random.getrandbits(64):x}",
            "Prefer": "respond-async",
        }

        def ask() -> tuple[int, Any]:
            answer = persist(
                lambda: self.world.app.test_client().open(
                    f"/api/v1/{path}", method=method, json=body, headers=headers
                )
            )
            assert answer.status_code < 500, answer.text
            return answer.status_code, answer.json

        return ask

    def _sign_in(self) -> None:
        if now() < self._signed_in_until - AN_HOUR:
            return
        self._tokens.clear()
        for user_id in (self.company.user_id, self._operator_id):
            with transaction() as session:
                row = sessions.start(session, session.get_one(User, user_id))
                session_id, self._signed_in_until = row.id, row.expires_at
            self._tokens.append(
                tokens.issue(user_id=user_id, session_id=session_id, expires_at=row.expires_at)
            )

    def any_provider(self) -> Provider:
        """Choose one."""
        return self.random.choice((Provider.STRIPE, Provider.PAYPAL))

    @property
    def company_id(self) -> UUID:
        return self.company.company_id

    # --- Quiet

    def _calm_down(self) -> None:
        """No more faults and nothing new: all that is owed and late is done, however long."""
        self._tell("quiet, and no more events come" if self.events_are_lost else "quiet")
        for side in self.world.sides.values():
            side.control.clear_faults()
        for running in list(self.hands):
            running.hand.finish()
            self.stood(running)
        for message in self.killed:
            self.world.put(message)
        self.killed.clear()
        self._work_off_all()
        for _ in range(CALMS):
            self._pass(CALM_H * 3600)
            if not self._work_off_all():
                return  # three days in which nothing happens: nothing will

    def _work_off_all(self) -> bool:
        """Work until nothing is owed any more; whether anything was."""
        waits, has_worked = 0, False
        for _ in range(ROUNDS):
            if self._round():
                has_worked = True
                continue
            due = self.world.next_due()
            if due is None:
                return has_worked
            waits += 1
            # What asks again and again waits for something that takes hours.
            least_s = 3600 * (waits // PATIENCE)
            self._pass(max(least_s, int((due - now()).total_seconds()) + 2))
        raise self.broken(f"it does not become quiet: {self.world.owed()}")

    def _pass(self, seconds: int) -> None:
        """Let time pass; when it is hours, beat finds something to do too."""
        self.world.advance(max(0, seconds))
        if seconds >= AN_HOUR.total_seconds():
            self._settle_at_the_provider()
            for name in CALMING:
                self._do(name, partial(self.world.ring, name))
        self.world.sweep_due()

    def _settle_at_the_provider(self) -> None:
        """Let the banks decide what they have in hand: none takes for ever."""
        for side in self.world.sides.values():
            for told in side.settle_all(self.random):
                self._tell(told)

    def work_round(self) -> bool:
        """Work off what waits now; whether there was anything.

        Browsers are told once, of all: whoever does so leaves nothing to the other bells.
        """
        messages = [
            self.world.take(queue)
            for queue, number in self.world.waiting().items()
            for _ in range(number)
        ]
        names = [self.world.name_of(message) for message in messages]
        for number, (name, message) in enumerate(zip(names, messages, strict=True)):
            if name != PUBLISH or PUBLISH not in names[number + 1 :]:
                self._do(name, partial(self.world.handle, message, redelivered=False))
        return bool(messages)

    def _round(self) -> bool:
        """Work off what waits and deliver what is late; whether there was anything."""
        has_worked = self.work_round()
        self.late += self.world.new_events()
        late, self.late = ([], self.late) if self.events_are_lost else (self.late, [])
        self._deliver(late)
        return has_worked or bool(late)

    def hear(self) -> None:
        """Have what is new told and worked off at once."""
        self._deliver(self.world.new_events())
        self.work_round()

    def _deliver(self, late: list[Event]) -> None:
        for event in late:
            self._do(event.type, partial(self.world.deliver, event))
        self.world.taken(late)

    def _do(self, name: str, work: Callable[[], object]) -> None:
        """Do all of something at once, with nothing in between: that needs no hand."""
        try:
            work()
        except Exception as error:
            if is_away(error):
                raise Disturbed from error
            trace = "".join(traceback.format_exception(error))
            raise self.broken(f"{name}: {trace}") from None
        self._look()
