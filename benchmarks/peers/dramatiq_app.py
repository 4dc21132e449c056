"""The same tasks for dramatiq. Called with a task's name and a number, it sends messages."""

import os
import sys
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["BROKER_URL"]))


@dramatiq.actor(queue_name="bench")
def nothing(owed_id: str) -> None:
    """Do nothing."""


@dramatiq.actor(queue_name="bench")
def wait(owed_id: str) -> None:  # noqa: ARG001  as every task of ours
    """Wait as long as a provider takes to answer."""
    time.sleep(0.02)


if __name__ == "__main__":
    actor = {"bench.nothing": nothing, "bench.wait": wait}[sys.argv[1]]
    for number in range(int(sys.argv[2])):
        actor.send(str(number))
