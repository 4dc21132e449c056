"""Keep one command: start it, pass on its end, and let nothing of it outlive who asked for it.

Run as a script with nothing but the standard library, one keeper a command:

    python -I -S keeper.py <ppid|0> <grace_s> <report_fd|-1> <0|1 revived> <command> [argument ...]

The keeper stands in a session of its own, so a Ctrl-C at the terminal or a `kill -9` of the whole
process group that started it leaves it alive to clean up. It ends its command (SIGTERM, then
SIGKILL after the grace) when it is told to, and when its parent is gone, however that happened.
As a subreaper it also inherits, and ends, whatever the command itself left behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
LOOK_S = 0.25
# How often it looks whether its parent still lives; signals are seen at once.
KILL_S = 5.0
# How long it goes on killing before it gives up on processes stuck in the kernel.
NOT_STARTED = 127
# As a shell says it.
PAUSE_S = 0.5
# Before it is started again.
LIVES = 3
# A command that fails this often in a row, each time soon, has something wrong with it.
STEADY_S = 10.0
# One that lived this long was well; it may be started again as often as it takes.


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    keeper = os.getpid()

    def before_exec() -> None:
        # Tied to the keeper, should the keeper itself be killed.
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if os.getppid() != keeper:
            os._exit(1)

    # One thread only, so running Python between fork and exec is safe here.
    return subprocess.Popen(command, start_new_session=True, preexec_fn=before_exec)  # noqa: PLW1509


def _children() -> list[int]:
    """Return the pids of all direct children, the inherited ones included."""
    mine = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name of the command stands in parentheses and may hold anything.
            state, ppid = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(ppid) == os.getpid() and state != "Z":
            mine.append(int(entry.name))
    return mine


def _send(pids: set[int], *signals: signal.Signals) -> None:
    for pid in pids:
        for one in signals:
            try:
                os.kill(pid, one)
            except ProcessLookupError:
                break


def _reap(command: subprocess.Popen[bytes]) -> None:
    command.poll()
    while command.returncode is not None:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def _end_children(
    command: subprocess.Popen[bytes], limit_s: float, *signals: signal.Signals
) -> bool:
    """Signal each child once, those too that it inherits meanwhile, until none is left."""
    deadline = time.monotonic() + limit_s
    told: set[int] = set()
    while True:
        _reap(command)
        children = set(_children())
        if not children:
            # The command may have ended since the last look, and its exit code is wanted.
            command.poll()
            return True
        if time.monotonic() > deadline:
            return False
        _send(children - told, *signals)
        told |= children
        signal.sigtimedwait([signal.SIGCHLD], 0.05)


def _end(command: subprocess.Popen[bytes], grace_s: float) -> None:
    # SIGCONT, because a stopped process does not hear SIGTERM.
    if not _end_children(command, grace_s, signal.SIGTERM, signal.SIGCONT):
        _end_children(command, KILL_S, signal.SIGKILL)


def _watch(command: subprocess.Popen[bytes], parent: int) -> bool:
    """Wait until the command ends (False), or it must end (True)."""
    while command.poll() is None:
        heard = signal.sigtimedwait(WATCHED, LOOK_S)
        if os.getppid() != parent or (heard is not None and heard.si_signo != signal.SIGCHLD):
            return True
    return False


def _exit_code(command: subprocess.Popen[bytes]) -> int:
    status = command.returncode
    if status is None:
        return 1
    return status if status >= 0 else 128 - status


def _report(fd: int, pid: int) -> None:
    os.write(fd, f"{pid}\n".encode())
    os.close(fd)


def keep(
    argv: list[str], *, parent: int, grace_s: float, report_fd: int | None, is_revived: bool
) -> int:
    """Run `argv` until it ends, the keeper is told to stop, or `parent` is gone.

    Args:
        report_fd: where to write the pid of the command.
        is_revived: whether to start it again when it ends by itself, unless it keeps failing.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    lives = LIVES if is_revived else 1
    while True:
        began = time.monotonic()
        try:
            command = _start(argv)
        except OSError as error:
            print(f"{argv[0]}: {error.strerror}", flush=True)
            return NOT_STARTED
        if report_fd is not None:
            _report(report_fd, command.pid)
            report_fd = None
        is_asked = _watch(command, parent)
        _end(command, grace_s)
        is_steady = is_revived and time.monotonic() - began > STEADY_S
        lives = LIVES if is_steady else lives - 1
        if is_asked or lives == 0:
            return _exit_code(command)
        print(f"ended ({_exit_code(command)}), started again", flush=True)
        if signal.sigtimedwait(WATCHED - {signal.SIGCHLD}, PAUSE_S):
            return _exit_code(command)


def main() -> int:
    """Keep the command of the command line."""
    parent, grace_s, report_fd, is_revived = sys.argv[1:5]
    return keep(
        sys.argv[5:],
        parent=int(parent) or os.getppid(),
        grace_s=float(grace_s),
        report_fd=int(report_fd) if int(report_fd) >= 0 else None,
        is_revived=is_revived == "1",
    )


if __name__ == "__main__":
    sys.exit(main())
