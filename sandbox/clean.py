"""Remove what the commands made in this checkout: `var/`, the virtual environment, the caches.

It refuses while `make run` runs here, and follows no link out of the checkout.
"""

from __future__ import annotations

import shutil
import sys

from sandbox.children import VAR
from sandbox.holder import holder_of

MADE = (
    ".venv",
    ".hypothesis",
    ".import_linter_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".schemathesis",
    "__pycache__",
)
MADE_IN_ROOMS = "__pycache__"


def main() -> int:
    """Remove it, and say what was refused."""
    if (pid := holder_of(VAR / "run" / "lock")) is not None:
        print(f"make run runs here (pid {pid}); stop it first.", file=sys.stderr)
        return 2
    root = VAR.parent
    for name in ("var", *MADE):
        shutil.rmtree(root / name, ignore_errors=True)
    for data in root.glob(".coverage*"):
        data.unlink()
    for room in root.iterdir():
        if room.is_dir() and room.name != ".git":
            for folder in room.rglob(MADE_IN_ROOMS):
                shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
