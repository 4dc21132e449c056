"""gunicorn's log as ours: `logger_class = GunicornLog` in its configuration.

The access line is structured and has the path only: a query string may carry what is secret.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from worker.settings import settings
from worker.telemetry import configure
from worker.telemetry.wsgi import IDS_KEY

if TYPE_CHECKING:
    from datetime import timedelta

QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
# Probes come every few seconds for ever; they are told at DEBUG.

_access = logging.getLogger("web.access")


class GunicornLog(Logger):  # type: ignore[misc]  # gunicorn comes untyped
    """Sends gunicorn's own lines and the access lines through the root logger."""

    process = "web"

    def setup(self, cfg: Any) -> None:
        """Configure this process; also called when gunicorn reloads its configuration."""
        self.cfg = cfg
        configure(settings(), process=self.process)
        for logger in (self.error_log, self.access_log):
            logger.propagate = True

    @property
    def access_log_enabled(self) -> bool:
        """Whether access lines are wanted; the level decides, not gunicorn's own settings."""
        return _access.isEnabledFor(logging.INFO)

    def access(
        self,
        resp: Any,
        req: Any,  # noqa: ARG002  gunicorn passes it
        environ: dict[str, Any],
        request_time: timedelta,
    ) -> None:
        """Tell of one answered request."""
        path = environ.get("PATH_INFO", "")
        method = environ.get("REQUEST_METHOD", "")
        status = str(resp.status).split(maxsplit=1)[0]
        _access.log(
            logging.DEBUG if path in QUIET_PATHS else logging.INFO,
            "%s %s %s",
            method,
            path,
            status,
            extra={
                **environ.get(IDS_KEY, {}),
                "method": method,
                "path": path,
                "status": int(status),
                "bytes": getattr(resp, "sent", None),
                "duration_ms": round(request_time.total_seconds() * 1000, 3),
                "remote": environ.get("REMOTE_ADDR"),
                "user_agent": environ.get("HTTP_USER_AGENT"),
            },
        )


class RelayLog(GunicornLog):
    """The same for the relay; of its upgrades it writes the lines itself."""

    process = "relay"
