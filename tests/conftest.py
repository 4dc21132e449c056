"""Fixtures for every room: the servers of the run, and private ones for tests that hurt them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox.servers import PrivateMariaDB, PrivateValkey, SandboxError
from tests.servers import Servers, Urls, make_empty_database

pytest_plugins = ("tests.sandbox_fixture",)

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


@pytest.fixture
def fresh_valkey(tmp_path: Path) -> Iterator[Callable[[], PrivateValkey]]:
    """Return a maker of Valkeys that the test may stop, SIGSTOP, kill or flush."""
    with ExitStack() as running:
        count = iter(range(100))
        yield lambda: running.enter_context(PrivateValkey(tmp_path / f"valkey{next(count)}"))


@pytest.fixture
def fresh_mariadb(tmp_path: Path) -> Iterator[Callable[[], PrivateMariaDB]]:
    """Return a maker of MariaDBs that the test may stop, SIGSTOP or kill."""
    with ExitStack() as running:
        count = iter(range(100))
        yield lambda: running.enter_context(PrivateMariaDB(tmp_path / f"mariadb{next(count)}"))
