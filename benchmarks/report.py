"""Results: told to whoever runs them, and kept as one JSON line each under var/bench/."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path("var", "bench")


def title(text: str) -> None:
    """Print a heading with what the figures depend on."""
    load = os.getloadavg()[0]
    print(
        f"\n{text}\n{'-' * len(text)}\n{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, "
        f"{os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}",
        flush=True,
    )


def keep(benchmark: str, **figures: Any) -> None:
    """Write one result."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    line = {
        "benchmark": benchmark,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        **figures,
    }
    with (FOLDER / "results.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def table(rows: list[dict[str, Any]]) -> None:
    """Print rows with the same keys in columns."""
    columns = list(rows[0])
    cells = [[_text(row[column]) for column in columns] for row in rows]
    widths = [max(len(c), *(len(r[i]) for r in cells)) for i, c in enumerate(columns)]
    for line in [columns, *cells]:
        first, *others = zip(line, widths, strict=True)
        print("  ".join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in others)]))


def _text(value: Any) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def against_goal(benchmark: str, name: str, figure: float, relation: str, goal: float) -> None:
    """Print and keep a ratio beside its goal; `relation` is `<=` or `>=`."""
    is_reached = figure <= goal if relation == "<=" else figure >= goal
    verdict = "reached" if is_reached else "missed"
    print(f"{name}: {figure:.3g} (goal {relation} {goal:.3g}: {verdict})")
    keep(
        benchmark,
        ratio=name,
        figure=round(figure, 4),
        goal=f"{relation} {goal:.3g}",
        met=is_reached,
    )
