"""Celery: broker, queues, acknowledgement, limits and beat. Each value says why."""

from datetime import UTC, datetime

from kombu import Queue

from models.outbox import queue_of
from schedules.beat import entries
from worker import shared_clock, transport
from worker.queues import SUBJECTS
from worker.settings import settings

# Of every process of Celery's, beat too, before it reads the clock.
shared_clock.follow()

# Kombu's own transport loses messages when a worker is killed.
transport.register()
broker_url = settings().queue_url
# The database is the truth: nobody reads results.
result_backend = None
task_ignore_result = True

# JSON only: a pickle message is refused, not executed.
accept_content = ["json"]
task_serializer = "json"
result_serializer = "json"
event_serializer = "json"

imports = [
    *(f"tasks.{subject}" for subject in SUBJECTS),
    "tasks.cancels",
    "tasks.captures",
    "tasks.missed",
    "tasks.subscription_events",
]

# A queue a subject, named like the module in tasks/.
task_queues = [Queue(name, routing_key=name) for name in SUBJECTS]
task_routes = [lambda name, *_, **__: {"queue": queue_of(name)}]
task_default_queue = "outbox"
# A misspelt queue is an error, not a queue that nobody reads.
task_create_missing_queues = False

# A message stays the broker's until its effect is committed.
task_acks_late = True
task_reject_on_worker_lost = True
worker_prefetch_multiplier = 1
# How long a worker that is told to go finishes what it holds (REMAP_SIGTERM=SIGQUIT).
worker_soft_shutdown_timeout = 20.0
# One that holds nothing goes at once: what comes later is a row, not an ETA in its memory.
worker_enable_soft_shutdown_on_idle = False
worker_cancel_long_running_tasks_on_connection_loss = False
worker_send_task_events = True
task_send_sent_event = False

broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_transport_options = {
    # Longer than any call with its retries; what a dead worker held comes back after it.
    "visibility_timeout": 300,
    "unacked_restore_interval": 5,
    # A Redis that hangs must be noticed.
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "max_connections": 250,
}
worker_hijack_root_logger = False
worker_redirect_stdouts = False

timezone = "UTC"
# Beat takes what it has never rung as rung just now: who deploys more often than an entry rings
# would never hear it. As rung long ago it is due at the start of each beat.
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
beat_schedule = {
    name: {
        "task": name,
        "schedule": every_s,
        "last_run_at": LONG_AGO,
        "options": {"expires": max(every_s, 30.0)},
    }
    for name, every_s in entries(
        sweep_every_s=settings().outbox_sweep_every_s,
        missed_every_s=settings().missed_events_every_s,
        reconciliations_every_s=settings().reconciliations_every_s,
    ).items()
}
# Beat keeps no file: entries only say "claim what is due", so a restart forgets nothing.
beat_scheduler = "celery.beat:Scheduler"
