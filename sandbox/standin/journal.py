"""An append-only file of JSON lines: what makes the book outlive its process.

One line is one request's changes, so that a kill in the middle of a write loses a whole request
that was never answered, and nothing else. No fsync: a killed process loses nothing that it wrote.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

PATIENCE_S = 3.0
# One that was just killed lets go at once; one that was asked to stop, soon.


class FolderInUse(Exception):
    """Another process holds the journal; the message says which file."""


class Journal:
    """The file `journal.jsonl` in `folder`, held by one process at a time."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "journal.jsonl"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._hold()

    def _hold(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise FolderInUse(f"Another sandbox keeps its book in {self._path}.") from None
                time.sleep(0.05)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield what was appended; a torn last line is cut off."""
        whole_bytes = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole_bytes += len(line)
                yield orjson.loads(line)
        os.truncate(self._path, whole_bytes)

    def append(self, change: dict[str, Any]) -> None:
        """Write one request's changes as one line."""
        line = orjson.dumps(change) + b"\n"
        while line:
            line = line[os.write(self._file, line) :]

    def clear(self) -> None:
        """Forget everything."""
        os.ftruncate(self._file, 0)
