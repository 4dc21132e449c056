"""What a person sees of a demo."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


class Unexpected(Exception):
    """Something is not as it should be; the message is one sentence."""


class Screen:
    """What a person sees: one line a step, with its time; colours only on a terminal."""

    def __init__(self) -> None:
        self.is_tty = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.took_s: dict[str, float] = {}
        self._began = time.monotonic()

    def step(self, name: str, text: str, took_s: float) -> None:
        """Tell that a step is done."""
        self.took_s[name] = round(took_s, 4)
        at = self._dim(f"{time.monotonic() - self._began:6.2f} s")
        print(f"  {self._green('●')} {at}  {text}  {self._dim(f'{took_s * 1000:.0f} ms')}")
        sys.stdout.flush()

    def timed(self, name: str, work: Callable[[], Json], tell: Callable[[Json], str]) -> Json:
        """Do one step and tell of it."""
        began = time.monotonic()
        done = work()
        self.step(name, tell(done), time.monotonic() - began)
        return done

    def table(self, rows: list[tuple[str, ...]]) -> None:
        """Print rows in columns as wide as their widest cell."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for number, row in enumerate(rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            line = "    " + "  ".join(cells).rstrip()
            print(line if number else self._dim(line))

    def _green(self, text: str) -> str:
        return f"\033[32m{text}\033[0m" if self.is_tty else text

    def _dim(self, text: str) -> str:
        return f"\033[2m{text}\033[0m" if self.is_tty else text
