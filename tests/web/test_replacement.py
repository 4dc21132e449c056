"""A method that several want to replace at once, and tokens of the wrong provider, in process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from models import wallet
from models.methods import MethodStatus, PaymentMethod
from models.outbox import Owed
from tests.factories import make_method
from tests.waiting import PATIENCE_S
from tests.web.visitor import problem_of
from worker.database import transaction

METHODS = "/api/v1/payment-methods"
ASYNC = {"Prefer": "respond-async"}


def replace(owner, card, token="pm_card_visa"):
    return owner.post(f"{METHODS}/{card}/replace", {"token": token}, **ASYNC)


def replacements(person) -> list[PaymentMethod]:
    with transaction(company_id=person.company_id) as session:
        query = select(PaymentMethod).where(PaymentMethod.replaces_id.is_not(None))
        return list(session.scalars(query.order_by(PaymentMethod.id)))


def test_of_several_replacements_at_once_one_begins_and_the_others_are_told_of_it(owner, person):
    card = make_method(person, is_default=True)
    with ThreadPoolExecutor(3) as pool:
        with transaction(company_id=person.company_id) as session:
            wallet.hold(session, person.company_id)
            asked = [pool.submit(replace, owner, card) for _ in range(3)]
            with pytest.raises(TimeoutError):
                asked[0].result(0.5)
        answers = [each.result(PATIENCE_S) for each in asked]
    [begun] = [answer for answer in answers if answer.status_code == 202]
    [row] = replacements(person)
    assert (str(row.id), row.replaces_id) == (begun.json["id"], card)
    for refused in answers:
        if refused is not begun:
            told = problem_of(refused, 409, "conflict")
            assert told["detail"] == f"It is being replaced already, by {row.id}."
            assert refused.headers["Location"] == f"{METHODS}/{row.id}"
    with transaction() as session:
        owed = select(Owed.arguments).where(
            Owed.company_id == person.company_id, Owed.task == "methods.attach"
        )
        assert [each["method_id"] for each in session.scalars(owed)] == [str(row.id)]


def test_after_a_replacement_was_refused_there_may_be_another(owner, person):
    card = make_method(person)
    assert replace(owner, card).status_code == 202
    with transaction(company_id=person.company_id) as session:
        refused = update(PaymentMethod).where(PaymentMethod.replaces_id == card)
        session.execute(refused.values(status=MethodStatus.FAILED))
    assert replace(owner, card).status_code == 202
    assert [row.status for row in replacements(person)] == ["failed", "pending"]


@pytest.mark.parametrize("token", ["tok_visa", "pm_card_visa", "src_1Pgc", "ba_1Pgc"])
def test_a_token_of_stripes_is_nothing_of_paypals(owner, person, use, token):
    use(paypal_client_id="id", paypal_client_secret="secret", paypal_webhook_id="WH-1")
    answer = owner.post(METHODS, {"type": "paypal", "token": token}, **ASYNC)
    told = problem_of(answer, 422, "invalid")
    assert told["errors"] == [{"field": "token", "detail": "is not a setup token of PayPal's"}]
    with transaction(company_id=person.company_id) as session:
        assert session.scalars(select(PaymentMethod)).all() == []
