"""Logs: one JSON object a line, or coloured text on a terminal; redacted, with the ids of context.

Every process writes to stderr through one handler on the root logger. What runs it (systemd, a
container, honcho) keeps the lines.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import orjson

from worker.telemetry.context import current, ids_at
from worker.telemetry.redaction import redact, scrub

if TYPE_CHECKING:
    from types import TracebackType

    from worker.settings import Settings

QUIET = ("alembic", "amqp", "kombu", "redis", "sentry_sdk", "stripe", "urllib3")
# They tell of every call at INFO or DEBUG; ours are told by our own lines.
HIJACKERS = ("celery", "celery.task", "celery.redirected", "flask.app", "py.warnings", "werkzeug")
# Loggers on which their libraries like to hang handlers of their own.

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CELERYS = {"data"}
# What Celery hangs on its lines: of it the id and name of the task are kept, never the arguments.

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_log = logging.getLogger(__name__)


def told(record: logging.LogRecord, process: str) -> dict[str, Any]:
    """Return a record as redacted fields: time, level, logger, message, ids, extras, exception."""
    # The machine's clock and not the application's: an advanced sandbox must not shuffle the lines.
    time = datetime.fromtimestamp(record.created, UTC)
    extras = {
        name: value
        for name, value in vars(record).items()
        if name not in _STANDARD and name not in _CELERYS
    }
    fields: dict[str, Any] = {
        "time": time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": record.levelname,
        "logger": record.name,
        "message": redact(_message(record)),
        "process": process,
        "pid": record.process,
        **(ids_at(record.exc_info[1]) if record.exc_info else {}),
        **current(),
    }
    data = vars(record).get("data")
    if isinstance(data, dict) and "id" in data and "name" in data:
        fields.setdefault("task_id", data["id"])
        fields.setdefault("task", data["name"])
    fields |= {name: value for name, value in scrub(extras).items() if name not in fields}
    if record.exc_info and record.exc_info[1] is not None:
        fields["exception"] = redact(logging.Formatter().formatException(record.exc_info))
    if record.stack_info:
        fields["stack"] = redact(record.stack_info)
    return fields


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001  a wrong % argument must not lose the line
        return f"{record.msg} ({type(error).__name__} while formatting)"


class JsonLines(logging.Formatter):
    """One JSON object a line; a traceback is one field."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = told(record, self._process)
        try:
            return orjson.dumps(fields).decode()
        except TypeError:  # a lone surrogate, an integer above 64 bits
            return json.dumps(fields, default=str)


class HumanLines(logging.Formatter):
    """A line for a person: time, level, logger, message, then the ids and extras, dimmed."""

    COLOURS = {"DEBUG": 36, "INFO": 32, "WARNING": 33, "ERROR": 31, "CRITICAL": 35}  # noqa: RUF012

    def __init__(self, process: str, *, coloured: bool) -> None:
        super().__init__()
        self._process = process
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and a traceback below it."""
        fields = told(record, self._process)
        time, level = fields.pop("time")[11:23], fields.pop("level")
        logger, message = fields.pop("logger"), fields.pop("message")
        tracebacks = [fields.pop(name, "") for name in ("exception", "stack")]
        del fields["process"], fields["pid"]
        rest = _one_line(" ".join(f"{name}={value}" for name, value in fields.items()))
        colour = self.COLOURS.get(level, 0)
        line = f"{time} {self._paint(f'{level:<8}', colour)} {logger}: {_one_line(message)}"
        return "\n".join(filter(None, [f"{line} {self._paint(rest, 2)}".rstrip(), *tracebacks]))

    def _paint(self, text: str, colour: int) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured and text else text


def _one_line(text: str) -> str:
    """Show control characters instead of obeying them: a caller's path must not forge a line."""
    return _CONTROLS.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


class OwnHandler(logging.StreamHandler[TextIO]):
    """The one handler on the root logger; a class of its own, so that a second call finds it."""


def configure_logs(settings: Settings, process: str, stream: TextIO | None = None) -> None:
    """Send every logger's lines through one handler; safe to call again."""
    out = sys.stderr if stream is None else stream
    handler = OwnHandler(out)
    handler.setFormatter(_formatter(settings, process, out))
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, OwnHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in HIJACKERS:
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # else a line that fails is printed raw, arguments and all
    # Whoever has put hooks of his own there (a test runner, Sentry) keeps them.
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _tell_uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _tell_uncaught_in_thread


def _formatter(settings: Settings, process: str, out: TextIO) -> logging.Formatter:
    on_terminal = out.isatty()
    if settings.log_format == "json" or (settings.log_format == "auto" and not on_terminal):
        return JsonLines(process)
    return HumanLines(process, coloured=on_terminal)


def _tell_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Log what would else be printed by the interpreter, unredacted."""
    if issubclass(kind, KeyboardInterrupt):
        return
    _log.critical("uncaught %s", kind.__name__, exc_info=(kind, error, trace))


def _tell_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    name = args.thread.name if args.thread else "?"
    info = (args.exc_type, args.exc_value, args.exc_traceback)
    _log.critical("uncaught %s in thread %s", args.exc_type.__name__, name, exc_info=info)
