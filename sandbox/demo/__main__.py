"""Run a scenario: `python -m sandbox.demo [payment|dunning|trouble]`."""

from __future__ import annotations

import argparse
import json
import sys
import time

from sandbox.children import LOOPBACK
from sandbox.demo import dunning, payment, trouble
from sandbox.demo.company import Api
from sandbox.demo.screen import Screen, Unexpected
from worker.settings import settings

SCENARIOS = {"payment": payment.run, "dunning": dunning.run, "trouble": trouble.run}


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo")
    parser.add_argument("scenario", nargs="?", default="payment", choices=SCENARIOS)
    run = SCENARIOS[parser.parse_args().scenario]
    given = settings()
    host = LOOPBACK if given.host in {"", "0.0.0.0"} else given.host
    screen = Screen()
    began = time.monotonic()
    try:
        told = run(Api(f"http://{host}:{given.port}"), screen)
    except Unexpected as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({**told, "total_s": round(time.monotonic() - began, 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
