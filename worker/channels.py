"""Channels: where a company's messages are numbered, kept and published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

# No more digits than a number of 64 bits has.
LONGEST_SEQ = 19


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a channel: after the message `seq` of an epoch; 0 is before the first."""

    epoch: str
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `<epoch>-<seq>`. ValueError for anything else."""
        epoch, dash, seq = text.rpartition("-")
        if not (epoch and dash and seq.isascii() and seq.isdigit() and len(seq) <= LONGEST_SEQ):
            raise ValueError("a place is <epoch>-<seq>")
        return cls(epoch, int(seq))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"
