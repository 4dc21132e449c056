"""`make run`: the whole system on this machine, until Ctrl-C; or until a command is done.

    python -m sandbox.run [--procfile FILE ...] [-- command ...]

Private servers, migrations, the demo company, the processes of the Procfiles. All of it ends with
this process, however this process ends. Given a command, its exit code is ours, and the output of
the processes goes to `var/log/run.log`.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

from sandbox.children import (
    LOOPBACK,
    VAR,
    Child,
    NotReady,
    SandboxError,
    last_lines,
    wait_until,
)
from sandbox.formation import RELEASE, STOP_S, read_procfiles
from sandbox.holder import hold
from sandbox.made import follow_make
from sandbox.places import ROOT, Places, choose_ports, read_places
from sandbox.servers import PrivateMariaDB, PrivateValkey
from sandbox.steps import complain, step, tell

PROCFILES = (ROOT / "Procfile", ROOT / "sandbox" / "Procfile")
STRIPE, PAYPAL, MAIL, FX = "sandbox", "paypal", "mail", "fx"
# The processes of the stand-ins, which a key of the provider's own makes needless.
RELAY = "relay"
READY_S = 60.0
SERVER_STOP_S = 3.0
# With STOP_S and the keepers' own kill this stays below the promised 30 s.


class Asked(BaseException):
    """Somebody wants it to end: Ctrl-C, SIGTERM, a closed terminal, or make is gone."""


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    # Once is enough, and what follows has its own time limits.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    raise Asked


@contextmanager
def _own_servers(places: Places) -> Iterator[None]:
    with ExitStack() as servers:
        if places.has_own_database:
            port = places.port("MARIADB_PORT")
            mariadb = PrivateMariaDB(places.folder / "servers" / "mariadb", port)
            places.environ["DATABASE_URL"] = _started("MariaDB", mariadb, servers)
        if places.has_own_cache:
            port = places.port("REDIS_PORT")
            valkey = PrivateValkey(places.folder / "servers" / "valkey", port)
            places.environ["REDIS_URL"] = _started("Valkey", valkey, servers)
        yield


def _started(name: str, server: PrivateMariaDB | PrivateValkey, servers: ExitStack) -> str:
    server.grace_s, server.is_revived = SERVER_STOP_S, True
    with step(name):
        servers.enter_context(server)
    return server.url


def _release(lines: list[str], places: Places) -> list[str]:
    """Run the release lines and return the last two of what the last said: who may log in."""
    log = places.log("release")
    for line in lines:
        with step(line), log.open("wb") as output:
            with Child(["bash", "-c", line], env=places.environ, cwd=ROOT, output=output) as child:
                exit_code = child.wait()
            if exit_code != 0:
                raise NotReady(f"{line} failed:\n{last_lines(log, 15)}")
    return last_lines(log, 2).splitlines()


@contextmanager
def _processes(procfile: Path, places: Places, *, log: Path | None) -> Iterator[Child]:
    output = log.open("wb") if log else None
    formation = Child(
        [sys.executable, "-m", "sandbox.formation", procfile],
        env=places.environ,
        cwd=ROOT,
        output=output,
        grace_s=STOP_S + 3,
    )
    try:
        yield formation
    finally:
        formation.stop()
        if output:
            output.close()


def _is_answering(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)  # noqa: PLR2004  OK
    except (urllib.error.URLError, OSError):
        return False


def _doors(places: Places, lines: Collection[str]) -> list[str]:
    """Return what answers 200 once all is up."""
    doors = [f"{places.site}/readyz"]
    if RELAY in lines:
        doors.append(f"{places.relay}/healthz")
    return doors


def _all_answer(doors: list[str], formation: Child, log: Path | None) -> bool:
    for url in doors:
        if not wait_until(partial(_is_answering, url), formation, timeout_s=READY_S):
            said = f"; the log ends:\n{last_lines(log, 15)}" if log else "."
            tell(f"{url} did not answer 200{said}")
            return False
    return True


def _write_procfile(lines: dict[str, list[str]], places: Places) -> Path:
    procfile = places.folder / "run" / "Procfile"
    procfile.write_text("".join(f"{name}: {line[-1]}\n" for name, line in lines.items()))
    return procfile


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _stand_ins(places: Places) -> Iterator[tuple[str, str, str]]:
    """Yield where each of our stand-ins is."""
    book = "sandbox; its book at /sandbox/book"
    for name, setting, is_ours in (
        ("Stripe", "STRIPE_API_BASE", places.has_own_stripe),
        ("PayPal", "PAYPAL_API_BASE", places.has_own_paypal),
        ("Rates", "OPENEXCHANGERATES_BASE", places.has_own_fx),
        ("Mail", "SENDGRID_API_BASE", places.has_own_mail),
    ):
        if is_ours:
            told = "sandbox; what was sent at /sandbox/" if name == "Mail" else book
            yield name, places.environ[setting], told


def _show(places: Places, logins: list[str]) -> None:
    environ = places.environ
    rows = [
        ("Console", f"{places.site}/console", "sign in with a login below"),
        ("API", places.site, "its description at /docs"),
        ("Relay", places.relay, "WebSockets at /ws (docs/relay.md)"),
        ("Flower", f"http://{LOOPBACK}:{environ['FLOWER_PORT']}", "login by FLOWER_LOGIN"),
    ]
    rows += _stand_ins(places)
    for name, port in (("MariaDB", "MARIADB_PORT"), ("Valkey", "REDIS_PORT")):
        if port in environ:
            rows.append((name, f"{LOOPBACK}:{environ[port]}", "private"))
    env = _shown(places.folder / "run" / "env")
    rows.append(("Settings", env, f"for other terminals: set -a; . {env}"))
    rows += [("Login", login, "") for login in logins]
    tell("")
    for name, place, note in rows:
        tell(f"  {name:<9} {place:<28} {note}".rstrip())
    for note in places.notes:
        tell(f"  {note}")
    tell("")


def run(procfiles: Sequence[Path], command: Sequence[str], *, folder: Path) -> int:
    """Bring everything up, wait, take everything down.

    Raises:
        SandboxError: it cannot be brought up; the message says why.
    """
    for name in ("run", "log"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    told = "make run already runs in this checkout (pid {pid}); stop it first."
    hold(folder / "run" / "lock", told=told)
    for counts in (folder / "metrics").glob("*.db"):
        counts.unlink()  # nothing of ours runs now: Prometheus counts from 0
    places = read_places(os.environ, folder=folder)
    choose_ports(places)
    if sys.stdout.isatty() and not command:
        # The processes write into a pipe, but a person reads it.
        places.environ.setdefault("LOG_FORMAT", "human")
    lines = read_procfiles(list(procfiles))
    stand_ins = {
        STRIPE: places.has_own_stripe,
        PAYPAL: places.has_own_paypal,
        MAIL: places.has_own_mail,
        FX: places.has_own_fx,
    }
    for name in (name for name, is_needed in stand_ins.items() if not is_needed):
        lines.pop(name, None)
    log = places.log("run") if command else None
    with _own_servers(places), places.written(folder / "run" / "env"):
        logins = _release(lines.pop(RELEASE, []), places)
        with _processes(_write_procfile(lines, places), places, log=log) as formation:
            if not _all_answer(_doors(places, lines), formation, log):
                return formation.exit_code() or 1
            _show(places, logins)
            tell("ready")
            if command:
                return subprocess.run(command, check=False, env=places.environ).returncode
            return formation.wait()


def main() -> int:
    """Run until asked to stop, which is a success, or until something fails."""
    parser = argparse.ArgumentParser(prog="sandbox.run")
    parser.add_argument("--procfile", type=Path, action="append")
    parser.add_argument("--folder", type=Path, default=VAR)
    parser.add_argument("command", nargs="*")
    asked = parser.parse_args()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _on_signal)
    follow_make()
    try:
        return run(asked.procfile or PROCFILES, asked.command, folder=asked.folder)
    except Asked:
        tell("stopped")
        return 0
    except SandboxError as error:
        complain(error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
