"""The relays that are measured side by side, each one process on a port of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from benchmarks.processes import bench_python
from benchmarks.report import FOLDER
from models.ids import new_id
from sandbox.children import Child, free_port, last_lines
from tests.system import System

READY_S = 60.0
WS = "ws@8.23.0"
MODULES = Path("var", "bench-node")
COMPANIES = 10


class Contender:
    """A relay that hears `channel:*` at Redis and passes on what is published there.

    Args:
        argv: of its process, before its port and the address of Redis.
    """

    def __init__(self, name: str, argv: Sequence[str | Path], **environ: str) -> None:
        self.name = name
        # Of its own: all run at once, and nobody else is to have work with what it delivers.
        self.companies = [str(new_id()) for _ in range(COMPANIES)]
        self.port = free_port()
        self._argv = [*argv, str(self.port)]
        self._environ = environ
        self._log = FOLDER / f"relay-{name.split(maxsplit=1)[0].lower()}.log"
        self._child: Child

    def start(self, system: System) -> Self:
        """Start it and wait until it listens."""
        with self._log.open("wb") as log:
            self._child = Child(
                [*self._argv, system.valkey.url],
                env={**os.environ, **self._environ},
                output=log,
            )
        deadline = time.monotonic() + READY_S
        while not _listens(self.port):
            if self._child.exit_code() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.name} does not start:\n{last_lines(self._log)}")
            time.sleep(0.05)
        return self

    @property
    def pid(self) -> int:
        """Return the pid of the process that started the others, if any."""
        return self._child.pid

    def groups(self, clients: int, *, companies: int = COMPANIES) -> list[dict[str, Any]]:
        """Return how `clients` of each of so many companies knock."""
        return [{**self._way_in(name), "clients": clients} for name in self.companies[:companies]]

    def _way_in(self, company: str) -> dict[str, Any]:
        return {"path": f"/ws/{company}", "headers": []}

    def stop(self) -> None:
        """End it."""
        self._child.stop()


class Ours(Contender):
    """The relay as it ships: gunicorn, real rows, real tokens.

    Args:
        tokens: of one user of each company.
    """

    def __init__(self, system: System, tokens: dict[str, str]) -> None:
        self.name = "ours"
        self._system = system
        self._tokens = tokens
        self.companies = list(tokens)
        self.port = int(system.environ["RELAY_PORT"])

    def start(self, system: System) -> Self:
        """Start it and wait until it answers."""
        system.relay.start()
        return self

    @property
    def pid(self) -> int:
        """Return gunicorn's."""
        return self._system.relay.pid

    def _way_in(self, company: str) -> dict[str, Any]:
        # As a client that is no browser.
        token = f"Authorization: Bearer {self._tokens[company]}"
        return {"path": "/ws", "headers": [token, "Sec-WebSocket-Protocol: paybeat.v1"]}

    def stop(self) -> None:
        """End it."""
        self._system.relay.stop()


def contenders(system: System, tokens: dict[str, str]) -> list[Contender]:
    """Return ours first, then every peer that can be had here; say which cannot."""
    python = bench_python()
    peers = "benchmarks.peers."
    found = [
        Ours(system, tokens),
        Contender("specification's design, gevent", [python, "-m", f"{peers}hub_on_gevent"]),
        Contender("Python websockets", [python, "-m", f"{peers}websockets_app"]),
    ]
    if install_ws():
        node = ["node", "benchmarks/peers/ws_app.cjs"]
        path = str((MODULES / "node_modules").absolute())
        found.append(Contender("Node ws", node, NODE_PATH=path))
    return found


def install_ws() -> bool:
    """Install Node's `ws` under var/ if node and npm are here; say so where they are not."""
    if not (shutil.which("node") and shutil.which("npm")):
        print("Node ws: absent, as node or npm is not installed.", flush=True)
        return False
    done = MODULES / "complete"
    if done.exists() and done.read_text() == WS:
        return True
    MODULES.mkdir(parents=True, exist_ok=True)
    print(f"Installing {WS} into {MODULES} ...", flush=True)
    command = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--silent", WS]
    # A folder of its own: npm looks upwards for a package otherwise.
    (MODULES / "package.json").write_text("{}")
    ended = subprocess.run(command, cwd=MODULES, check=False, timeout=120)
    if ended.returncode != 0:
        print("Node ws: absent, as npm could not install it.", flush=True)
        return False
    done.write_text(WS)
    return True


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
