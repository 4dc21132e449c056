"""Where files go: a folder, or an object store as pyarrow knows it.

A file is seen whole or not at all, and once told to be there it outlives a power cut: in a folder
it is written under another name, synced and renamed; an object store has a file when it is closed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from models.clock import wall

UNFINISHED = "_unfinished"
# Longer than any file is written.
ABANDONED_AFTER = timedelta(hours=1)


class Place(Protocol):
    """A root under which files have paths with slashes."""

    def put(self, path: str, content: bytes) -> None:
        """Write a file, or write it anew."""

    def read(self, path: str) -> bytes:
        """Return a file. FileNotFoundError if there is none."""

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder in their order; none if there is no folder."""

    def tidy(self) -> None:
        """Remove what somebody who died has left unfinished."""


def place_of(address: str) -> Place:
    """Return the place that a setting names."""
    if "://" in address:
        return ObjectStore(address)
    return Folder(Path(address))


class Folder:
    """A folder of this machine, or of one that is mounted."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, path: str, content: bytes) -> None:
        """Write beside, sync, rename, sync the folder."""
        target, unfinished = self._root / path, self._root / UNFINISHED / uuid4().hex
        for folder in (target.parent, unfinished.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
        for folder in (target.parent, *target.parent.parents):
            _sync(folder)
            if folder == self._root:
                break

    def read(self, path: str) -> bytes:
        """Return a file."""
        return (self._root / path).read_bytes()

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        found = self._root / folder
        return sorted(each.name for each in found.iterdir()) if found.is_dir() else []

    def tidy(self) -> None:
        """Remove unfinished files that are so old that nobody writes them any more."""
        oldest = (wall() - ABANDONED_AFTER).timestamp()
        for each in (self._root / UNFINISHED).glob("*"):
            with suppress(FileNotFoundError):
                if each.stat().st_mtime < oldest:
                    each.unlink()


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


class ObjectStore:
    """What pyarrow reads an address of: `s3://bucket/folder`, `gs://…`, `file:///…`."""

    def __init__(self, address: str) -> None:
        from pyarrow import fs

        self._files: Any
        self._files, self._root = fs.FileSystem.from_uri(address)
        self._kinds = fs.FileType
        self._select = fs.FileSelector

    def put(self, path: str, content: bytes) -> None:
        """Write an object: it is there when it is closed."""
        target = f"{self._root}/{path}"
        self._files.create_dir(target.rpartition("/")[0], recursive=True)
        with self._files.open_output_stream(target) as stream:
            stream.write(content)

    def read(self, path: str) -> bytes:
        """Return an object."""
        with self._files.open_input_stream(f"{self._root}/{path}") as stream:
            return bytes(stream.read())

    def names(self, folder: str) -> list[str]:
        """Return the names under a prefix."""
        chosen = self._select(f"{self._root}/{folder}", allow_not_found=True)
        found = self._files.get_file_info(chosen)
        return sorted(each.base_name for each in found if each.type == self._kinds.File)

    def tidy(self) -> None:
        """Nothing is left unfinished that anybody sees."""
