"""A lock file that one process holds, and that tells the others who it is."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sandbox.children import SandboxError


class Held(SandboxError):
    """Somebody else holds it."""


def hold(path: Path, *, told: str) -> int:
    """Take the lock for the life of this process and return its descriptor.

    Args:
        told: what to say when another process holds it; `{pid}` is its pid.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Held(told.format(pid=path.read_text().strip())) from None
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


def holder_of(path: Path) -> int | None:
    """Return the pid that holds the lock, or None."""
    if not path.exists():
        return None
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0)
    return None
