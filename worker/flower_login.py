"""Flower behind a login whose password is kept as a hash, with its metrics behind it too.

Flower compares logins as plain text and leaves `/metrics` open. `guard` replaces its check with
ours for every page but `/healthcheck`, which says OK and nothing else. worker/flowerconfig.py calls
it; `python -m worker.flower_login` makes a value for FLOWER_LOGIN.
"""

from __future__ import annotations

import getpass
import hmac
import os
import sys
from base64 import b64decode
from hashlib import blake2b
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

HASH_START = "$argon2id$"
OPEN_PAGES = frozenset({"Healthcheck"})
MIN_PASSWORD_CHARACTERS = 12

_hasher = PasswordHasher()


class Login:
    """One name and password; the password is a hash, or plain text outside of production."""

    def __init__(self, login: str) -> None:
        self._name, _, self._kept = login.partition(":")
        self._key = os.urandom(32)
        self._accepted = b""

    def accepts(self, header: str) -> bool:
        """Tell whether an Authorization header carries this login."""
        kind, _, encoded = header.partition(" ")
        try:
            given = b64decode(encoded.strip(), validate=True).decode()
        except ValueError:  # no base64, no UTF-8, not even ASCII
            return False
        name, colon, password = given.partition(":")
        if kind.lower() != "basic" or not colon or not self._kept:
            return False
        # A page asks every few seconds and a hash is slow by design: one that was right is known
        # again by a keyed digest.
        digest = blake2b(given.encode(), key=self._key).digest()
        if self._accepted and hmac.compare_digest(digest, self._accepted):
            return True
        is_right = hmac.compare_digest(name.encode(), self._name.encode()) & self._is(password)
        if is_right:
            self._accepted = digest
        return is_right

    def _is(self, password: str) -> bool:
        if not self._kept.startswith(HASH_START):
            return hmac.compare_digest(password.encode(), self._kept.encode())
        try:
            return _hasher.verify(self._kept, password)
        except (VerificationError, InvalidHashError):
            return False


def guard(login: str) -> None:
    """Let Flower's handlers ask for this login. Its own `basic_auth` must be set all the same.

    It turns on Flower's checks against forged requests; its value is never compared any more.
    """
    from flower.views import BaseHandler  # type: ignore[import-untyped]
    from tornado.web import HTTPError

    known = Login(login)

    def get_current_user(handler: Any) -> bool:
        if not known.accepts(handler.request.headers.get("Authorization", "")):
            raise HTTPError(401)
        return True

    def prepare(handler: Any) -> None:
        if type(handler).__name__ not in OPEN_PAGES:
            get_current_user(handler)

    BaseHandler.get_current_user = get_current_user
    BaseHandler.prepare = prepare


def main() -> None:
    """Ask for a name and a password, print the setting."""
    name = input("Name: ").strip()
    password = getpass.getpass("Password: ")
    if not name or ":" in name or len(password) < MIN_PASSWORD_CHARACTERS:
        sys.exit(f"A name without a colon and {MIN_PASSWORD_CHARACTERS} characters are needed.")
    # Single quotes, because a shell would take the dollar signs for variables.
    sys.stdout.write(f"FLOWER_LOGIN='{name}:{_hasher.hash(password)}'\n")


if __name__ == "__main__":
    main()
