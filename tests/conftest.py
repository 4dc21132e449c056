"""Fixtures for every room: the servers of the run, and private ones for tests that hurt them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from _pytest.nodeid import NodeId

from models.schema import upgrade
from sandbox.servers import PrivateMariaDB, PrivateValkey, SandboxError
from tests.factories import Customer, make_company
from tests.servers import Servers, Urls, close_breakers, make_empty_database
from worker.breaker import ProviderBreaker, breaker_of
from worker.cache import shared
from worker.channels import Channels
from worker.database import engine
from worker.settings import settings

pytest_plugins = ("tests.sandbox_fixture", "tests.system_fixture")

SERVERS = pytest.StashKey[Servers]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SERVERS] = Servers()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    try:
        urls = node.config.stash[SERVERS].urls()
    except SandboxError as error:
        pytest.exit(str(error), 2)
    node.workerinput["servers"] = (urls.database, urls.redis, urls.broker)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of a module that share what it makes in one process: it is made once.

    `--dist loadgroup` hands out groups before single tests, and the biggest first. It reads them
    from the ids, but writes them where pytest no longer looks; so it is done here.
    """
    if not getattr(config.option, "loadgroup", False):
        return
    for item in items:
        if (group := group_of(item)) is not None:
            item._id = NodeId.parse(f"{item.nodeid}@{group}")


def group_of(item: pytest.Item) -> str | None:
    if (mark := item.get_closest_marker("xdist_group")) is not None:
        return mark.args[0]
    made = item._fixtureinfo.name2fixturedefs.values()
    if any(fixtures[-1].scope == "module" for fixtures in made):
        return item.nodeid.partition("::")[0]
    return None


def pytest_terminal_summary(terminalreporter) -> None:
    """Show what tests record as `told`: how much they did in the time they had."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "told":
                terminalreporter.write_line(value)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[SERVERS].stop()


@pytest.fixture(scope="session")
def server_urls(request: pytest.FixtureRequest) -> Urls:
    """This process's own database (empty, made here) and Redis number on the run's servers."""
    workerinput = getattr(request.config, "workerinput", None)
    if workerinput is None:
        urls = request.config.stash[SERVERS].urls().of_process("master")
    else:
        urls = Urls(*workerinput["servers"]).of_process(workerinput["workerid"])
    make_empty_database(urls.database)
    return urls


@pytest.fixture(scope="session")
def database_url(server_urls: Urls) -> str:
    return server_urls.database


@pytest.fixture(scope="session")
def redis_url(server_urls: Urls) -> str:
    return server_urls.redis


@pytest.fixture(scope="session")
def broker_url(server_urls: Urls) -> str:
    return server_urls.broker


@pytest.fixture(scope="session")
def server_environ(server_urls: Urls) -> dict[str, str]:
    """What a process that a test starts must find in its environment."""
    return {
        "DATABASE_URL": server_urls.database,
        "REDIS_URL": server_urls.redis,
        "BROKER_URL": server_urls.broker,
    }


@pytest.fixture(scope="session")
def migrated(server_environ: dict[str, str]) -> dict[str, str]:
    """This process's servers with the schema in place; the process itself is set to use them."""
    os.environ.update(server_environ)
    # Whoever was quicker had other servers.
    for made in (settings, shared, breaker_of):
        made.cache_clear()
    upgrade(engine())
    return server_environ


@pytest.fixture(scope="session")
def own_redis(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(autouse=True)
def _providers_are_well(request: pytest.FixtureRequest) -> None:
    """What one test made of a provider does not hold up the next."""
    if "migrated" in request.fixturenames:
        close_breakers(request.getfixturevalue("own_redis"))
        breaker_of.cache_clear()


@pytest.fixture
def unbroken(monkeypatch: pytest.MonkeyPatch) -> None:
    """For who means to be refused again and again: no breaker opens in this process."""
    monkeypatch.setattr(ProviderBreaker, "tell", lambda *_, **__: None)


@pytest.fixture
def database(migrated: dict[str, str]) -> dict[str, str]:
    """The migrated database, as it comes: tests make companies of their own in it."""
    return migrated


@pytest.fixture
def customer(database: dict[str, str]) -> Customer:
    """A company of this test's own, with its owner."""
    return make_company()


@pytest.fixture
def fresh_valkey(tmp_path: Path) -> Iterator[Callable[[], PrivateValkey]]:
    """Return a maker of Valkeys that the test may stop, SIGSTOP, kill or flush."""
    with ExitStack() as running:
        count = iter(range(100))
        yield lambda: running.enter_context(PrivateValkey(tmp_path / f"valkey{next(count)}"))


@pytest.fixture
def own_valkey(fresh_valkey: Callable[[], PrivateValkey]) -> PrivateValkey:
    """A Valkey that nothing but this test uses."""
    return fresh_valkey()


@pytest.fixture
def channels(own_valkey: PrivateValkey) -> Channels:
    """The channels of that Valkey."""
    return Channels(own_valkey.url)


@pytest.fixture
def fresh_mariadb(tmp_path: Path) -> Iterator[Callable[[], PrivateMariaDB]]:
    """Return a maker of MariaDBs that the test may stop, SIGSTOP or kill."""
    with ExitStack() as running:
        count = iter(range(100))
        yield lambda: running.enter_context(PrivateMariaDB(tmp_path / f"mariadb{next(count)}"))
