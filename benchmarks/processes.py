"""The processes that a measurement needs, and what they cost."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.report import FOLDER
from sandbox.children import Child, free_port

TICKS_S = os.sysconf("SC_CLK_TCK")
READY_S = 60.0
WORKERS, THREADS = 2, 64
# As web/gunicorn.py has them by default; every peer gets the same.


def cpu_s(pids: Sequence[int]) -> float:
    """Return the seconds of CPU that processes, with those they started, have used."""
    return sum(_cpu_s(pid) for pid in _with_children(pids))


def others_cpu_s() -> float:
    """Return the seconds of CPU that all have used who are not ours: only differences tell."""
    # user, nice, system, irq, softirq, steal of proc(5): what the cores did not idle or wait.
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    busy_s = (sum(ticks) - ticks[3] - ticks[4]) / TICKS_S
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return busy_s - cpu_s([os.getpid()]) - ended.ru_utime - ended.ru_stime


def _cpu_s(pid: int) -> float:
    try:
        fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # Fields 14 to 15 of proc(5), counted from the state, which is field 3.
    return (int(fields[11]) + int(fields[12])) / TICKS_S


def _with_children(pids: Sequence[int]) -> list[int]:
    found = list(pids)
    for pid in found:
        try:
            children = Path("/proc", str(pid), "task", str(pid), "children").read_text()
        except OSError:
            continue
        found += [int(child) for child in children.split()]
    return found


class Gunicorn:
    """A WSGI app under gunicorn with threads, on a free port.

    Args:
        app: `module:callable`.
        python: of the environment that the app runs in.
        options: of gunicorn's command line, besides those that all have.
    """

    def __init__(
        self,
        name: str,
        app: str,
        environ: Mapping[str, str],
        *,
        python: str = sys.executable,
        options: Sequence[str] = (),
    ) -> None:
        self.port = free_port()
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._log = (FOLDER / f"{name}.log").open("wb")
        command = [python, "-m", "gunicorn", app, "-k", "gthread", "-b", f"127.0.0.1:{self.port}"]
        command += ["-w", str(WORKERS), "--threads", str(THREADS), "--keep-alive", "75"]
        self._child = Child(
            [*command, "--log-level", "warning", *options],
            env={**os.environ, **environ},
            output=self._log,
        )
        self._await()

    @property
    def pids(self) -> list[int]:
        """Return the pid of the process that started the others."""
        return [self._child.pid]

    def _await(self) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._child.exit_code() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self._log.name} tells why the server does not answer.")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        self._child.stop()
        self._log.close()


def start_worker(
    name: str, app: str, environ: Mapping[str, str], *, queues: str | None = None
) -> Child:
    """Start a Celery worker with 16 threads, as worker-webhooks has them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        app,
        "worker",
        "-P",
        "threads",
        "-c",
        "16",
    ]
    command += ["-n", f"{name}@%h", "-l", "warning", *(["-Q", queues] if queues else [])]
    with (FOLDER / f"{name}.log").open("wb") as log:
        return Child(command, env={**os.environ, **environ}, output=log)


def bench_python() -> str:
    """Return the Python of the peers' own environment, made at the first call."""
    venv = Path("var", "bench-venv")
    python = venv / "bin" / "python"
    done = venv / "complete"
    lock = Path("benchmarks", "requirements.lock").read_bytes()
    if not done.exists() or done.read_bytes() != lock:
        print("Installing the peers into var/bench-venv ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--require-hashes"]
        subprocess.run([*install, "-r", "benchmarks/requirements.lock"], check=True)
        done.write_bytes(lock)
    return str(python)
