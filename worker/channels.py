"""Channels that browsers hear: messages numbered without a hole, kept a while, published."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_PLACE = re.compile(r"([0-9a-f]{1,32})-(0|[1-9][0-9]{0,15})")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader of a channel stands: the last message that it has, in which numbering."""

    epoch: str
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `<epoch>-<seq>`, as a message's `id` and `since` have it.

        Raises:
            ValueError: it is no place.
        """
        found = _PLACE.fullmatch(text)
        if found is None:
            raise ValueError("a place is <epoch>-<seq>")
        return cls(found[1], int(found[2]))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"
