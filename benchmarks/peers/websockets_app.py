"""A relay on Python's `websockets`, as its documentation does it: one task a client, `broadcast`.

python -m benchmarks.peers.websockets_app PORT REDIS_URL
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict

import redis.asyncio
from websockets.asyncio.server import ServerConnection, broadcast, serve

HEARTBEAT_S = 25
clients: dict[str, set[ServerConnection]] = defaultdict(set)


async def hold(client: ServerConnection) -> None:
    """Keep one connection in its company's group until it ends."""
    group = clients[client.request.path.rpartition("/")[2]]
    group.add(client)
    try:
        await client.wait_closed()
    finally:
        group.discard(client)


async def hear(url: str) -> None:
    """Pass on what is published."""
    pubsub = redis.asyncio.Redis.from_url(url).pubsub(ignore_subscribe_messages=True)
    await pubsub.psubscribe("channel:*")
    async for found in pubsub.listen():
        broadcast(clients[found["channel"][8:].decode()], found["data"].decode())


async def main() -> None:
    port, url = int(sys.argv[1]), sys.argv[2]
    # Compression costs memory and CPU; ours has none either.
    server = serve(
        hold, "127.0.0.1", port, compression=None, ping_interval=HEARTBEAT_S, backlog=4096
    )
    async with server:
        await hear(url)


if __name__ == "__main__":
    asyncio.run(main())
