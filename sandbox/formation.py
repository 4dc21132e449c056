"""The processes of the Procfiles, side by side under honcho, until one is given up or all must go.

    python -m sandbox.formation Procfile [Procfile ...]

Each runs under a keeper that starts it again when it dies, as an init system would do.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from honcho import manager  # type: ignore[import-untyped]
from honcho.environ import parse_procfile  # type: ignore[import-untyped]

from sandbox.children import keeper_argv

STOP_S = 21.0
# A worker finishes what it holds for 20 s; `make run` promises to be gone in 30.
RELEASE = "release"


def read_procfiles(paths: list[Path]) -> dict[str, list[str]]:
    """Return the command lines by name; `release` may stand in several files, run in order."""
    lines: dict[str, list[str]] = {}
    for path in paths:
        for name, command in parse_procfile(path.read_text()).processes.items():
            lines.setdefault(name, []).append(command)
    return lines


def run(commands: Mapping[str, str]) -> int:
    """Run all until one is given up or a signal comes; return the first exit code."""
    # Every keeper ends its own command in STOP_S; honcho must not be quicker than they are.
    manager.KILL_WAIT = STOP_S + 2
    processes = manager.Manager()
    for name, command in commands.items():
        keeper = keeper_argv(parent=0, grace_s=STOP_S, is_revived=True)
        processes.add_process(name, f"exec {shlex.join([*keeper, 'bash', '-c', command])}")
    processes.loop()
    return int(processes.returncode or 0)


def main() -> int:
    """Run the Procfiles of the command line."""
    return run(
        {
            name: lines[-1]
            for name, lines in read_procfiles([Path(one) for one in sys.argv[1:]]).items()
            if name != RELEASE
        }
    )


if __name__ == "__main__":
    sys.exit(main())
