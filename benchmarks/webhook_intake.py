"""Webhook intake: ours against plain Flask, the usual design and dj-stripe, all in one run.

dj-stripe stands there three times: deferred (the delivery is stored, the event left to a
callback, as ours leaves it to a worker), with an event that it only keeps, and as it ships, which
handles the payment within the request and fetches it from an API (a stub, whose cost is not
counted).

Each has the same gunicorn, MariaDB and Valkey, and the same signed events of 3 KB. Ours stands
there twice: like the others, none of which logs a request, and with its own configuration, which
does. They take turns, several rounds, so that a neighbour's noise falls on all; the figures are
medians.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import sqlalchemy

from benchmarks.processes import (
    THREADS,
    WORKERS,
    Gunicorn,
    bench_python,
    cpu_s,
    others_cpu_s,
)
from benchmarks.report import FOLDER, against_goal, keep, table, title
from models import schema
from sandbox.children import Child, free_port
from sandbox.servers import PrivateMariaDB, PrivateValkey

KEY = "whsec_of_the_benchmark"
ROUNDS = 5
SECONDS = 2.0
STEADY_SECONDS = 4.0
CONNECTIONS = 32
STEADY_RATE = 100.0
# Requests a second at which the times of all are compared; within what each but dj-stripe can do.
NAME = "webhook_intake"
OURS = "web.app:create_app()"
PATH = "/api/v1/webhooks/stripe"
DJSTRIPE = "benchmarks.peers.djstripe_site"


@dataclass(frozen=True)
class Peer:
    """A server under load."""

    name: str
    path: str
    server: Gunicorn
    event_type: str = "payment_intent.succeeded"


def load(peer: Peer, *, rate: float | None = None, seconds: float = SECONDS) -> dict[str, Any]:
    """Run the load against a peer; return its figures, its CPU a request, and what others used."""
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(peer.server.port)]
    command += ["--path", peer.path, "--seconds", str(seconds), "--type", peer.event_type]
    command += ["--connections", str(CONNECTIONS), *(["--rate", str(rate)] if rate else [])]
    before, others = cpu_s(peer.server.pids), others_cpu_s()
    started = time.perf_counter()
    ran = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "STRIPE_WEBHOOK_KEY": KEY},
    )
    figures: dict[str, Any] = json.loads(ran.stdout)
    used_s = cpu_s(peer.server.pids) - before
    took_s = time.perf_counter() - started
    figures["others"] = max(0.0, (others_cpu_s() - others) / took_s)
    figures["cpu_us"] = round(used_s / max(1, figures["answered"]) * 1e6, 1)
    return figures


def median(rounds: list[dict[str, Any]], name: str) -> float:
    return statistics.median(figures[name] for figures in rounds)


def start_peers(held: ExitStack, mariadb: PrivateMariaDB, valkey: PrivateValkey) -> list[Peer]:
    """Start every server and make its tables."""
    engine = sqlalchemy.create_engine(mariadb.url, poolclass=sqlalchemy.NullPool)
    schema.upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS naive")
        for database in ("naive", "later", "now"):
            # dj-stripe's are kept between runs: its migrations take a minute.
            connection.exec_driver_sql(
                f"CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET utf8mb4"
            )
    naive_url = mariadb.url_of("naive")
    schema.upgrade(sqlalchemy.create_engine(naive_url, poolclass=sqlalchemy.NullPool))
    shared = {
        "STRIPE_WEBHOOK_KEY": KEY,
        "DATABASE_URL": mariadb.url,
        "REDIS_URL": valkey.url,
        "BROKER_URL": valkey.url,
        "PYTHONPATH": str(Path.cwd()),
    }

    def serve(name: str, app: str, **options: Any) -> Gunicorn:
        environ = {**shared, **options.pop("environ", {})}
        server = Gunicorn(name, app, environ, **options)
        held.callback(server.stop)
        return server

    peers = [
        Peer("Flask hello", "/hello", serve("hello", "benchmarks.peers.hello:app")),
        Peer("ours", PATH, serve("ours", OURS)),
        Peer("ours, as it ships", PATH, serve("shipped", OURS, options=["-c", "web/gunicorn.py"])),
        Peer(
            "usual design",
            "/naive",
            serve("naive", "benchmarks.peers.naive:app", environ={"DATABASE_URL": naive_url}),
        ),
    ]
    return [*peers, *_start_djstripe(held, mariadb, serve)]


def _start_djstripe(
    held: ExitStack, mariadb: PrivateMariaDB, serve: Callable[..., Gunicorn]
) -> list[Peer]:
    python = bench_python()
    api_port = free_port()
    stub = [sys.executable, "-m", "benchmarks.peers.stripe_api", str(api_port)]
    held.enter_context(Child(stub))
    servers = {}
    for process in ("later", "now"):
        environ = {
            "DJSTRIPE_PROCESS": process,
            "DJSTRIPE_DATABASE_URL": mariadb.url_of(process),
            "STRIPE_API_BASE": f"http://127.0.0.1:{api_port}",
            "STRIPE_WEBHOOK_KEY": KEY,
        }
        subprocess.run([python, "-m", DJSTRIPE], check=True, env={**os.environ, **environ})
        servers[process] = serve(
            f"djstripe_{process}", f"{DJSTRIPE}:app", environ=environ, python=python
        )
    path = "/stripe/webhook/0f0c7c5e-5b7e-4f0e-9d0b-6f5b3c1f2a10/"
    return [
        Peer("dj-stripe, deferred", path, servers["later"]),
        Peer("dj-stripe, event kept", path, servers["now"], event_type="balance.available"),
        Peer("dj-stripe, as it ships", path, servers["now"]),
    ]


def check_stored(mariadb: PrivateMariaDB, valkey: PrivateValkey, answered: int) -> None:
    """Fail unless every 200 of ours is a row, a debt and a message."""
    engine = sqlalchemy.create_engine(mariadb.url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        counts = [
            connection.exec_driver_sql(f"SELECT COUNT(*) FROM {name}").scalar_one()
            for name in ("payment_webhooks", "outbox")
        ]
    with redis.Redis.from_url(valkey.url) as client:
        counts.append(client.llen("webhooks"))
    if min(counts) < answered:
        raise SystemExit(f"answered {answered}, but rows, debts, messages are {counts}")
    print(f"Of ours, {answered} answered 200; rows, debts, messages: {counts}.")


def run() -> None:
    """Measure and print."""
    title("Webhook intake")
    print(f"gunicorn gthread, {WORKERS} processes of {THREADS} threads; {CONNECTIONS} connections")
    with ExitStack() as held:
        mariadb = held.enter_context(PrivateMariaDB(FOLDER / "mariadb"))
        valkey = held.enter_context(PrivateValkey(FOLDER / "valkey"))
        make_empty(mariadb, valkey)
        peers = start_peers(held, mariadb, valkey)
        for peer in peers:
            warm = load(peer, seconds=1.0)
            if not warm["answered"]:
                raise SystemExit(f"{peer.name} answers nothing: var/bench/*.log")
        full: dict[str, list[dict[str, Any]]] = {peer.name: [] for peer in peers}
        steady: dict[str, list[dict[str, Any]]] = {peer.name: [] for peer in peers}
        for _ in range(ROUNDS):
            for peer in peers:
                full[peer.name].append(load(peer))
            for peer in peers:
                steady[peer.name].append(load(peer, rate=STEADY_RATE, seconds=STEADY_SECONDS))
        ours = [
            figures["answered"]
            for name in full
            if name.startswith("ours")
            for figures in full[name] + steady[name]
        ]
        check_stored(mariadb, valkey, sum(ours))
    tell(full, steady)


def make_empty(mariadb: PrivateMariaDB, valkey: PrivateValkey) -> None:
    """Forget what an earlier run left."""
    engine = sqlalchemy.create_engine(mariadb.url_of(""), poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS paybeat")
        connection.exec_driver_sql("CREATE DATABASE paybeat CHARACTER SET utf8mb4")
    with redis.Redis.from_url(valkey.url) as client:
        client.flushdb()


def _sync_ms() -> float:
    """Return what it costs to put 4 KB on the disk: no durable answer is quicker."""
    with (FOLDER / "sync").open("wb", buffering=0) as file:
        started = time.perf_counter()
        file.write(bytes(4096))
        os.fsync(file.fileno())
        return (time.perf_counter() - started) * 1000


def tell(full: dict[str, list[dict[str, Any]]], steady: dict[str, list[dict[str, Any]]]) -> None:
    """Print the table and the ratios against the goals."""
    rows = [
        {
            "peer": name,
            "requests/s": median(full[name], "rate"),
            "CPU µs": median(full[name], "cpu_us"),
            "p50 ms": median(full[name], "p50_ms"),
            "p99 ms": median(full[name], "p99_ms"),
            f"p50 ms at {STEADY_RATE:.0f}/s": median(steady[name], "p50_ms"),
            f"p99 ms at {STEADY_RATE:.0f}/s": median(steady[name], "p99_ms"),
            "others' cores": median(full[name] + steady[name], "others"),
            "failed": sum(figures["failed"] for figures in full[name] + steady[name]),
        }
        for name in full
    ]
    table(rows)
    for row in rows:
        keep(NAME, **row)
    syncs_ms = sorted(_sync_ms() for _ in range(100))
    print(f"A 4 KB write to the disk: p50 {syncs_ms[50]:.1f} ms, p99 {syncs_ms[98]:.1f} ms")
    keep(NAME, sync_p50_ms=round(syncs_ms[50], 2), sync_p99_ms=round(syncs_ms[98], 2))
    found = {row["peer"]: row for row in rows}
    for ours in [name for name in found if name.startswith("ours")]:
        judge(ours, found)


def judge(name: str, found: dict[str, dict[str, Any]]) -> None:
    """Print the ratios of one of ours against the goals."""
    ours, hello = found[name], found["Flask hello"]
    for peer in [each for each in found if each.startswith("dj-stripe")]:
        ratio = ours["CPU µs"] / found[peer]["CPU µs"]
        against_goal(NAME, f"{name}: CPU against {peer}", ratio, "<=", 1 / 20)
    ratio = ours["CPU µs"] / found["usual design"]["CPU µs"]
    against_goal(NAME, f"{name}: CPU against the usual design", ratio, "<=", 1 / 4)
    ratio = ours["requests/s"] / hello["requests/s"]
    against_goal(NAME, f"{name}: rate against Flask hello", ratio, ">=", 0.33)
    for column in (f"p99 ms at {STEADY_RATE:.0f}/s", "p99 ms"):
        ratio = ours[column] / hello[column]
        against_goal(NAME, f"{name}: {column} against Flask hello", ratio, "<=", 2)


if __name__ == "__main__":
    run()
