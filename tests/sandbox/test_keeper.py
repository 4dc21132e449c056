"""The keeper of a command, by itself."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from sandbox.children import Child, Missing, keeper_argv
from tests.waiting import is_alive, wait_for


@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_code_of_a_command_passes_through(code):
    assert Child(["sh", "-c", f"exit {code}"]).wait(10) == code


def test_a_command_that_does_not_exist_is_missing_and_shows_no_traceback(tmp_path):
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        pytest.raises(Missing, match="no-such-command cannot be started"),
    ):
        Child(["no-such-command"], output=output)
    assert log.read_text() == "no-such-command: No such file or directory\n"


def test_a_polite_commands_own_exit_code_is_returned_by_stop(tmp_path):
    # Often, because what must not be lost is lost to a race.
    for number in range(10):
        ready = tmp_path / str(number)
        child = Child(
            ["sh", "-c", f"trap 'exit 4' TERM; touch {ready}; while :; do sleep 0.1; done"]
        )
        wait_for(ready.exists)
        assert child.stop() == 4


def test_an_orphan_in_a_session_of_its_own_ends_with_its_command(tmp_path):
    told = tmp_path / "pid"
    child = Child(["sh", "-c", f"setsid sh -c 'echo $$ > {told}; exec sleep 600' & exec sleep 600"])
    wait_for(lambda: told.exists() and told.read_text().endswith("\n"))
    orphan = int(told.read_text())
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(10) == 128 + signal.SIGKILL
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
