"""Set-up: the virtual environment with exactly what the lock file names.

    python3 -m sandbox.setup requirements.lock

Standard library only, Python 3.11 or newer, root or not. A lock file whose content is installed
already costs nothing. A Debian without python3-venv gets its pip from Debian's own wheel.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

from sandbox.children import VAR, Missing, SandboxError, last_lines
from sandbox.debian import Unpacked
from sandbox.steps import complain, step

ROOT = VAR.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
DEV_LOCK = "requirements-dev.lock"
# It names all that the other lock names, so who has it needs nothing more.
OLDEST = (3, 11)


def install(lock_name: str) -> None:
    """Make sure that what the lock file names is installed in `.venv`.

    Raises:
        Missing: no pip can be had, or a package cannot be installed.
    """
    VAR.mkdir(exist_ok=True)
    with (VAR / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _works():
            with step("virtual environment"):
                _make_venv()
        if any(_is_installed(name) for name in (lock_name, DEV_LOCK)):
            return
        count = (ROOT / lock_name).read_text().count("==")
        with step(f"{count} packages from {lock_name}"):
            _pip("install", "--require-hashes", "--requirement", str(ROOT / lock_name))
        _stamp(lock_name).write_text(_content(lock_name))


def _works() -> bool:
    try:
        asked = subprocess.run([PYTHON, "-m", "pip", "--version"], check=False, capture_output=True)
    except OSError:
        return False
    return asked.returncode == 0


def _make_venv() -> None:
    has_pip = importlib.util.find_spec("ensurepip") is not None
    options = ["--clear"] if has_pip else ["--clear", "--without-pip"]
    _run([sys.executable, "-m", "venv", *options, str(VENV)])
    if has_pip:
        return
    unpacked = Unpacked(VAR / "pip", VAR / "pip" / "apt")
    unpacked.add(["python3-pip-whl"])
    wheels = sorted(unpacked.root.glob("usr/share/python-wheels/pip-*.whl"))
    if not wheels:
        raise Missing("Debian's python3-pip-whl brought no pip; install python3-venv.")
    # A wheel is a zip that Python can run: pip installs itself.
    _run([str(PYTHON), str(wheels[-1] / "pip"), "install", "--no-index", str(wheels[-1])])


def _pip(*words: str) -> None:
    _run([str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", *words])


def _run(command: list[str]) -> None:
    log = VAR / "log" / "setup.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as output:
        done = subprocess.run(command, check=False, stdout=output, stderr=output, cwd=ROOT)
    if done.returncode != 0:
        raise Missing(f"Set-up failed; {log.relative_to(ROOT)} ends:\n{last_lines(log)}")


def _stamp(lock_name: str) -> Path:
    return VENV / f"{lock_name}.installed"


def _content(lock_name: str) -> str:
    return hashlib.sha256((ROOT / lock_name).read_bytes()).hexdigest()


def _is_installed(lock_name: str) -> bool:
    stamp = _stamp(lock_name)
    return stamp.exists() and stamp.read_text() == _content(lock_name)


def main() -> int:
    """Install the lock file named on the command line."""
    if sys.version_info < OLDEST:
        print("Paybeat needs Python 3.11 or newer.", file=sys.stderr)
        return 2
    try:
        install(sys.argv[1])
    except SandboxError as error:
        complain(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
