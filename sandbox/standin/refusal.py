"""What a stand-in refuses, whatever a provider's own shape for it is."""

from __future__ import annotations


class Refusal(Exception):
    """An answer that is an error; the message is for a person."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        self.status = status
        super().__init__(message)
