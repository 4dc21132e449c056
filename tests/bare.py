"""The environment of processes: without this one's settings, measured by coverage or not."""

from __future__ import annotations

import os

# For processes whose pace is tested, or whose work is reached in pytest too.
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": ""}


def measured() -> dict[str, str]:
    """Return what has a process measured when this one is."""
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}


def bare_environ(**settings: str) -> dict[str, str]:
    """Return PATH, what has the process measured when this one is, and these settings."""
    return {"PATH": os.environ["PATH"], **measured(), **settings}
