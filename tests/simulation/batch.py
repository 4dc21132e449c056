"""Several histories in one database, judged together; where it fails, each alone."""

from __future__ import annotations

from collections.abc import Iterable

from tests.simulation.history import Broken, Disturbed, History
from tests.simulation.oracle import judge
from tests.simulation.world import World
from worker.database import transaction

TRIES = 3


def run_batch(world: World, seeds: Iterable[int]) -> list[str]:
    """Run a history a seed and judge them all; return what happened in the last.

    Raises:
        Broken: one of them broke something; it tells which and how it came about.
    """
    seeds = list(seeds)
    histories = _live(world, seeds)
    found = _judge(world)
    if found and len(seeds) > 1:
        for seed in seeds:
            run_batch(world, [seed])
        raise Broken(f"seeds {seeds} hold one by one, but together not:\n{found}")
    if found:
        raise histories[0].broken(found)
    return histories[-1].told


def _live(world: World, seeds: list[int]) -> list[History]:
    for _ in range(TRIES):
        world.clean()
        histories = [History(world, seed) for seed in seeds]
        try:
            for history in histories:
                history.run()
        except Disturbed:
            continue
        return histories
    raise Disturbed(f"{TRIES} times, in seeds {seeds}")


def _judge(world: World) -> str:
    with transaction() as session:
        return "\n".join(judge(session, world))
