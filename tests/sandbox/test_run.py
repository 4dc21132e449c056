"""`make run`, with small processes in the place of ours: what it starts it also ends."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.children import free_port, is_free
from tests.waiting import PATIENCE_S, is_alive, wait_for

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable

SITE = """
import http.server, os

class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Site).serve_forever()
"""

# It starts a child in a session of its own and hears no SIGTERM: the worst of guests.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}\\n")
time.sleep(600)
"""


class Run:
    """A `sandbox.run` of its own: folder, ports and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.procfile = folder / "Procfile"
        self.log = folder / "out.log"
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if name not in {"DATABASE_URL", "REDIS_URL", "BROKER_URL", "REDIS_HOST", "MAKELEVEL"}
        } | {"STRIPE_API_KEY": "sk_test_of_a_real_account"}
        for name in ("PORT", "RELAY_PORT", "FLOWER_PORT", "REDIS_PORT", "MARIADB_PORT"):
            self.environ[name] = str(free_port())
        self.processes: list[subprocess.Popen] = []
        site = folder / "site.py"
        site.write_text(SITE)
        self.lines = {"web": f"{PYTHON} {site}"}

    def start(self, *command: str) -> subprocess.Popen:
        run = self._argv()
        return self._popen([*run, "--", *command] if command else run)

    def start_by_make(self) -> subprocess.Popen:
        makefile = self.folder / "Makefile"
        makefile.write_text(f"run:\n\t@{shlex.join(self._argv())}\n")
        return self._popen(["make", "-f", str(makefile), "run"])

    def _argv(self) -> list[str]:
        self.procfile.write_text("".join(f"{name}: {line}\n" for name, line in self.lines.items()))
        known = ["--procfile", str(self.procfile), "--folder", str(self.folder)]
        return [PYTHON, "-m", "sandbox.run", *known]

    def _popen(self, argv: list[str]) -> subprocess.Popen:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                argv,
                cwd=ROOT,
                env=self.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def said(self) -> str:
        return self.log.read_text()

    def wait_until_ready(self) -> None:
        wait_for(lambda: re.search("^ready$", self.said(), re.MULTILINE) or self._has_ended())
        assert "ready" in self.said(), self.said()

    def _has_ended(self) -> bool:
        return self.processes[-1].poll() is not None

    def remaining(self) -> list[str]:
        """Return the command lines of processes that know this folder, ourselves excepted."""
        mine = str(self.folder)
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_text().replace("\0", " ")
                is_there = mine in words or mine in str((entry / "cwd").readlink())
            except OSError:
                continue
            if is_there and entry.name != str(os.getpid()):
                found.append(words)
        return found


@pytest.fixture
def run(tmp_path):
    one = Run(tmp_path)
    yield one
    for process in one.processes:
        if process.poll() is None:
            process.kill()
        process.wait()
    wait_for(lambda: not one.remaining())


def test_it_says_where_everything_is_and_stops_at_ctrl_c(run):
    process = run.start()
    run.wait_until_ready()
    said = run.said()
    assert f"http://127.0.0.1:{run.environ['PORT']}" in said
    assert f"127.0.0.1:{run.environ['MARIADB_PORT']}" in said
    assert f"127.0.0.1:{run.environ['REDIS_PORT']}" in said
    assert len(run.remaining()) > 4
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    assert run.remaining() == []
    assert "Traceback" not in run.said()


def test_what_hears_no_signal_and_what_it_started_end_too(run, tmp_path):
    stubborn = tmp_path / "stubborn.py"
    stubborn.write_text(STUBBORN)
    pids_file = tmp_path / "pids"
    run.lines["stubborn"] = f"{PYTHON} {stubborn} {pids_file}"
    process = run.start()
    run.wait_until_ready()
    wait_for(lambda: pids_file.exists() and pids_file.read_text().endswith("\n"))
    pids = [int(pid) for pid in pids_file.read_text().split()]
    assert all(is_alive(pid) for pid in pids)
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    assert not any(is_alive(pid) for pid in pids)
    assert run.remaining() == []


def test_nothing_is_left_when_its_whole_process_group_is_killed(run):
    process = run.start()
    run.wait_until_ready()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: run.remaining() == [])
    run.start()
    run.wait_until_ready()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_make_that_started_it_when_make_alone_is_told(run, how):
    make = run.start_by_make()
    run.wait_until_ready()
    make.send_signal(how)
    wait_for(lambda: make.poll() is not None, said=run.said)
    assert make.returncode != 0
    wait_for(lambda: run.remaining() == [])
    assert "Traceback" not in run.said()


def test_a_process_that_is_killed_is_started_again(run, tmp_path):
    lives = tmp_path / "lives"
    run.lines["worker"] = f"echo $$ >> {lives}; exec sleep 600"
    run.start()
    run.wait_until_ready()
    wait_for(lives.exists)
    os.kill(int(lives.read_text()), signal.SIGKILL)
    wait_for(lambda: len(lives.read_text().split()) == 2)


@pytest.mark.parametrize(
    ("server", "port"), [("mariadb", "MARIADB_PORT"), ("valkey", "REDIS_PORT")]
)
def test_a_private_server_that_is_killed_is_started_again(run, server, port):
    process = run.start()
    run.wait_until_ready()
    pid = int((run.folder / "servers" / server / "pid").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid))
    wait_for(lambda: not is_free(int(run.environ[port])))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    assert run.remaining() == []


def test_a_process_that_keeps_failing_ends_the_run_with_its_code(run):
    run.lines["worker"] = "exit 7"
    assert run.start().wait(PATIENCE_S) == 7
    assert run.remaining() == []


def test_a_second_run_in_one_checkout_is_refused_and_harms_nothing(run):
    first = run.start()
    run.wait_until_ready()
    second = run.start()
    assert second.wait(PATIENCE_S) == 2
    assert f"already runs in this checkout (pid {first.pid})" in run.said()
    assert first.poll() is None
    assert (run.folder / "run" / "env").exists()


def test_a_port_given_by_number_and_taken_is_named(run):
    with socket.create_server(("127.0.0.1", int(run.environ["FLOWER_PORT"]))):
        assert run.start().wait(PATIENCE_S) == 2
    assert f"FLOWER_PORT: port {run.environ['FLOWER_PORT']} is taken" in run.said()
    assert "Traceback" not in run.said()


def test_a_failing_release_stops_everything_and_shows_its_words(run):
    run.lines["release"] = "echo no such table; exit 1"
    assert run.start().wait(PATIENCE_S) == 2
    assert "no such table" in run.said()
    assert run.remaining() == []


@pytest.mark.parametrize("code", [0, 5])
def test_a_command_runs_when_all_is_up_and_gives_its_exit_code(run, code):
    check = f'test -n "$DATABASE_URL" && echo it ran; exit {code}'
    assert run.start("sh", "-c", check).wait(PATIENCE_S) == code
    assert "it ran" in run.said()
    assert run.remaining() == []


def test_given_servers_are_used_and_none_is_started(run, server_environ):
    run.environ |= server_environ
    run.lines["release"] = 'echo "$DATABASE_URL"'
    assert run.start("true").wait(PATIENCE_S) == 0
    assert server_environ["DATABASE_URL"] in run.said()
    assert not (run.folder / "servers").exists()


def test_the_settings_of_a_run_are_for_its_owner_alone_and_go_with_it(run):
    env = run.folder / "run" / "env"
    run.start("sh", "-c", f". {env}; stat -c %a:%n {env}; echo $REDIS_URL").wait(PATIENCE_S)
    assert f"600:{env}" in run.said()
    assert f"@127.0.0.1:{run.environ['REDIS_PORT']}/0" in run.said()
    assert not env.exists()
