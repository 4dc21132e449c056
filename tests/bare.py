"""The environment of a process that must find nothing of this one's settings."""

from __future__ import annotations

import os


def bare_environ(**settings: str) -> dict[str, str]:
    """Return PATH, what has the process measured when this one is, and these settings."""
    measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return {"PATH": os.environ["PATH"], **measured, **settings}
