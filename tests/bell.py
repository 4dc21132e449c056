"""Runs a task as a worker does that got its message, in this process."""

from __future__ import annotations

from uuid import UUID

from worker.app import app


def ring(name: str, owed_id: UUID, *, redelivered: bool = False) -> None:
    app.loader.import_default_modules()
    celery_task = app.tasks[name]
    celery_task.push_request(delivery_info={"redelivered": redelivered}, id=str(owed_id))
    try:
        celery_task.run(str(owed_id))
    finally:
        celery_task.pop_request()
