"""The keeper of a command, by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.children import Child, Missing, keeper_argv
from tests.waiting import PATIENCE_S, is_alive, wait_for

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_code_of_a_command_passes_through(code):
    assert Child(["sh", "-c", f"exit {code}"]).wait(PATIENCE_S) == code


def test_a_command_that_does_not_exist_is_missing_and_shows_no_traceback(tmp_path):
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        pytest.raises(Missing, match="no-such-command cannot be started"),
    ):
        Child(["no-such-command"], output=output)
    assert log.read_text() == "no-such-command: No such file or directory\n"


def test_a_polite_commands_own_exit_code_is_returned_by_stop(tmp_path):
    ready = tmp_path / "ready"
    child = Child(["sh", "-c", f"trap 'exit 4' TERM; touch {ready}; while :; do sleep 0.1; done"])
    wait_for(ready.exists)
    assert child.stop() == 4


# A command that ends just after the keeper has asked whether it has ended.
JUST_AFTER = """
import os, subprocess, sys
from sandbox import keeper

class Command(subprocess.Popen):
    is_asked = False

    def poll(self):
        if not self.is_asked:
            self.is_asked = True
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            return None
        return super().poll()

command = Command(["sh", "-c", "exit 4"])
keeper._end(command, 5)
sys.exit(keeper._exit_code(command))
"""


def test_the_exit_code_of_a_command_that_ends_between_two_looks_is_not_lost():
    ended = subprocess.run([sys.executable, "-c", JUST_AFTER], check=False, cwd=ROOT, timeout=30)
    assert ended.returncode == 4


def test_an_orphan_in_a_session_of_its_own_ends_with_its_command(tmp_path):
    told = tmp_path / "pid"
    child = Child(["sh", "-c", f"setsid sh -c 'echo $$ > {told}; exec sleep 600' & exec sleep 600"])
    wait_for(lambda: told.exists() and told.read_text().endswith("\n"))
    orphan = int(told.read_text())
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(PATIENCE_S) == 128 + signal.SIGKILL
    assert not is_alive(orphan)


def test_a_command_hears_the_signals_that_its_keeper_waits_for():
    blocked = subprocess.run(
        [*keeper_argv(parent=0, grace_s=1), "grep", "SigBlk", "/proc/self/status"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert int(blocked.split()[1], 16) == 0


def test_lives_are_given_back_to_a_command_only_when_asked(tmp_path):
    lives = tmp_path / "lives"
    argv = ["sh", "-c", f"echo x >> {lives}; exit 9"]
    once = subprocess.run([*keeper_argv(parent=0, grace_s=1), *argv], check=False)
    assert (once.returncode, lives.read_text()) == (9, "x\n")
    again = [*keeper_argv(parent=0, grace_s=1, is_revived=True), *argv]
    assert subprocess.run(again, check=False, capture_output=True).returncode == 9
    assert lives.read_text() == "x\n" * 4
