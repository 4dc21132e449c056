from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bare import bare_environ
from tests.worker.telemetry.canaries import CANARIES, leaked, spill
from worker.settings import load
from worker.telemetry import bind
from worker.telemetry.logs import JsonLines, OwnHandler, configure_logs

ROOT = Path(__file__).parents[3]
log = logging.getLogger("some.module")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    root, raises = logging.getLogger(), logging.raiseExceptions
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], logging.raiseExceptions = handlers, raises
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def told(log_format: str = "json", stream: io.StringIO | None = None, **given: str) -> io.StringIO:
    out = stream or io.StringIO()
    configure_logs(load({"LOG_FORMAT": log_format, **given}), "web", out)
    return out


def last(out: io.StringIO) -> dict[str, Any]:
    return dict(json.loads(out.getvalue().splitlines()[-1]))


def test_a_line_is_one_json_object_even_with_line_ends_within():
    out = told()
    log.info("two\nlines", extra={"more": "\r\n\x1b[31m"})
    assert len(out.getvalue().splitlines()) == 1
    assert last(out)["message"] == "two\nlines"


def test_an_extra_field_does_not_replace_one_of_ours():
    out = told()
    with bind(request_id="the-real-one"):
        log.info("x", extra={"request_id": "forged", "level": "forged", "process_name": "kept"})
    assert (last(out)["request_id"], last(out)["level"]) == ("the-real-one", "INFO")
    assert last(out)["process_name"] == "kept"


def test_fields_that_json_cannot_hold_are_still_told():
    # Formatted by hand: what is logged here, pytest-xdist would have to send as UTF-8.
    fields = {"msg": "lone \ud800 surrogate", "big": 2**80, "object": object(), "bytes": b"\xff"}
    line = json.loads(JsonLines("web").format(logging.makeLogRecord(fields)))
    assert line["message"] == "lone \ud800 surrogate"
    assert line["big"] == 2**80
    assert line["object"].startswith("<object object")


def test_a_line_with_wrong_arguments_is_not_lost():
    out = told()
    log.info("%d of %s", *["many"])
    assert "%d of %s" in last(out)["message"]


def test_a_wrong_argument_that_is_secret_is_not_printed_raw(capsys):
    out = told()
    log.info("%d", CANARIES["stripe_key"])
    assert leaked(out.getvalue() + capsys.readouterr().err) == []


def test_an_exception_is_redacted_with_its_cause():
    out = told()
    try:
        spill()
    except ValueError:
        log.exception("it failed", extra={"canaries": CANARIES})
    assert last(out)["exception"].count("Traceback") == 2
    assert leaked(out.getvalue()) == []


def test_a_terminal_gets_text_and_colours():
    out = told("auto", Terminal())
    with bind(request_id="a-request-id"):
        log.warning("careful")
    assert "some.module: careful" in out.getvalue()
    assert "request_id=a-request-id" in out.getvalue()
    assert "\x1b[33mWARNING" in out.getvalue()


def test_no_terminal_gets_json():
    out = told("auto")
    log.info("x")
    assert last(out)["message"] == "x"


def test_text_for_a_file_has_no_colours():
    out = told("human")
    log.error("x")
    assert "\x1b" not in out.getvalue()


def test_a_caller_cannot_forge_a_line_for_people():
    out = told("human")
    log.info("GET %s", "/a\n12:00:00.000 CRITICAL forged\x1b[2J", extra={"path": "/a\nforged"})
    assert len(out.getvalue().splitlines()) == 1
    assert "\x1b" not in out.getvalue()


def test_text_for_people_shows_a_traceback_below():
    out = told("human")
    try:
        spill()
    except ValueError:
        log.exception("it failed")
    assert out.getvalue().splitlines()[1] == "Traceback (most recent call last):"
    assert leaked(out.getvalue()) == []


def test_the_level_is_kept():
    out = told(LOG_LEVEL="warning")
    log.info("quiet")
    assert out.getvalue() == ""


def test_configuring_twice_does_not_double_the_lines():
    told()
    out = told()
    log.info("once")
    assert len(out.getvalue().splitlines()) == 1
    assert sum(isinstance(handler, OwnHandler) for handler in logging.getLogger().handlers) == 1


def test_libraries_that_tell_of_every_call_are_quiet():
    out = told()
    logging.getLogger("urllib3.connectionpool").info("GET /v1/charges")
    assert out.getvalue() == ""


def test_a_warning_is_a_line():
    out = told()
    logging.getLogger("py.warnings").warning("deprecated")
    assert last(out)["logger"] == "py.warnings"


SCRIPT = """
import threading
from tests.worker.telemetry.canaries import spill
from worker.settings import settings
from worker.telemetry import configure
configure(settings(), process="command")
thread = threading.Thread(target=spill)
thread.start()
thread.join()
spill()
"""


def test_what_nobody_caught_is_logged_and_redacted():
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env=bare_environ(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["CRITICAL", "CRITICAL"]
    assert "in thread" in lines[0]["message"]
    assert ended.returncode == 1
    assert leaked(ended.stdout + ended.stderr) == []
