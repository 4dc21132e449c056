"""A private MariaDB: the one on PATH, else Debian's packages unpacked into `var/mariadb`."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from sandbox.children import LOOPBACK, VAR, Missing, NotReady
from sandbox.debian import Unpacked
from sandbox.private import PrivateServer

PACKAGES = (
    "mariadb-server-core",
    "mariadb-client-core",
    "mariadb-common",
    "mysql-common",
    "libmariadb3",
)
LOG_SIZE = "--innodb-log-file-size=48M"
# The same at making and running, or the first start would resize it.
DURABLE = ["--innodb-flush-log-at-trx-commit=1"]
UNSYNCED = [
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--loose-innodb-flush-method=nosync",
]
SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin:/usr/libexec"
# Where distributions put servers, and where PATH does not lead those who are not root.
SOCKET_PATH_BYTES = 100
# The kernel takes 108 with the closing zero.


@dataclass(frozen=True)
class Installation:
    """The programs of one MariaDB and what they need to run.

    Attributes:
        usr: where it is unpacked; None where it is installed and finds its own parts.
    """

    server: Path
    install: Path
    usr: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Return the environment to run its programs in."""
        return {**os.environ, **self.env}

    def flags(self) -> list[str]:
        """Return the arguments that tell the server where its parts are."""
        if self.usr is None:
            return []
        return [f"--basedir={self.usr}", f"--lc-messages-dir={self.usr / 'share' / 'mysql'}"]

    @contextmanager
    def without_spaces(self) -> Iterator[tuple[Self, Path]]:
        """Yield the same under a path that has no space, and a folder for more links to it.

        The script that makes data folders cannot cope with a space.
        """
        with tempfile.TemporaryDirectory() as folder:
            if self.usr is None:
                yield self, Path(folder)
                return
            usr = Path(folder, "usr")
            usr.symlink_to(self.usr)
            yield (
                replace(self, install=usr / self.install.relative_to(self.usr), usr=usr),
                Path(folder),
            )


def find_mariadb() -> Installation:
    """Return a MariaDB, fetching it where the machine has none.

    Raises:
        Missing: no MariaDB and no way to fetch one.
    """
    return _on_path() or _unpacked(VAR / "mariadb")


def _on_path() -> Installation | None:
    path = f"{os.environ.get('PATH', '')}:{SYSTEM_FOLDERS}"
    install = shutil.which("mariadb-install-db", path=path)
    server = shutil.which("mariadbd", path=path) or shutil.which("mysqld", path=path)
    if install is None or server is None:
        return None
    return Installation(server=Path(server), install=Path(install))


def _unpacked(folder: Path) -> Installation:
    root = folder / "root"
    complete = folder / "complete"
    folder.mkdir(parents=True, exist_ok=True)
    packages = Unpacked(root, folder / "apt")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir()
            try:
                packages.add(PACKAGES)
                packages.add_missing_libraries(_programs(root))
            except Missing as error:
                raise Missing(
                    f"MariaDB is missing: {error} Install mariadb-server, or give DATABASE_URL."
                ) from error
            complete.touch()
    usr = root / "usr"
    return Installation(
        server=usr / "sbin" / "mariadbd",
        install=usr / "bin" / "mariadb-install-db",
        usr=usr,
        env={"LD_LIBRARY_PATH": packages.library_path()},
    )


def _programs(root: Path) -> list[Path]:
    names = ("sbin/mariadbd", "bin/my_print_defaults", "bin/resolveip")
    return [root / "usr" / name for name in names]


def _as_root() -> list[str]:
    """Return the flag without which MariaDB refuses to run as root."""
    return ["--user=root"] if os.geteuid() == 0 else []


class PrivateMariaDB(PrivateServer):
    """MariaDB with one user, `paybeat`, known by its password on loopback and nowhere else.

    Durable as in production: a commit is on the disk. Not so where `is_durable` is False: for
    rows that nobody will want back, when a power cut ends the server.
    """

    name = "mariadb"
    grace_s = 15.0

    def __init__(self, folder: Path, port: int | None = None, *, is_durable: bool = True) -> None:
        super().__init__(folder, port)
        self._is_durable = is_durable
        self._installation: Installation | None = None

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database `paybeat`, with its password."""
        return self.url_of("paybeat")

    def url_of(self, database: str) -> str:
        """Return the URL of another database on this server; the user may create any."""
        return f"mysql+pymysql://paybeat:{self.password}@{self.address}/{database}?charset=utf8mb4"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _tmp(self) -> Path:
        # Its own, because a MariaDB that starts sweeps the temporary tables of its neighbours.
        return self.folder / "tmp"

    def _prepare(self) -> None:
        self._installation = self._installation or find_mariadb()
        self._tmp.mkdir(exist_ok=True)
        if (self._data / "complete").exists():
            return
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir()
        with self._installation.without_spaces() as (linked, links), self.log.open("ab") as log:
            data = links / "data"
            data.symlink_to(self._data)
            made = subprocess.run(
                [
                    linked.install,
                    "--no-defaults",
                    *linked.flags(),
                    f"--datadir={data}",
                    f"--tmpdir={links}",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    "--skip-name-resolve",
                    LOG_SIZE,
                    *_as_root(),
                ],
                check=False,
                stdout=log,
                stderr=log,
                env=linked.environment(),
            )
        if made.returncode != 0:
            raise NotReady(f"MariaDB could not make its folder; {self.log} says why.")
        (self._data / "complete").touch()

    def _command(self) -> list[str | Path]:
        if self._installation is None:
            raise NotReady("MariaDB has not been prepared.")
        return [
            self._installation.server,
            "--no-defaults",
            *self._installation.flags(),
            f"--datadir={self._data}",
            f"--tmpdir={self._tmp}",
            f"--init-file={self._accounts()}",
            f"--bind-address={LOOPBACK}",
            f"--port={self.port}",
            f"--socket={self._socket()}",
            f"--pid-file={self._data / 'mariadbd.pid'}",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_unicode_ci",
            "--transaction-isolation=READ-COMMITTED",
            "--default-time-zone=+00:00",
            *(DURABLE if self._is_durable else UNSYNCED),
            "--innodb-buffer-pool-size=128M",
            LOG_SIZE,
            "--performance-schema=OFF",
            "--key-buffer-size=1M",
            "--max-connections=400",
            *_as_root(),
        ]

    def _accounts(self) -> Path:
        """Write what runs at each start before the port opens: one account, no root."""
        sql = self.folder / "accounts.sql"
        sql.touch(mode=0o600)
        account = f"'paybeat'@'{LOOPBACK}'"
        # Nothing from outside: the password is our own and URL-safe.
        sql.write_text(
            "DELETE FROM mysql.global_priv WHERE User IN ('', 'root');\n"  # noqa: S608
            "FLUSH PRIVILEGES;\n"
            f"CREATE USER IF NOT EXISTS {account};\n"
            f"ALTER USER {account} IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO {account} WITH GRANT OPTION;\n"
            "CREATE DATABASE IF NOT EXISTS paybeat;\n"
        )
        return sql

    def _socket(self) -> Path | str:
        """Return a path for the Unix socket; nothing uses it, but MariaDB insists on one."""
        path = self.folder / "sock"
        # Relative to the data folder when the whole path is too long for the kernel.
        return path if len(os.fsencode(path)) < SOCKET_PATH_BYTES else "sock"

    def _environment(self) -> Mapping[str, str] | None:
        return self._installation.environment() if self._installation else None

    def _is_answering(self) -> bool:
        import pymysql

        try:
            pymysql.connect(
                host=LOOPBACK,
                port=self.port,
                user="paybeat",
                password=self.password,
                database="paybeat",
                connect_timeout=1,
            ).close()
        except (pymysql.MySQLError, OSError):
            return False
        return True
