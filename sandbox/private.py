"""What the private servers share: a folder held by one starter, a port, a password, start, stop."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from sandbox.children import (
    LOOPBACK,
    Child,
    NotReady,
    PortTaken,
    SandboxError,
    free_port,
    is_free,
    last_lines,
    wait_until,
)

READY_S = 60.0
# A cold start on a busy machine with two slow cores takes seconds; a minute is a fault.
FOLDER_S = 20.0
# The server of a starter that was killed needs a moment to end before its folder is free.
TRIES = 3
# A port found free can be taken by another process before the server binds it.


class PrivateServer(ABC):
    """One server process on loopback with a folder of its own.

    Args:
        folder: made if missing; data, log, pid and password live here.
        port: one to insist on; None takes any free one, and keeps it over restarts.
    """

    name = "server"
    grace_s = 10.0
    is_revived = False
    # True: whoever kills it sees it come back. Tests that stop a server want it to stay away.

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.resolve()
        self.log = self.folder / f"{self.name}.log"
        self._is_port_given = port is not None
        self._port = port
        self._child: Child | None = None
        self._lock_fd: int | None = None

    @property
    def port(self) -> int:
        """The port it listens on; raises before the first start."""
        if self._port is None:
            raise SandboxError(f"{self.name} has not been started.")
        return self._port

    @property
    def pid(self) -> int:
        """The pid of the server itself, for tests that stop or kill it."""
        if self._child is None:
            raise SandboxError(f"{self.name} is not running.")
        return self._child.pid

    @property
    def password(self) -> str:
        """Made once a folder: other users of the machine can reach loopback too."""
        kept = self.folder / "password"
        if not kept.exists():
            kept.touch(mode=0o600)
            kept.write_text(secrets.token_urlsafe(18))
        return kept.read_text()

    def is_running(self) -> bool:
        """Return whether the process lives; it may be stopped or hung all the same."""
        return self._child is not None and self._child.exit_code() is None

    def start(self) -> Self:
        """Start and wait until it answers.

        Raises:
            Missing: the machine has no such server and no way to get one.
            PortTaken: the given port belongs to somebody else.
            NotReady: it ended, or stayed silent for a minute; its last words are in the message.
        """
        if self.is_running():
            return self
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._hold_folder()
        try:
            self._prepare()
            for _ in range(TRIES):
                if self._try_start():
                    return self
        except BaseException:
            self.stop()
            raise
        self.stop()
        raise NotReady(f"{self.name} did not become ready; its log ends:\n{last_lines(self.log)}")

    def stop(self) -> None:
        """End it: SIGTERM, a grace, SIGKILL. Its folder stays."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        (self.folder / "pid").unlink(missing_ok=True)
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def _hold_folder(self) -> None:
        if self._lock_fd is not None:
            return
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + FOLDER_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(fd)
                    raise NotReady(f"Another {self.name} runs in {self.folder}.") from None
                time.sleep(0.1)
            else:
                self._lock_fd = fd
                return

    def _try_start(self) -> bool:
        if self._child is not None:
            self._child.stop()
        self._choose_port()
        with self.log.open("ab") as log:
            self._child = Child(
                self._command(),
                env=self._environment(),
                cwd=self.folder,
                output=log,
                grace_s=self.grace_s,
                is_revived=self.is_revived,
                # The keeper holds the folder until the server is gone, also when we are killed.
                held_fds=() if self._lock_fd is None else (self._lock_fd,),
            )
        (self.folder / "pid").write_text(f"{self._child.pid}\n")
        return wait_until(self._is_answering, self._child, timeout_s=READY_S)

    def _choose_port(self) -> None:
        if self._port is not None and is_free(self._port):
            return
        if self._is_port_given:
            raise PortTaken(f"Port {self._port} for {self.name} is taken.")
        self._port = free_port()

    def _prepare(self) -> None:
        """Make what the first start needs; most need nothing."""
        return

    @abstractmethod
    def _command(self) -> list[str | Path]:
        """Return what starts it in the foreground."""

    def _environment(self) -> Mapping[str, str] | None:
        return None

    @abstractmethod
    def _is_answering(self) -> bool:
        """Return whether it serves."""

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self.port}"
