from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import redis
import sqlalchemy
from flask import Flask

from models import schema
from tests.web.webhooks.door import KEY, OLD_KEY, OUTBOX, WEBHOOKS, Door
from web.app import create_app
from worker import cache, database, dispatch
from worker.intake import intake
from worker.settings import settings


@pytest.fixture(scope="session")
def app(database_url: str) -> Flask:
    return create_app()


@contextmanager
def own_engine(url: str) -> Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    schema.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def migrated_engine(database_url: str) -> Iterator[sqlalchemy.Engine]:
    with own_engine(database_url) as engine:
        yield engine


def forget_process_state() -> None:
    """Close and forget what this process holds of servers."""
    if intake.cache_info().currsize:
        intake().close()
    if database.engine.cache_info().currsize:
        database.engine().dispose()
    if dispatch.doorbell.cache_info().currsize:
        dispatch.doorbell().client.close()
    for held in (settings, intake, database.engine, dispatch.doorbell, cache.shared):
        held.cache_clear()


@pytest.fixture
def open_door(app: Flask, monkeypatch) -> Iterator[Callable[..., Door]]:
    """Return a maker of doors on given servers; one a test."""
    with ExitStack() as held:

        def make(engine: sqlalchemy.Engine, redis_url: str) -> Door:
            monkeypatch.setenv("DATABASE_URL", engine.url.render_as_string(hide_password=False))
            monkeypatch.setenv("REDIS_URL", redis_url)
            monkeypatch.setenv("BROKER_URL", redis_url)
            monkeypatch.setenv("STRIPE_WEBHOOK_KEY", f"{KEY}, {OLD_KEY}")
            forget_process_state()
            held.callback(forget_process_state)
            broker = held.enter_context(redis.Redis.from_url(redis_url, decode_responses=True))
            broker.delete("webhooks")
            with engine.begin() as connection:
                connection.execute(WEBHOOKS.delete())
                connection.execute(OUTBOX.delete())
            return Door(app, engine, broker)

        yield make


@pytest.fixture
def door(open_door, migrated_engine: sqlalchemy.Engine, broker_url: str) -> Door:
    return open_door(migrated_engine, broker_url)
