"""Group commit: everyone gets their own answer, whatever becomes of the leader."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from tests.waiting import PATIENCE_S, wait_for
from worker.group_commit import GroupCommit, Hopeless


class Flusher:
    """Records groups; holds a flush while `held`; answers as `act` says."""

    def __init__(self, act: Callable[[list[str]], Sequence[object]] = list) -> None:
        self.groups: list[list[str]] = []
        self.afterwards: list[list[str]] = []
        self.act = act
        self.let_go = threading.Event()
        self.let_go.set()

    def __call__(self, group: list[str]):
        self.groups.append(group)
        assert self.let_go.wait(PATIENCE_S)
        answers = self.act(group)
        return answers, lambda: self.afterwards.append(group)


class Callers:
    """Threads that put one item each and keep what came of it."""

    def __init__(self, commit: GroupCommit) -> None:
        self.commit = commit
        self.results: dict[str, object] = {}
        self.threads: list[threading.Thread] = []

    def put(self, item: str, size: int = 1) -> None:
        thread = threading.Thread(target=self._put, args=(item, size))
        thread.start()
        self.threads.append(thread)

    def _put(self, item: str, size: int) -> None:
        try:
            self.results[item] = self.commit.put(item, size=size)
        except BaseException as error:  # noqa: BLE001  the test looks at it
            self.results[item] = error

    def done(self) -> dict[str, object]:
        for thread in self.threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a caller was left waiting"
        return self.results


def held(flusher: Flusher, *items: str, size: int = 1, **limits: int) -> Callers:
    """Let the first item's flush hang until all others wait, then let all go."""
    callers = Callers(GroupCommit(flusher, **limits))
    flusher.let_go.clear()
    callers.put(items[0], size)
    wait_for(lambda: flusher.groups)
    for item in items[1:]:
        before = len(callers.commit._queue)
        callers.put(item, size)
        wait_for(lambda before=before: len(callers.commit._queue) == before + 1)
    flusher.let_go.set()
    return callers


def test_a_lone_item_does_not_wait_for_company() -> None:
    flusher = Flusher()
    assert GroupCommit(flusher).put("a", size=1) == "a"
    assert flusher.groups == flusher.afterwards == [["a"]]


def test_those_who_wait_go_together_in_their_order() -> None:
    flusher = Flusher()
    assert held(flusher, "a", "b", "c", "d").done() == {i: i for i in "abcd"}
    assert flusher.groups == [["a"], ["b", "c", "d"]]
    assert sorted(flusher.afterwards) == [["a"], ["b", "c", "d"]]


def test_a_group_is_no_larger_than_it_may_be() -> None:
    flusher = Flusher()
    held(flusher, "a", "b", "c", "d", most=2).done()
    assert flusher.groups == [["a"], ["b", "c"], ["d"]]


def test_a_group_weighs_no_more_than_it_may_unless_one_item_does() -> None:
    flusher = Flusher()
    held(flusher, "a", "b", "c", "d", size=4, largest=8).done()
    assert flusher.groups == [["a"], ["b", "c"], ["d"]]
    flusher = Flusher()
    held(flusher, "a", "b", "c", size=9, largest=8).done()
    assert flusher.groups == [["a"], ["b"], ["c"]]


def test_two_lanes_are_two_groups_at_once() -> None:
    flusher = Flusher()
    flusher.let_go.clear()
    callers = Callers(GroupCommit(flusher, lanes=2))
    callers.put("a")
    callers.put("b")
    wait_for(lambda: len(flusher.groups) == 2)
    flusher.let_go.set()
    assert callers.done() == {"a": "a", "b": "b"}


def test_an_error_of_the_group_reaches_everyone_in_it_and_no_one_else() -> None:
    error = ValueError("full")

    def act(group: list[str]) -> list[str]:
        if "c" in group:
            raise error
        return group

    callers = held(Flusher(act), "a", "b", "c", "d", most=2)
    assert callers.done() == {"a": "a", "b": error, "c": error, "d": "d"}


def test_an_error_of_one_item_is_its_own() -> None:
    error = ValueError("bad")
    callers = held(
        Flusher(lambda group: [error if item == "c" else item for item in group]), *"abcd"
    )
    assert callers.done() == {"a": "a", "b": "b", "c": error, "d": "d"}


def test_what_is_hopeless_is_told_to_all_who_wait_behind_it() -> None:
    error = Hopeless("away")

    def act(group: list[str]) -> list[str]:
        raise error

    flusher = Flusher(act)
    assert held(flusher, "a", "b", "c", "d", most=2).done() == dict.fromkeys("abcd", error)
    assert flusher.groups == [["a"]]


def test_a_leader_that_is_stopped_leaves_nobody_waiting() -> None:
    def act(group: list[str]) -> list[str]:
        if group == ["b", "c"]:
            raise SystemExit
        return group

    results = held(Flusher(act), "a", "b", "c", "d", most=2).done()
    assert results["a"] == "a"
    assert isinstance(results["b"], SystemExit)
    assert isinstance(results["c"], RuntimeError)
    assert results["d"] == "d"


@pytest.mark.parametrize("lanes", [1, 3])
def test_thousands_of_items_from_many_threads_are_each_answered_once(lanes: int) -> None:
    flusher = Flusher()
    commit = GroupCommit(flusher, lanes=lanes, most=7)
    wrong: list[str] = []

    def work(thread: int) -> None:
        for number in range(200):
            item = f"{thread}:{number}"
            if commit.put(item, size=1) != item:
                wrong.append(item)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert wrong == []
    items = [item for group in flusher.groups for item in group]
    assert len(items) == len(set(items)) == 16 * 200
    assert commit._free_lanes == lanes
    assert not commit._queue
