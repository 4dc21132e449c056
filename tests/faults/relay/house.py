"""Relays as processes on servers of their own, and people who may connect to them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from models.clock import now
from models.tenants import Role, User, UserSession
from sandbox.children import LOOPBACK, free_port
from tests.faults.relay.crowd import Person
from tests.system import Part, System
from tests.waiting import wait_for
from web.auth import tokens
from worker.cache import CacheAway
from worker.channels import Channels, Place

# A test of many says how many; these limits are tested elsewhere.
ROOMY = {
    "WS_MAX_CONNECTIONS": "10000",
    "WS_MAX_PER_COMPANY": "10000",
    "WS_MAX_PER_USER": "10000",
}


class Relay:
    """A relay of one process, as gunicorn runs it: what is killed is started again."""

    def __init__(self, system: System, name: str) -> None:
        self.url = f"http://{LOOPBACK}:{free_port()}"
        self.part = Part(
            name,
            system.relay.argv,
            {**system.relay.environ, "RELAY_PORT": self.url.rpartition(":")[2]},
            log=system.folder / f"{name}.log",
            is_ready=lambda _: System._is_answering(f"{self.url}/healthz"),
        )

    @property
    def pid(self) -> int | None:
        """The process that holds the connections, if there is one now."""
        found = Path(f"/proc/{self.part.pid}/task/{self.part.pid}/children").read_text().split()
        return int(found[0]) if found else None

    def kill(self) -> None:
        """Kill the process that holds the connections; gunicorn starts another."""
        wait_for(lambda: self.pid is not None)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    @property
    def memory_kb(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("it has ended")

    @property
    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208  names alone, of thousands


class House:
    """The servers, the relays that run, and who may come."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.channels = Channels(system.valkey.url)
        self._relays: dict[str, Relay] = {}

    def relay(self, name: str) -> Relay:
        """Return the relay of this name, which answers."""
        relay = self._relays.get(name)
        if relay is None:
            relay = self._relays[name] = Relay(self.system, name)
        if not relay.part.is_running:
            relay.part.launch()
        relay.part.wait_ready()
        return relay

    def only(self, *names: str) -> list[Relay]:
        """Return these relays; no other runs."""
        for name, relay in self._relays.items():
            if name not in names:
                relay.part.stop()
        return [self.relay(name) for name in names]

    def stop(self) -> None:
        running = [relay.part for relay in self._relays.values() if relay.part.is_running]
        for part in running:
            part.signal(signal.SIGTERM)
        for part in running:
            part.stop()

    def people(self, count: int, *, company_id: UUID | None = None) -> list[Person]:
        """Return people of a company, signed in; of a new one unless it is given."""
        company_id = company_id or self.system.company()
        expires_at = now() + timedelta(hours=24)
        users = [
            User(
                id=uuid4(),
                tenant_id=self.system.tenant_id,
                company_id=company_id,
                email=f"{uuid4()}@example.com",
                password_hash="none",
                role=Role.MEMBER,
            )
            for _ in range(count)
        ]
        signed_in = [
            UserSession(id=uuid4(), user_id=user.id, expires_at=expires_at) for user in users
        ]
        with self.system.session() as session:
            session.add_all(users)
            session.flush()
            session.add_all(signed_in)
        return [
            Person(
                user_id=str(each.user_id),
                session_id=str(each.id),
                token=tokens.issue(user_id=each.user_id, session_id=each.id, expires_at=expires_at),
                channel=str(company_id),
            )
            for each in signed_in
        ]

    def end_sessions(self, people: Sequence[Person]) -> None:
        """Sign them out, as the row has it, which is the truth."""
        with self.system.session() as session:
            for person in people:
                found = session.get_one(UserSession, UUID(person.session_id))
                found.ended_at = now()

    def say(self, channel: str, bodies: Sequence[bytes]) -> bool:
        """Publish once; False if it may not have been."""
        try:
            return self.channels.publish({channel: list(bodies)}) == {}
        except CacheAway:
            return False

    def head(self, channel: str) -> Place:
        """Return the place of the newest message."""
        found: list[Place] = []

        def is_told() -> bool:
            try:
                found.append(self.channels.position(channel))
            except CacheAway:
                return False
            return True

        wait_for(is_told)
        return found[0]
