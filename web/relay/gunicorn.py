"""gunicorn's configuration: `gunicorn "web.relay.app:create_app()" -c web/relay/gunicorn.py`."""

from __future__ import annotations

from typing import Any

from web import serving
from worker.settings import settings
from worker.telemetry.gunicorn_log import RelayLog

bind = f"{settings().host}:{settings().relay_port}"
worker_class = "web.relay.handshakes.RelayWorker"
# Each has a reactor of its own, which holds the connections that it accepted.
workers = settings().relay_workers
# For handshakes alone: each asks Redis, and sometimes MySQL, who it is.
threads = 32
# Handshakes at a time; those that are connected don't count.
worker_connections = 4096
# Who comes back after a relay has left comes at once with all others.
backlog = 4096
# Each process makes its own connections, threads and reactor.
preload_app = False

# Of a database that hangs: then who knocks is told to come back.
DATABASE_ANSWERS_WITHIN_S = 2.0

# Who is connected is told to come back, and what was sent to them gets there.
graceful_timeout = 10
timeout = 60
# A connection serves one request, or becomes a socket.
keepalive = 0
max_requests = 0

limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
# Whose X-Forwarded-* is believed is for TRUSTED_PROXIES to say, not for gunicorn.
forwarded_allow_ips = ""

# A door for which there is no need, at one path for every gunicorn of this user.
control_socket_disable = True

logger_class = RelayLog
proc_name = "paybeat-relay"


def post_worker_init(worker: Any) -> None:  # noqa: ARG001  gunicorn passes it
    """Make the process ready to serve."""
    serving.make_ready(database_answers_within_s=DATABASE_ANSWERS_WITHIN_S)
