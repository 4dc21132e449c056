"""The commands that a document shows, run as they stand: in order, as one shell session."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from tests.system import ROOT, System


def answers_of(document: str, system: System) -> list[Any]:
    """Run what `docs/<document>` shows; return the JSON documents that came back."""
    commands = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / document).read_text(), re.DOTALL)
    script = "\n".join(["set -euo pipefail", *(f"{one}\necho" for one in commands)])
    done = subprocess.run(
        ["bash", "-c", script],
        env={**system.environ, "api": system.web_url},
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return list(_documents(done.stdout))


def _documents(text: str) -> Iterator[Any]:
    """The JSON objects and lists in a text; curl puts no end of line behind them."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        if text[0] in "{[":
            found, end = decoder.raw_decode(text)
            yield found
            text = text[end:]
        else:
            text = text.partition("\n")[2]


def make_demo_company(system: System, *scenario: str) -> Any:
    """Make the demo company and run a scenario of the demo in it; return what it told."""
    _run(system, "-m", "flask", "--app", "web.app", "demo-company")
    if scenario:
        return json.loads(_run(system, "-m", "sandbox.demo", *scenario).splitlines()[-1])
    return None


def _run(system: System, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        env=system.environ,
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
