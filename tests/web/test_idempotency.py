"""The same key and request give the same answer; another request is refused."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import select

from models import idempotency
from models.clock import now
from models.idempotency import IdempotencyKey
from models.invoices import Invoice
from tests.factories import make_company
from tests.web.visitor import problem_of
from web.problems import Problem
from worker.database import transaction

THINGS = "/api/v1/probe/things"
BEGUN = "/api/v1/probe/begun"


def made_by(person):
    with transaction(company_id=person.company_id) as session:
        return session.scalars(select(Invoice)).all()


def keys_of(person):
    with transaction(company_id=person.company_id) as session:
        return session.scalars(select(IdempotencyKey)).all()


def test_without_a_key_each_request_makes_something(owner, person):
    for _ in range(2):
        assert owner.post(THINGS, {"amount": 1}).status_code == 201
    assert len(made_by(person)) == 2
    assert keys_of(person) == []


def test_the_same_request_again_gives_the_same_answer_to_the_byte(owner, person):
    first = owner.post(THINGS, {"amount": "12.50"}, Idempotency_Key="k")
    again = owner.post(THINGS, {"amount": "12.50"}, Idempotency_Key="k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.data == again.data
    assert first.headers["Location"] == again.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(made_by(person)) == 1


def test_spaces_and_order_make_no_other_request(owner, person):
    bodies = [b'{"amount":"1"}', b' { "amount" : "1" } ']
    answers = [
        owner.send(
            "POST",
            THINGS,
            data=body,
            content_type="application/json",
            headers={"Idempotency-Key": "k"},
        )
        for body in bodies
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert len(made_by(person)) == 1


def test_the_key_for_another_body_or_path_is_refused(owner, person):
    owner.post(THINGS, {"amount": 1}, Idempotency_Key="k")
    problem_of(owner.post(THINGS, {"amount": 2}, Idempotency_Key="k"), 422, "key-reused")
    problem_of(owner.post(BEGUN, {"amount": 1}, Idempotency_Key="k"), 422, "key-reused")
    assert len(made_by(person)) == 1


def test_fifty_at_once_make_one(probe, owner, person):
    answers = []
    start = threading.Barrier(50)

    def ask():
        start.wait()
        answers.append(owner.post(THINGS, {"amount": "7"}, Idempotency_Key="at-once"))

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.data for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 49
    assert len(made_by(person)) == 1


def test_keys_of_two_companies_are_two(visitor, person, password_hash):
    other = make_company(password_hash=password_hash)
    for one in (person, other):
        answer = visitor.sign_in(one.email).post(THINGS, {"amount": 3}, Idempotency_Key="shared")
        assert answer.status_code == 201
        assert "Idempotent-Replayed" not in answer.headers
        assert len(made_by(one)) == 1


def test_keys_that_differ_in_case_are_two(owner, person):
    for key in ("Key", "key"):
        assert owner.post(THINGS, {"amount": 3}, Idempotency_Key=key).status_code == 201
    assert len(made_by(person)) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel", "a\tb", "\x7f"])
def test_a_key_that_is_none_is_400(owner, person, key):
    header = key.encode().decode("latin-1")
    problem_of(owner.post(THINGS, {"amount": 1}, Idempotency_Key=header), 400, "bad-request")
    assert made_by(person) == []


def test_a_key_of_255_characters_is_kept(owner, person):
    for _ in range(2):
        assert owner.post(THINGS, {"amount": 1}, Idempotency_Key="x" * 255).status_code == 201
    assert len(made_by(person)) == 1


def test_a_refusal_keeps_no_key_so_that_it_can_be_mended(probe, owner, person):
    probe.error = Problem("conflict", "Not now.")
    problem_of(owner.post(THINGS, {"amount": 1}, Idempotency_Key="k"), 409, "conflict")
    assert (made_by(person), keys_of(person)) == ([], [])
    probe.error = None
    assert owner.post(THINGS, {"amount": 1}, Idempotency_Key="k").status_code == 201


def test_a_bug_keeps_no_key_and_no_effect(probe, owner, person):
    probe.error = ZeroDivisionError()
    problem_of(owner.post(THINGS, {"amount": 1}, Idempotency_Key="k"), 500, "internal")
    assert (made_by(person), keys_of(person)) == ([], [])


def test_an_invalid_body_does_not_use_up_the_key(owner, person):
    problem_of(owner.post(THINGS, {"amount": "x"}, Idempotency_Key="k"), 422, "invalid")
    assert owner.post(THINGS, {"amount": 1}, Idempotency_Key="k").status_code == 201


def test_after_24_hours_a_key_is_free_again(owner, person):
    owner.post(THINGS, {"amount": 1}, Idempotency_Key="k")
    with transaction(company_id=person.company_id) as session:
        idempotency.find(session, "k").created_at = now() - timedelta(hours=24, seconds=1)
    answer = owner.post(THINGS, {"amount": 2}, Idempotency_Key="k")
    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer.headers
    assert len(made_by(person)) == 2


def test_for_24_hours_a_key_is_remembered(owner, person):
    owner.post(THINGS, {"amount": 1}, Idempotency_Key="k")
    with transaction(company_id=person.company_id) as session:
        idempotency.find(session, "k").created_at = now() - timedelta(hours=23, minutes=59)
        assert idempotency.forget_expired(session, moment=now()) == 0
    assert "Idempotent-Replayed" in owner.post(THINGS, {"amount": 1}, Idempotency_Key="k").headers


def test_an_answer_with_a_secret_is_not_stored_but_asked_for_again(owner, person):
    first = owner.post(BEGUN, {"amount": 1}, Idempotency_Key="k")
    again = owner.post(BEGUN, {"amount": 1}, Idempotency_Key="k")
    assert (first.status_code, first.json["secret"]) == (200, "first")
    assert (again.status_code, again.json["secret"]) == (200, "again")
    assert again.json["id"] == first.json["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(made_by(person)) == 1
    (row,) = keys_of(person)
    assert row.answer is None
    assert str(row.resource_id) == first.json["id"]


def test_a_conflict_runs_the_view_again_whole(probe, owner, person):
    from pymysql.err import OperationalError as Original
    from sqlalchemy.exc import OperationalError

    errors = [OperationalError("x", {}, Original(1213, "deadlock")), None]
    probe.errors = iter(errors)
    answer = owner.post(THINGS, {"amount": 1}, Idempotency_Key="k")
    assert answer.status_code == 201
    assert probe.runs == 2
    assert len(made_by(person)) == 1
