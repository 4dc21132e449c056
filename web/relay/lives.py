"""Whether those who are connected are still signed in: who is not, or is another now, is closed.

MySQL is asked, for all sessions at once, so that a logout or a new password holds with Redis away
too. Of a database that hangs or is away nothing is concluded: whoever is in stays in until it can
be asked, or until the session's own end, which needs nobody.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from models.clock import now
from models.tenants import Role
from web.relay.client import Member
from web.relay.codes import CHANGED, SESSION_ENDED
from worker import sessions

if TYPE_CHECKING:
    from web.relay.client import Client

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
# Sessions that are new are asked for at the next look: the door goes by what Redis remembers, which
# may be 4 s old. The others at every second one.
ALL_EVERY = 2

End = Callable[[Collection[UUID], int, str], None]


@dataclass(frozen=True, slots=True)
class Guest(Member):
    """A member, and what they were when they came in."""

    role: Role


@dataclass
class _Session:
    role: Role
    expires_at: float
    clients: set[Client] = field(default_factory=set)
    is_new: bool = True


@dataclass
class _Known:
    """The sessions of those who are connected."""

    of: dict[UUID, _Session] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Lives(threading.Thread):
    """Looks every second and has ended sessions' sockets closed.

    Args:
        end: closes the sockets of sessions with a code and a reason.
        living: tells the role of each session that lives.
    """

    def __init__(
        self,
        end: End,
        *,
        living: Callable[[Collection[UUID]], Mapping[UUID, Role]] = sessions.living,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        super().__init__(name="relay-lives", daemon=True)
        self._end = end
        self._living = living
        self._look_every_s = look_every_s
        self._known = _Known()
        self._leaving = threading.Event()
        self._is_away = False

    def joined(self, client: Client) -> None:
        """Keep an eye on a client's session."""
        member = client.member
        role = member.role if isinstance(member, Guest) else Role.MEMBER
        with self._known.lock:
            found = self._known.of.setdefault(member.session_id, _Session(role, member.expires_at))
            found.clients.add(client)
            found.is_new = True

    def left(self, client: Client) -> None:
        """Forget the session with its last client."""
        with self._known.lock:
            found = self._known.of.get(client.member.session_id)
            if found is None:
                return
            found.clients.discard(client)
            if not found.clients:
                del self._known.of[client.member.session_id]

    def run(self) -> None:
        """Look until told to stop."""
        looks = 0
        while not self._leaving.wait(self._look_every_s):
            looks += 1
            try:
                self.look(all_of_them=looks % ALL_EVERY == 0)
            except Exception:
                log.exception("could not look who is still signed in")

    def stop(self) -> None:
        """Look no more."""
        self._leaving.set()

    def look(self, *, all_of_them: bool) -> None:
        """Look once: at the new sessions, or at all."""
        moment = now().timestamp()
        with self._known.lock:
            known = {each: (found.role, found.expires_at) for each, found in self._known.of.items()}
            new = {each for each, found in self._known.of.items() if found.is_new}
        over = {each for each, (_, expires_at) in known.items() if expires_at <= moment}
        self._close(over, SESSION_ENDED.code, SESSION_ENDED.reason)
        asked = (set(known) if all_of_them else new) - over
        living = self._ask(asked)
        if living is None:
            return
        with self._known.lock:
            for each in asked & self._known.of.keys():
                self._known.of[each].is_new = False
        self._close(asked - living.keys(), SESSION_ENDED.code, SESSION_ENDED.reason)
        changed = {each for each, role in living.items() if role != known[each][0]}
        self._close(changed, CHANGED.code, CHANGED.reason)

    def _ask(self, asked: Collection[UUID]) -> Mapping[UUID, Role] | None:
        """Return who lives, or None while it cannot be told."""
        try:
            living = self._living(asked) if asked else {}
        except SQLAlchemyError as error:
            if not self._is_away:
                log.warning("cannot ask who is still signed in: %s", type(error).__name__)
            self._is_away = True
            return None
        if self._is_away and asked:
            self._is_away = False
            log.info("who is still signed in can be asked again")
        return living

    def _close(self, session_ids: Collection[UUID], code: int, reason: str) -> None:
        if session_ids:
            self._end(session_ids, code, reason)
