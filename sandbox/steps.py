"""A step that is told in one line, with its seconds, on the way to something that runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print the name at once and, when it is done, how long it took."""
    began = time.monotonic()
    print(f"  {name} ...", end="", flush=True)
    try:
        yield
    except BaseException:
        print(" failed", flush=True)
        raise
    print(f" {time.monotonic() - began:.1f} s", flush=True)


def tell(line: str) -> None:
    """Print a line to the person who runs it."""
    print(line, flush=True)


def complain(error: Exception) -> None:
    """Print an error as its sentence, without a traceback."""
    print(str(error), file=sys.stderr, flush=True)
