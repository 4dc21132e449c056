"""The private servers: MariaDB and Valkey on loopback, in folders of their own, without root.

Each is a context manager, keeps its port, password and data between `stop()` and `start()`, and
ends with the process that started it, even when that one is killed.
"""

from __future__ import annotations

from sandbox.children import Missing, NotReady, PortTaken, SandboxError
from sandbox.mariadb import PrivateMariaDB
from sandbox.valkey import PrivateValkey

__all__ = ["Missing", "NotReady", "PortTaken", "PrivateMariaDB", "PrivateValkey", "SandboxError"]
