"""`make bench`: every measurement, or those named: `python -m benchmarks webhook_intake`."""

from __future__ import annotations

import importlib
import subprocess
import sys

BENCHMARKS = (
    *("webhook_intake", "webhook_to_event", "charges", "tasks", "worker_queue", "relay"),
    *("reconciliation", "analytics"),
)


def main() -> None:
    wanted = sys.argv[1:] or BENCHMARKS
    unknown = set(wanted) - set(BENCHMARKS)
    if unknown:
        raise SystemExit(f"no benchmark {', '.join(sorted(unknown))}; of {', '.join(BENCHMARKS)}")
    if len(wanted) == 1:
        importlib.import_module(f"benchmarks.{wanted[0]}").run()
        return
    for name in wanted:
        # Each in a process of its own: settings and the Celery app are read once a process.
        ended = subprocess.run([sys.executable, "-m", "benchmarks", name], check=False)
        if ended.returncode != 0:
            raise SystemExit(f"{name} failed")


if __name__ == "__main__":
    main()
