"""Passwords: argon2id, constant work for unknown users, bounded memory."""

from __future__ import annotations

import threading
import unicodedata
from functools import cache

from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError

MIN_LENGTH = 12
MAX_LENGTH = 1024

# OWASP's second choice: 19 MiB, two passes, one lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1, type=Type.ID)
# A burst of logins waits its turn rather than take 19 MiB a thread.
_turn = threading.BoundedSemaphore(8)


def hash_password(password: str) -> str:
    """Return the hash to keep."""
    with _turn:
        return _hasher.hash(_bytes(password))


def is_right(password: str, password_hash: str | None) -> bool:
    """Whether `password` fits; the same work is done when there is no hash to compare with."""
    with _turn:
        try:
            _hasher.verify(password_hash or _nobody(), _bytes(password))
        except (Argon2Error, InvalidHashError):
            return False
    return password_hash is not None


def needs_rehash(password_hash: str) -> bool:
    """Whether the hash was made with other costs than today's."""
    return _hasher.check_needs_rehash(password_hash)


def _bytes(password: str) -> bytes:
    # The same letters typed on another keyboard may come composed otherwise.
    return unicodedata.normalize("NFC", password).encode()


@cache
def _nobody() -> str:
    return _hasher.hash(b"nobody")
