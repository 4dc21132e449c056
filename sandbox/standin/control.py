"""Steer a running stand-in, from tests or by hand: what every provider's control does."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import requests

Json = dict[str, Any]
TIMEOUT_S = 30


class Refused(Exception):
    """The stand-in did not do what it was asked; the message says why."""


class Control:
    """The `/sandbox/…` side of a stand-in at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.session = requests.Session()

    def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        """Ask for `/sandbox/<path>`.

        Raises:
            Refused: it was not done.
        """
        answer = self.session.request(
            method, f"{self.url}/sandbox/{path}", json=body, timeout=TIMEOUT_S
        )
        told: Json = answer.json()
        if not answer.ok:
            raise Refused(told["error"]["message"])
        return told

    def book(self) -> Json:
        """Return every object, `by_transaction` and `totals` by currency."""
        return self.ask("GET", "book")

    def charges(
        self, transaction_id: str | None = None, *, status: str = "succeeded"
    ) -> list[Json]:
        """Return the charges, of one transaction where given, oldest first."""
        query = f"?transaction_id={quote(str(transaction_id))}" if transaction_id else ""
        found = self.ask("GET", f"charges{query}")["charges"]
        return [charge for charge in found if charge["status"] == status]

    def fault(self, kind: str, **more: Any) -> None:
        """Set a fault; `count=None` lasts until `clear_faults()`."""
        self.ask("POST", "faults", {"kind": kind, **more})

    def faults(self) -> list[Json]:
        """Return the faults that are set and not yet spent."""
        found: list[Json] = self.ask("GET", "faults")["faults"]
        return found

    def clear_faults(self) -> None:
        """Let everything go well again."""
        self.ask("DELETE", "faults")

    def webhooks(self, **rules: Any) -> Json:
        """Change how events go out (see deliveries.Rules); return what is on its way."""
        return self.ask("POST", "webhooks", rules)

    def deliveries(self) -> list[Json]:
        """Return every try to deliver: event, attempt, status (0: no answer)."""
        log: list[Json] = self.ask("GET", "webhooks")["log"]
        return log

    def events(self, *, after: int = 0) -> list[Json]:
        """Return the events in the order they were made, without the first `after`."""
        found: list[Json] = self.ask("GET", f"events?after={after}")["events"]
        return found

    def taken(self, event_ids: list[str]) -> None:
        """Note that these events were delivered, by whoever fetched them here."""
        self.ask("POST", "webhooks/taken", {"events": event_ids})

    def flush(self) -> None:
        """Send now what is held back or waits for its next try."""
        self.ask("POST", "webhooks/flush")

    def resend(self, event_id: str, *, times: int = 1) -> list[int]:
        """Send an event again, `times` times at once; return the statuses."""
        body = {"event": event_id, "times": times}
        statuses: list[int] = self.ask("POST", "webhooks/resend", body)["statuses"]
        return statuses

    def advance(self, span: int | str) -> Json:
        """Set the clock forward, by seconds or by such as `24h`; return where it stands."""
        name = "advance_s" if isinstance(span, int) else "advance"
        return self.ask("POST", "clock", {name: span})

    def clock(self) -> Json:
        """Return the stand-in's time: `now` in seconds, `at` as text, `ahead_s` of the machine."""
        return self.ask("GET", "clock")

    def reset(self) -> None:
        """Forget every object, fault and rule."""
        self.ask("POST", "reset")

    def is_up(self) -> bool:
        """Tell whether it answers."""
        try:
            return self.ask("GET", "health") == {"status": "ok"}
        except (requests.RequestException, ValueError):
            return False

    def is_busy(self) -> bool:
        """Tell whether an event is on its way, held back or waits for its next try."""
        state = self.ask("GET", "webhooks")
        return bool(state["queued"] or state["held"] or state["under_way"])

    def wait_quiet(self, timeout_s: float = 60.0) -> None:
        """Return when no event is on its way any more.

        Raises:
            TimeoutError: some still are.
        """
        until = time.monotonic() + timeout_s
        while self.is_busy():
            if time.monotonic() > until:
                raise TimeoutError("Events are still on their way.")
            time.sleep(0.02)


def run(control_of: Callable[[str], Control], *, prog: str, about: str, url: str) -> int:
    """Run one command of the command line; `url` is used where none is given."""
    options = _options(prog, about, url)
    control = control_of(options.url)
    try:
        told = _COMMANDS[options.command](control, options)
    except (Refused, requests.ConnectionError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(told if told is not None else {"status": "ok"}, indent=2))
    return 0


def _set_fault(control: Control, options: argparse.Namespace) -> None:
    more = {
        name: getattr(options, name)
        for name in ("method", "path", "delay_ms", "decline_code", "advice_code")
        if getattr(options, name) is not None
    }
    count = None if options.until_cleared else options.count
    control.fault(options.kind, count=count, **more)


def _set_rules(control: Control, options: argparse.Namespace) -> Json:
    return control.webhooks(
        **{name: json.loads(value) for name, _, value in (r.partition("=") for r in options.rules)}
    )


def _clock(control: Control, span: str | None) -> Json:
    if span is None:
        return control.clock()
    return control.advance(int(span) if span.isdigit() else span)


_COMMANDS = {
    "book": lambda control, _: control.book(),
    "clear": lambda control, _: control.clear_faults(),
    "clock": lambda control, options: (
        control.advance(options.span) if options.span else control.clock()
    ),
    "fault": _set_fault,
    "faults": lambda control, _: control.faults(),
    "flush": lambda control, _: control.flush(),
    "reset": lambda control, _: control.reset(),
    "webhooks": _set_rules,
}


def _options(prog: str, about: str, url: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default=url)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("book", "clear", "faults", "flush", "reset"):
        commands.add_parser(name)
    commands.add_parser("clock").add_argument("span", nargs="?", metavar="24h")
    commands.add_parser("webhooks").add_argument("rules", nargs="*", metavar="name=json")
    fault = commands.add_parser("fault")
    fault.add_argument("kind")
    fault.add_argument("--count", type=int, default=1)
    fault.add_argument("--until-cleared", action="store_true")
    fault.add_argument("--delay-ms", type=int)
    for name in ("--method", "--path", "--decline-code", "--advice-code"):
        fault.add_argument(name)
    return parser.parse_args()
