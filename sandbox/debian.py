"""Debian packages without root: fetched and checked by apt, unpacked into a folder of ours.

Nothing is installed and no system file is touched. Where apt has no lists of packages (a fresh
container image), it is given private ones. Standard library only: set-up runs this before there
is a virtual environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from sandbox.children import Missing

DEPTH = 3
# Libraries that libraries need: one level was seen, three are looked at.


class Unpacked:
    """A folder that Debian packages are unpacked into.

    Args:
        root: where the packages' `usr/…` goes.
        work: for the downloads and, where needed, apt's private lists.
    """

    def __init__(self, root: Path, work: Path) -> None:
        self.root = root
        self._work = work
        self._options: list[str] = []
        self._done: set[str] = set()

    def add(self, packages: Sequence[str]) -> None:
        """Fetch and unpack packages.

        Raises:
            Missing: no apt here, no network, or no such package.
        """
        for tool in ("apt-get", "apt-cache", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise Missing(f"{packages[0]} is missing and there is no {tool} to fetch it with.")
        downloads = self._work / "debs"
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir(parents=True)
        if not self._download(packages, downloads):
            self._update()
            if not self._download(packages, downloads):
                raise Missing(
                    f"apt-get could not download {' '.join(packages)}:"
                    " is there a network, and a Debian or Ubuntu mirror in apt's sources?"
                )
        for deb in sorted(downloads.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", deb, self.root], check=True)
        shutil.rmtree(downloads)
        self._done.update(packages)

    def add_missing_libraries(self, binaries: Iterable[Path]) -> None:
        """Unpack the library packages that these binaries cannot find on this machine.

        Raises:
            Missing: a library that no dependency of the packages brings.
        """
        programs = [path for path in binaries if path.exists()]
        for _ in range(DEPTH):
            if not missing_libraries(programs, self.library_path()):
                return
            wanted = [name for name in self._depends() if name not in self._done]
            if not wanted:
                break
            self.add(wanted)
        if missing := missing_libraries(programs, self.library_path()):
            raise Missing(f"No package found that brings {' '.join(sorted(missing))}.")

    def library_path(self) -> str:
        """Return what LD_LIBRARY_PATH must be for the unpacked programs."""
        folders = {lib.parent for lib in self.root.glob("**/lib*.so*") if "plugin" not in lib.parts}
        return ":".join(str(folder) for folder in sorted(folders))

    def _depends(self) -> list[str]:
        shown = self._apt(["apt-cache"], "depends", "--important", *sorted(self._done)).stdout
        names = re.findall(r"^\s*\|?Depends: (lib[^\s:<>]+)", shown, re.MULTILINE)
        # libc belongs to the loader that runs the program; another one would not start.
        return sorted({name for name in names if not name.startswith("libc6") and _absent(name)})

    def _download(self, packages: Sequence[str], into: Path) -> bool:
        done = self._apt(["apt-get", "--quiet"], "download", *packages, cwd=into)
        return done.returncode == 0

    def _update(self) -> None:
        lists = self._work / "lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        (self._work / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        self._options = [
            f"Dir::State::Lists={lists}",
            f"Dir::Cache={self._work / 'cache'}",
            "Debug::NoLocking=true",
        ]
        self._apt(["apt-get", "--quiet"], "update")

    def _apt(
        self, program: list[str], *words: str, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        # As root apt would read and write as a user who may not enter our folders.
        options = ["APT::Sandbox::User=root", *self._options]
        flags = [part for option in options for part in ("-o", option)]
        return subprocess.run(
            [*program, *flags, *words],
            cwd=cwd,
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
        )


def _absent(package: str) -> bool:
    asked = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Status}", package],
        check=False,
        capture_output=True,
        text=True,
    )
    return "install ok installed" not in asked.stdout


def missing_libraries(binaries: Iterable[Path], library_path: str) -> set[str]:
    """Return the sonames that the loader would not find."""
    env = {**os.environ, "LD_LIBRARY_PATH": library_path, "LC_ALL": "C"}
    missing: set[str] = set()
    for binary in binaries:
        told = subprocess.run(
            ["ldd", binary], check=False, capture_output=True, text=True, env=env
        ).stdout
        missing.update(re.findall(r"^\s*(\S+) => not found", told, re.MULTILINE))
    return missing
