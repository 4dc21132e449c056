"""Processes that are started here and never outlive us, and the loopback ports they take.

SandboxError
├── Missing     something that the machine lacks; the message says what would help
├── PortTaken   a port was asked for by number and somebody has it
└── NotReady    a server ended, or did not answer in its time; the message quotes its log
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Self

LOOPBACK = "127.0.0.1"
KEEPER = Path(__file__).with_name("keeper.py")
VAR = Path(__file__).resolve().parents[1] / "var"


class SandboxError(Exception):
    """Told to a person as one sentence, without a traceback."""


class Missing(SandboxError):
    """Something that the machine lacks."""


class PortTaken(SandboxError):
    """A port that was asked for by number belongs to somebody else."""


class NotReady(SandboxError):
    """A server ended or stayed silent instead of becoming ready."""


FREE_PORTS = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Return whether a server could listen on this loopback port now."""
    return obstacle(port) is None


def obstacle(port: int) -> OSError | None:
    """Return what keeps a server from listening on this loopback port, if anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, so that connections in TIME_WAIT are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            return error
    return None


def reserve(port: int) -> bool:
    """Keep other Paybeats off a port until this process ends; False if one has it already.

    From the choice of a port to the server that listens on it seconds pass. The name of an
    abstract socket is the promise: the kernel forgets it with the process that made it.
    """
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mark.bind(f"\0paybeat-port-{port}")
    except OSError:
        mark.close()
        return False
    mark.detach()  # open for as long as the process lives
    return True


def free_port() -> int:
    """Return a loopback port that nobody listens on, and reserve it.

    From below the range that the kernel gives to outgoing connections: one of those could take
    it before the server does.
    """
    for port in random.sample(FREE_PORTS, len(FREE_PORTS)):
        if reserve(port) and is_free(port):
            return port
    raise PortTaken(f"All ports from {FREE_PORTS[0]} to {FREE_PORTS[-1]} are taken.")


def keeper_argv(
    *, parent: int, grace_s: float, report_fd: int = -1, is_revived: bool = False
) -> list[str]:
    """Return the start of a command line that puts the rest of it under a keeper.

    Args:
        parent: whose end ends it; 0 is whoever starts it.
        report_fd: where the keeper writes the pid of the command; -1 for nowhere.
        is_revived: whether it is started again when it ends by itself.
    """
    told = (parent, grace_s, report_fd, int(is_revived))
    return [sys.executable, "-I", "-S", str(KEEPER), *(str(part) for part in told)]


class Child:
    """A command under a keeper: gone when stopped, and gone when its starter is, even by SIGKILL.

    Args:
        grace_s: how long SIGTERM is given before SIGKILL.
        is_revived: whether it is started again when it ends by itself; `pid` is the first one's.
    """

    def __init__(  # noqa: PLR0913  how a process is started has that many sides
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        output: IO[bytes] | int | None = None,
        grace_s: float = 10.0,
        held_fds: Sequence[int] = (),
        is_revived: bool = False,
    ) -> None:
        self.grace_s = grace_s
        keeper = partial(keeper_argv, parent=os.getpid(), grace_s=grace_s, is_revived=is_revived)
        read_fd, report_fd = os.pipe()
        try:
            self._keeper = subprocess.Popen(
                [*keeper(report_fd=report_fd), *argv],
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output is not None else None,
                start_new_session=True,
                pass_fds=(report_fd, *held_fds),
            )
        finally:
            os.close(report_fd)
        with os.fdopen(read_fd) as report:
            told = report.readline().strip()
        if not told:
            self._keeper.wait()
            raise Missing(f"{argv[0]} cannot be started.")
        self.pid = int(told)

    def exit_code(self) -> int | None:
        """Return how the command ended, or None while it runs."""
        return self._keeper.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the command to end by itself and return its exit code."""
        return self._keeper.wait(timeout_s)

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()

    def stop(self) -> int:
        """End the command with all that it started, and return its exit code."""
        if self._keeper.poll() is None:
            self._keeper.terminate()
        try:
            return self._keeper.wait(self.grace_s + 10)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._keeper.kill()
            return self._keeper.wait()


def wait_until(is_ready: Callable[[], bool], child: Child, *, timeout_s: float) -> bool:
    """Poll until ready; False when the child ended or the time is over."""
    deadline = time.monotonic() + timeout_s
    while child.exit_code() is None and time.monotonic() < deadline:
        if is_ready():
            return True
        time.sleep(0.03)
    return False


def last_lines(log: Path, count: int = 5) -> str:
    """Return the end of a log, for an error that must explain itself."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
