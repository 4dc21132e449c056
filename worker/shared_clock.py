"""A clock that the processes of a sandbox share: how far all are ahead of the machine's.

Eight bytes in a file that each process maps. Whoever advances them (the stand-ins' `POST
/sandbox/clock`) advances web, workers, beat and stand-ins at once. It only goes forward, and it
outlives the processes as the rows do that were written by it.
"""

from __future__ import annotations

import fcntl
import mmap
from datetime import timedelta
from pathlib import Path

from models import clock
from worker.settings import InvalidSettings, settings

BYTES = 8
MOST_S = 10 * 366 * 24 * 3600
# Far past any ladder, and far from the last year that a datetime has.
GOES_FORWARD = "The clock goes forward only, and ten years at most."


class SharedClock:
    """The clock in the file at `path`, which is made if there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            if file.tell() < BYTES:
                file.truncate(BYTES)
        with path.open("r+b") as file:
            # An aligned number is read and written whole: nobody sees half of a change.
            self._view = memoryview(mmap.mmap(file.fileno(), BYTES)).cast("q")
        self._known = (0, timedelta())

    @property
    def ahead_s(self) -> int:
        """How far ahead, in seconds."""
        return self._view[0]

    def ahead(self) -> timedelta:
        """Return how far ahead; asked at each reading of the clock, so it makes nothing new."""
        seconds, known = self._view[0], self._known
        if seconds != known[0]:
            known = self._known = (seconds, timedelta(seconds=seconds))
        return known[1]

    def advance(self, seconds: int) -> None:
        """Set it forward for everybody.

        Raises:
            ValueError: backward, or by more than years.
        """
        with self._path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._set(self.ahead_s + seconds)

    def reach(self, ahead_s: int) -> None:
        """Set it forward to where somebody's records say that it has been already."""
        with self._path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._set(max(self.ahead_s, ahead_s))

    def _set(self, ahead_s: int) -> None:
        if not self.ahead_s <= ahead_s <= MOST_S:
            raise ValueError(GOES_FORWARD)
        self._view[0] = ahead_s


def follow() -> None:
    """Have this process's clock follow the file that SANDBOX_CLOCK names, if it names one.

    Raises:
        InvalidSettings: the file cannot be used.
    """
    path = settings().sandbox_clock
    if not path:
        return
    try:
        clock.advance_by(SharedClock(Path(path)).ahead)
    except (OSError, ValueError) as error:
        raise InvalidSettings([f"SANDBOX_CLOCK cannot be used: {type(error).__name__}."]) from None
