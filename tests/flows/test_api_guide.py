from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from tests.system import BIN, ROOT

GUIDE = (ROOT / "docs" / "api.md").read_text()


@pytest.fixture
def demo_company(system):
    subprocess.run(
        [BIN / "flask", "--app", "web.app", "demo-company"],
        env=system.environ,
        cwd=ROOT,
        check=True,
        capture_output=True,
    )


def documents(text):
    """The JSON documents in a text; curl puts no end of line behind them."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        found, end = decoder.raw_decode(text)
        yield found
        text = text[end:]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the guide's examples use curl")
def test_every_example_of_the_guide_works(system, demo_company):
    examples = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    script = "\n".join(["set -euo pipefail", *(f"{one}\necho" for one in examples)])
    done = subprocess.run(
        ["bash", "-c", script],
        env={**system.environ, "api": system.web_url},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    methods, payment, refund, _, timeline, payments, invoices, problem = documents(done.stdout)
    assert methods[0]["is_default"]
    assert payment["status"] == "succeeded"
    assert refund["status"] == "succeeded"
    assert {line["subject"] for line in timeline["data"]} == {"transaction", "invoice", "refund"}
    assert len(payments["data"]) == 1
    assert len(invoices["data"]) >= 1
    assert problem["errors"][0]["field"] == "lines.0.unit_amount"
