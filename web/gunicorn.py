"""gunicorn's configuration: `gunicorn "web.app:create_app()" -c web/gunicorn.py`."""

from __future__ import annotations

from typing import Any

from web import serving
from worker.settings import settings
from worker.telemetry.gunicorn_log import GunicornLog

bind = f"{settings().host}:{settings().port}"
worker_class = "gthread"
workers = settings().web_workers
# A request that waits for a worker's reply holds a thread for up to 20 s.
threads = settings().web_threads
# Each worker process makes its own connections.
preload_app = False

# Of a database that hangs: then the answer is 503, and the caller tries again.
DATABASE_ANSWERS_WITHIN_S = 4.0

# Longer than a request may wait: whoever is being answered when SIGTERM comes is answered.
graceful_timeout = 25
timeout = 60
keepalive = 30
max_requests = 0

limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
# Whose X-Forwarded-* is believed is for TRUSTED_PROXIES to say, not for gunicorn.
forwarded_allow_ips = ""

# A door for which there is no need, at one path for every gunicorn of this user.
control_socket_disable = True

logger_class = GunicornLog
proc_name = "paybeat-web"


def post_worker_init(worker: Any) -> None:  # noqa: ARG001  gunicorn passes it
    """Make the process ready to serve."""
    serving.make_ready(database_answers_within_s=DATABASE_ANSWERS_WITHIN_S)
