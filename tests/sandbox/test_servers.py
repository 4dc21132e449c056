"""The private servers: real processes, started, hurt and stopped here."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pymysql
import pytest
import redis
from pytest_socket import SocketConnectBlockedError
from sqlalchemy.engine import make_url

from sandbox.children import PortTaken
from sandbox.servers import PrivateMariaDB, PrivateValkey
from tests.waiting import is_alive, wait_for

ROOT = Path(__file__).parents[2]

STARTER = """
import sys, time
from pathlib import Path
from sandbox.servers import PrivateMariaDB, PrivateValkey
folder = Path(sys.argv[1])
servers = [PrivateMariaDB(folder / "m").start(), PrivateValkey(folder / "v").start()]
print(*(server.pid for server in servers), flush=True)
time.sleep(600)
"""


def query(url: str, sql: str) -> tuple:
    parts = make_url(url)
    with pymysql.connect(
        host=parts.host,
        port=parts.port,
        user=parts.username,
        password=parts.password,
        database=parts.database,
    ) as connection:
        cursor = connection.cursor()
        cursor.execute(sql)
        connection.commit()
        return cursor.fetchone()


def listeners(port: int) -> set[str]:
    """Return the addresses listened on, as the kernel writes them."""
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path("/proc/net", name).read_text().splitlines()[1:]
    ]
    local = [row[1].split(":") for row in rows if row[3] == "0A"]
    return {address for address, number in local if int(number, 16) == port}


def test_mariadb_keeps_its_port_password_and_rows_over_a_restart(fresh_mariadb):
    server = fresh_mariadb()
    before = server.url
    query(before, "CREATE TABLE kept (id INT)")
    query(before, "INSERT INTO kept VALUES (7)")
    server.stop()
    server.start()
    assert server.url == before
    assert query(before, "SELECT id FROM kept") == (7,)


def test_mariadb_keeps_a_commit_through_a_kill(fresh_mariadb):
    server = fresh_mariadb()
    query(server.url, "CREATE TABLE kept (id INT)")
    query(server.url, "INSERT INTO kept VALUES (7)")
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: not server.is_running())
    server.start()
    assert query(server.url, "SELECT id FROM kept") == (7,)


def test_mariadb_is_durable_utf8_utc_and_read_committed(fresh_mariadb):
    sql = (
        "SELECT @@innodb_flush_log_at_trx_commit, @@character_set_server, @@time_zone,"
        " @@tx_isolation"
    )
    assert query(fresh_mariadb().url, sql) == (1, "utf8mb4", "+00:00", "READ-COMMITTED")


@pytest.mark.parametrize("user", ["root", "", "paybeat"])
def test_mariadb_lets_nobody_in_without_the_password(fresh_mariadb, user):
    with pytest.raises(pymysql.OperationalError, match="Access denied"):
        pymysql.connect(host="127.0.0.1", port=fresh_mariadb().port, user=user)


def test_valkey_lets_nobody_in_without_the_password(fresh_valkey):
    server = fresh_valkey()
    assert redis.Redis.from_url(server.url).ping()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=server.port).ping()


@pytest.mark.parametrize("kind", [PrivateMariaDB, PrivateValkey])
def test_a_server_listens_on_loopback_alone(tmp_path, kind):
    with kind(tmp_path / "it") as server:
        wait_for(lambda: listeners(server.port) == {"0100007F"})


def test_passwords_are_for_their_owner_alone(fresh_mariadb, fresh_valkey):
    for server in (fresh_mariadb(), fresh_valkey()):
        assert server.folder.stat().st_mode & 0o077 == 0
        holders = [
            path
            for path in server.folder.glob("*")
            if path.is_file() and server.password in path.read_text(errors="replace")
        ]
        assert holders
        assert all(path.stat().st_mode & 0o077 == 0 for path in holders)
        assert server.password not in Path("/proc", str(server.pid), "cmdline").read_text()


def test_a_hung_server_is_stopped_all_the_same(tmp_path):
    server = PrivateValkey(tmp_path / "valkey").start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert not is_alive(pid)


def test_a_given_port_that_is_taken_is_an_error(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port} for valkey is taken"):
            PrivateValkey(tmp_path / "valkey", port=port).start()


def test_a_free_port_taken_meanwhile_is_replaced(tmp_path):
    server = PrivateValkey(tmp_path / "valkey").start()
    server.stop()
    before = server.port
    with socket.create_server(("127.0.0.1", before)):
        server.start()
        assert server.port != before
        assert redis.Redis.from_url(server.url).ping()
    server.stop()


def test_one_folder_serves_one_starter_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("sandbox.private.FOLDER_S", 0.2)
    with (
        PrivateValkey(tmp_path / "valkey"),
        pytest.raises(Exception, match="Another valkey runs"),
    ):
        PrivateValkey(tmp_path / "valkey").start()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_servers_end_with_a_starter_that_is_killed(tmp_path, how):
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    with starter:
        pids = [int(pid) for pid in starter.stdout.readline().split()]
        assert all(is_alive(pid) for pid in pids)
        assert len(pids) == 2
        os.killpg(starter.pid, how)
    wait_for(lambda: not any(is_alive(pid) for pid in pids))
    with PrivateMariaDB(tmp_path / "m") as again:
        assert query(again.url, "SELECT 1") == (1,)


def test_servers_end_when_their_keeper_is_killed(tmp_path):
    server = PrivateValkey(tmp_path / "valkey").start()
    pid = server.pid
    keeper = int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
    os.kill(keeper, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid))
    server.stop()


def test_each_test_process_has_a_database_of_its_own(database_url, redis_url):
    assert query(database_url, "SELECT DATABASE()")[0].startswith("paybeat_")
    assert redis.Redis.from_url(redis_url).ping()


@pytest.mark.filterwarnings("ignore:A test tried to use socket:UserWarning")
def test_a_test_reaches_loopback_alone():
    with pytest.raises(SocketConnectBlockedError):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
