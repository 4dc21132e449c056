"""Ending when the `make` that started us ends, or has been told to.

A make that is killed tells its children nothing, and one that gets SIGINT by itself, without the
rest of its process group, waits for them for ever.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path

LOOK_S = 0.5
# A person who stops it will not notice; ten looks a second would cost for nothing.


def _hears_sigint(pid: int) -> bool:
    """Return whether the process has a handler for SIGINT; make drops its own when it comes."""
    try:
        status = Path("/proc", str(pid), "status").read_text()
    except OSError:
        return False
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGINT - 1) & 1)


def follow_make() -> None:
    """Send ourselves SIGTERM when make goes; nothing where no make started us."""
    if "MAKELEVEL" not in os.environ:
        return
    make = os.getppid()
    had_handler = _hears_sigint(make)

    def watch() -> None:
        while os.getppid() == make and _hears_sigint(make) == had_handler:
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
