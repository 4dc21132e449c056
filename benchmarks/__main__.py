"""`make bench`: every measurement, or those named: `python -m benchmarks webhook_intake`."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = ("webhook_intake", "webhook_to_event", "tasks")


def main() -> None:
    wanted = sys.argv[1:] or BENCHMARKS
    unknown = set(wanted) - set(BENCHMARKS)
    if unknown:
        raise SystemExit(f"no benchmark {', '.join(sorted(unknown))}; of {', '.join(BENCHMARKS)}")
    for name in wanted:
        importlib.import_module(f"benchmarks.{name}").run()


if __name__ == "__main__":
    main()
