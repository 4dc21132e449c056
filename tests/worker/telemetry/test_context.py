from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from models.ids import new_id
from worker.telemetry import bind, current, note, request_id_from
from worker.telemetry.context import ids_at


def test_ids_are_bound_for_a_block_and_forgotten_after_it():
    transaction_id = new_id()
    with bind(request_id="outer-request"):
        with bind(transaction_id=transaction_id, attempt=2):
            assert current() == {
                "request_id": "outer-request",
                "transaction_id": str(transaction_id),
                "attempt": "2",
            }
        assert current() == {"request_id": "outer-request"}
    assert current() == {}


def test_what_is_noted_ends_with_the_block_even_on_an_error():
    def fail() -> None:
        with bind(request_id="some-request"):
            note(company_id=new_id())
            assert "company_id" in current()
            raise RuntimeError

    with pytest.raises(RuntimeError) as caught:
        fail()
    assert current() == {}
    assert ids_at(caught.value).keys() == {"request_id", "company_id"}


def test_none_leaves_an_outer_id():
    with bind(request_id="outer-request"), bind(request_id=None):
        assert current()["request_id"] == "outer-request"


def test_an_empty_id_takes_an_older_one_away():
    with bind(request_id="some-request", provider_request_id="req_of_the_first_call"):
        note(provider_request_id="")
        assert current() == {"request_id": "some-request"}


def test_an_unknown_id_is_refused():
    with pytest.raises(KeyError, match="invoice_number"), bind(invoice_number="1"):
        pass


def test_what_is_read_cannot_be_changed():
    with bind(request_id="some-request"), pytest.raises(TypeError):
        current()["request_id"] = "other"  # type: ignore[index]


def test_threads_do_not_see_each_other():
    def own(number: int) -> str:
        with bind(task_id=f"task-{number}"):
            return current()["task_id"]

    with bind(task_id="main"), ThreadPoolExecutor(4) as pool:
        assert list(pool.map(own, range(50))) == [f"task-{number}" for number in range(50)]


@pytest.mark.parametrize("header", ["0199d2a7-4c00-7000-8000-000000000001", "req_ABC-123.4"])
def test_a_sane_request_id_is_kept(header):
    assert request_id_from(header) == header


@pytest.mark.parametrize(
    "header",
    [None, "", "short", "x" * 65, "two words here", "line\nbreak-here", "-leading-dash", "é" * 10],
)
def test_another_is_replaced_by_a_new_one(header):
    made = request_id_from(header)
    assert made != header
    assert UUID(made).version == 7
