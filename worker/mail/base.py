"""What carries letters, and what may go wrong: errors typed by what is to be done.

    GatewayError
    ├── Unavailable      surely not sent: again later
    ├── OutcomeUnknown   it may have been sent: never again by itself
    └── Rejected         refused as it is: a person must look

None of them quotes an address: providers name who is written to in what they say.
"""

from __future__ import annotations

from typing import Protocol

from worker.gateways.base import GatewayError, OutcomeUnknown, Rejected, Unavailable
from worker.mail.letter import Letter

__all__ = ["GatewayError", "OutcomeUnknown", "Post", "Rejected", "Unavailable"]


class Post(Protocol):
    """A way to send mail; stateless, thread-safe, with a timeout of its own."""

    name: str

    def send(self, letter: Letter) -> str:
        """Hand a letter over once and return the provider's id of it.

        Raises:
            GatewayError: Unavailable, OutcomeUnknown or Rejected.
        """
